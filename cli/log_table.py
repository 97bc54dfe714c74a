"""The table that `nhnas log` prints, with the graph of the branches in front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nhnas.log import COUNTS, cells, edits_text, measure_text
from nhnas.log_graph import lay_out
from nhnas.search.policy import policy_text
from nhnas.settings import changes_text
from nhnas.spec.shown import shown

HEADER = (
    *("version", "state", "neurons", "parameters", "MACs", "depth", "epochs"),
    *("test", "|Δoutput|", "edits"),
)
MIN_EDITS = 16
"""Characters of edits that stay in the narrowest terminal."""
MAX_REFS = 5
"""Names of refs beside a version."""


def table(records: Sequence[Mapping[str, Any]], name: str = "", width: int | None = None) -> str:
    """The records as aligned text, with a graph in front where there are branches.

    `name` is that of the file; the edits are shortened until a line fits into `width` characters.
    """
    lines = lay_out(records)
    is_branched = any(record is None or "|" in drawn for drawn, record in lines)
    rows = [HEADER, *(_row(record) for _, record in lines if record is not None)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER) - 1)]
    indent = max(len(drawn) for drawn, _ in lines) + 2 if is_branched else 0
    room = None if width is None else max(width - indent - sum(widths) - 2 * len(widths), MIN_EDITS)
    texts = [" " * indent + _line(HEADER, widths, HEADER[-1])]
    for drawn, record in lines:
        last = "" if record is None else _last(record, name, room)
        start = drawn.ljust(indent) if is_branched else ""
        texts.append(start.rstrip() if record is None else start + _line(_row(record), widths, last))
    return "\n".join(texts)


def _line(row: Sequence[str], widths: Sequence[int], last: str) -> str:
    return "  ".join([*(cell.rjust(w) for cell, w in zip(row, widths, strict=False)), last]).rstrip()


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    version = "?" if record["version"] is None else str(record["version"])
    if record.get("damaged"):
        return (version, record["state"], *[""] * (len(HEADER) - 2))
    counts = (f"{record[key]:,}" for key in COUNTS)
    change = f"{record['max_change']:.1e}"
    return (version, record["state"], *counts, measure_text(record["test"]), change, "")


def _last(record: Mapping[str, Any], name: str, room: int | None) -> str:
    """The edits and, behind them, what there is to say of the snapshot itself."""
    marks = "".join(f"  {mark}" for mark in _marks(record, name))
    if record.get("damaged"):
        return f"damaged: {record['damaged']}{marks}"
    left = None if room is None else max(room - cells(marks), MIN_EDITS)
    reasons = [] if room is not None else decisions(record)
    return "; ".join([edits_text(record["edits"], left), *reasons]) + marks


def decisions(record: Mapping[str, Any]) -> list[str]:
    """What led to a version beside its edits: the policy's decision, and settings that a person changed."""
    policy, changes, by_hand = (record.get(key) for key in ("policy", "settings", "hand_change"))
    told = [] if by_hand in (None, record["max_change"]) else [f"by hand: largest |Δoutput| {by_hand:.1e}"]
    told += [policy_text(policy)] if policy else []
    return told + ([f"settings: {changes_text(changes)}"] if changes else [])


def _marks(record: Mapping[str, Any], name: str) -> Iterator[str]:
    if record.get("dropped"):
        yield "(weights dropped)"
    if refs := record.get("refs"):
        more = [f"… {len(refs) - MAX_REFS} more"] if len(refs) > MAX_REFS else []
        yield f"({', '.join([*refs[:MAX_REFS], *more])})"
    if record.get("current"):
        yield f"←  {shown(name)}"
