"""A plan for people: its edits, every tensor that changes, and what becomes of the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nhnas.comparison_text import edit_lines, totals_line
from nhnas.planning import OutputChange, Plan, TensorChange
from nhnas.spec.measure import measure
from nhnas.spec.shown import shown

_HEAD = ("tensor", "before", "after", "kept", "new", "dropped")


def as_text(plan: Plan, full: bool = False) -> str:
    """Lines to print; `full` also lists tensors that stay as they are. Ends with a line end."""
    base = plan.base
    name = shown(base.document.name)
    if plan.before is None:
        return f"{name}: untrained; there are no weights to carry over\n"
    here = f"version {base.version} ({base.state})"
    if not plan.edits:
        return f"{name}: the net is that of {here}; nothing to carry over\n"
    after = base.architecture
    lines = [f"{name}: edits since {here}, which the next version carries over", *_edits(plan, full)]
    lines.append(totals_line(measure(plan.before).as_dict(), measure(after).as_dict()))
    lines += ["", *_tensors(plan.tensors, full)]
    if plan.output is not None:
        lines += ["", output_line(plan.output)]
    return "\n".join(lines) + "\n"


def output_line(output: OutputChange) -> str:
    """Whether the function is preserved, and if not, by how much it moves."""
    over = f"over {output.samples} {output.inputs}"
    if output.max_change is None:
        return f"function: the outputs have another shape ({over})"
    largest = f"largest |Δoutput| {output.max_change:.1e} {over}"
    if output.preserved:
        return f"function: preserved ({largest})"
    parts = [f"function: changes; {largest}"]
    if output.changed is not None:
        parts.append(f"{output.changed} of {output.samples} predictions change")
    if output.accuracy is not None:
        before, after = output.accuracy
        parts.append(f"accuracy of these {before:.2%} → {after:.2%}")
    return ", ".join(parts)


def _edits(plan: Plan, full: bool) -> list[str]:
    return edit_lines(plan.edits, plan.base.architecture, full=full)


def _tensors(changes: Sequence[TensorChange], full: bool) -> Iterator[str]:
    still = [change for change in changes if not change.is_change]
    shown_ones = changes if full else [change for change in changes if change.is_change]
    rows = [_HEAD, *map(_row, shown_ones)]
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            name, *rest = (cell.rjust(w) for cell, w in zip(row, widths, strict=True))
            yield "  ".join([row[0].ljust(len(name)), *rest])
    kept, new, dropped = (sum(getattr(c, key) for c in changes) for key in ("kept", "added", "dropped"))
    unchanged = f", {len(still)} tensors stay as they are" if still and not full else ""
    yield f"cells: {kept:,} kept, {new:,} new, {dropped:,} dropped{unchanged}"


def _row(change: TensorChange) -> tuple[str, ...]:
    name = shown(change.name)
    if change.source is not None and change.source != change.name:
        name = f"{name} (was {shown(change.source)})"
    shapes = (
        "-" if change.old is None else _shape(change.old),
        "-" if change.new is None else _shape(change.new),
    )
    return (name, *shapes, *(f"{count:,}" for count in (change.kept, change.added, change.dropped)))


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
