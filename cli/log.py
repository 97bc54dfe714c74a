"""`nhnas log`: the versions that led to a file, and those of its branches; never imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from nhnas.compiler.family import Family, load_family, relatives
from nhnas.compiler.history import Info, lineage, load_info
from nhnas.compiler.place import store_folder
from nhnas.git_read import named_states
from nhnas.spec.document import read_document
from nhnas.spec.edits import edit_to_dict
from nhnas.spec.errors import InputError

COUNTS = ("neurons", "parameters", "macs", "depth", "epochs")
_SIGNS = {"add_neurons": "+", "remove_neurons": "-"}


UNKNOWN = ("test", "edits", "max_change", "hand_change", "changed", "val", "policy", "settings")
"""Beside the counts, what nobody knows of a damaged version."""


def history(spec: Path, branches: bool = False) -> list[dict[str, Any]]:
    """One record a version that led to the file, oldest first; with `branches` all of the same descent.

    version, state, parent, totals, test, edits, max_change (DESIGN §8); `hand_change`: likewise of edits that
    a person made before the step; `current`: the file names it; `refs`: names of the git refs whose committed
    file does; `dropped`: `nhnas gc` dropped its weights; `damaged`: why a version of another branch cannot be
    read, and what is not known of it is None.
    Raises InputError where a version that led to the file is damaged, or the file's own is not there.
    """
    document = read_document(spec)
    if document.state is None:
        return []
    store, refs = store_folder(spec), named_states(spec)
    own, family = lineage(store, document.state), load_family(store)
    records = _records(own, document.state, family, refs)
    if not branches:
        return records
    mine = {info.id for info in own}
    records += _others(store, document.state, mine, family, refs)
    return sorted(records, key=lambda r: (r["version"] or 0, r["state"] in mine, r["state"]))


def _others(
    store: Path, current: str, mine: set[str], family: Family, refs: Mapping[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Records of what is related to the file's version but did not lead to it."""
    for snapshot in sorted(relatives(family, current) & (family.heads.keys() | family.damaged.keys()) - mine):
        try:
            if snapshot in family.damaged:
                raise InputError(family.damaged[snapshot])
            yield from _records([load_info(store, snapshot)], current, family, refs)
        except InputError as error:
            yield _damaged(snapshot, str(error), family, refs)


def _records(
    infos: Sequence[Info], current: str, family: Family, refs: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    return [
        {
            **_record(info),
            "current": info.id == current,
            "refs": refs.get(info.id, []),
            "dropped": family.heads[info.id].dropped,
            "damaged": None,
        }
        for info in infos
    ]


def _record(info: Info) -> dict[str, Any]:
    known, totals = info.state["info"], info.state["info"]["totals"]
    return {
        "version": info.version,
        "state": info.id,
        "parent": info.parent,
        **{key: totals[key] for key in ("neurons", "parameters", "macs", "depth")},
        "epochs": info.state["exact"]["epochs"],
        "test": known["test"],
        "edits": info.edits,
        "max_change": known["max_change"],
        "hand_change": hand_change(known.get("changes", ())),
        "changed": known["changed"],
        "val": known.get("val"),
        "policy": known.get("facts", {}).get("policy"),
        "settings": known.get("facts", {}).get("settings"),
    }


def hand_change(changes: Iterable[Mapping[str, Any]]) -> float | None:
    """By how much a person's edits moved the outputs at most when the weights were carried over; None
    where there were none, or nothing to compare."""
    return max((change["max_change"] for change in changes if change["stage"] == "hand"), default=None)


def _damaged(snapshot: str, reason: str, family: Family, refs: Mapping[str, list[str]]) -> dict[str, Any]:
    head = family.heads.get(snapshot)
    unknown = dict.fromkeys((*COUNTS, *UNKNOWN))
    return {
        "version": head and head.version,
        "state": snapshot,
        "parent": head and head.parent,
        **unknown,
        "current": False,
        "refs": refs.get(snapshot, []),
        "dropped": bool(head and head.dropped),
        "damaged": reason,
    }


def pending(spec: Path) -> str:
    """The edits of `net` that the file has and no version yet, empty where there are none."""
    document = read_document(spec)
    if document.state is None:
        return ""
    from nhnas.hand_edits import hand_edits

    state = load_info(store_folder(spec), document.state).state
    try:
        edits = hand_edits(document, spec, state)
    except InputError as error:
        return str(error)
    return edits_text([edit_to_dict(edit) for edit in edits]) if edits else ""


def measure_text(test: dict[str, float]) -> str:
    """`98.31%`, or `mse 0.00042`."""
    return f"{test['accuracy']:.2%}" if "accuracy" in test else f"mse {test['mse']:.3g}"


def edits_text(edits: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
    """`fc.hidden +12-5, promote fc.first`: neurons by site, other edits one by one.

    Where that is wider than `width`, the last ones are counted instead: `fc.hidden +12-5, … 3 more`;
    where none fits, all neurons together stand for them: `+30-11, … 2 more`.
    """
    neurons: dict[str, Counter[str]] = {}
    others = []
    for edit in edits:
        sign = _SIGNS.get(edit["kind"])
        if sign is None:
            others.append(f"{edit['kind']} {_about(edit)}")
        else:
            neurons.setdefault(edit["site"], Counter())[sign] += len(edit["at"])
    sites = [f"{site} {''.join(f'{s}{n}' for s, n in counts.items())}" for site, counts in neurons.items()]
    total = sum(neurons.values(), Counter[str]())
    short = "".join(f"{sign}{total[sign]}" for sign in _SIGNS.values() if total[sign])
    short = ", ".join(filter(None, [short, f"… {len(others)} more" if others else ""]))
    return _fitted([*sites, *others], short, width) or "none"


def _about(edit: Mapping[str, Any]) -> str:
    """The layer, node or key that an edit is about."""
    match edit["kind"]:
        case "insert_layer" | "remove_layer":
            return str(edit["layer"]["name"])
        case "rename":
            return f"{edit['old']} → {edit['new']}"
        case "set":
            return f"{edit['path']}.{edit['key']}"
        case _:
            return str(edit["path"])


def cells(text: str) -> int:
    """Cells of a terminal that a text takes."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _fitted(parts: Sequence[str], short: str, width: int | None) -> str:
    """As many parts as fit and the number of the others, or else `short`."""
    text, count = ", ".join(parts), len(parts)
    while width is not None and count and cells(text) > width:
        count -= 1
        text = ", ".join([*parts[:count], f"… {len(parts) - count} more"])
    return text if count else short
