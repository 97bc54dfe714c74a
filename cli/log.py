"""`nhnas log`: the versions that led to a file, oldest first; never imports torch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from nhnas.compiler.history import Info, lineage
from nhnas.compiler.place import store_folder
from nhnas.spec.document import read_document

_SIGNS = {"add_neurons": "+", "remove_neurons": "-"}


def history(spec: Path) -> list[dict[str, Any]]:
    """One record a version: version, state, parent, totals, test, edits, max_change (DESIGN §8)."""
    document = read_document(spec)
    return [] if document.state is None else [_record(i) for i in lineage(store_folder(spec), document.state)]


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
        "changed": known["changed"],
    }


def table(records: list[dict[str, Any]]) -> str:
    """The records as aligned text."""
    header = (
        "version",
        "state",
        "neurons",
        "parameters",
        "MACs",
        "depth",
        "epochs",
        "test",
        "|Δoutput|",
        "edits",
    )
    rows = [header, *(_row(record) for record in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header) - 1)]
    return "\n".join(
        "  ".join([*(cell.rjust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    counts = (f"{record[key]:,}" for key in ("neurons", "parameters", "macs", "depth", "epochs"))
    return (
        str(record["version"]),
        record["state"],
        *counts,
        measure_text(record["test"]),
        f"{record['max_change']:.1e}",
        edits_text(record["edits"]),
    )


def measure_text(test: dict[str, float]) -> str:
    """`98.31%`, or `mse 0.00042`."""
    return f"{test['accuracy']:.2%}" if "accuracy" in test else f"mse {test['mse']:.3g}"


def edits_text(edits: list[dict[str, Any]]) -> str:
    """`fc.hidden +12-5, promote fc.first`: neurons by site, other edits one by one."""
    neurons: dict[str, Counter[str]] = {}
    others = []
    for edit in edits:
        sign = _SIGNS.get(edit["kind"])
        if sign is None:
            others.append(f"{edit['kind']} {edit.get('path', edit.get('new', ''))}".strip())
        else:
            neurons.setdefault(edit["site"], Counter())[sign] += len(edit["at"])
    sites = [f"{site} {''.join(f'{s}{n}' for s, n in counts.items())}" for site, counts in neurons.items()]
    return ", ".join([*sites, *others]) or "none"
