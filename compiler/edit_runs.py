"""Runs of edits whose recipes touch different things, so that one recipe does for all of them.

A step of a large network resizes thousands of sites; a recipe of the whole network for each of them would
take time with the square of their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nhnas.spec.edits import AddNeurons, Collapse, Edit, Promote, RemoveNeurons


def runs(edits: Iterable[Edit]) -> Iterator[tuple[Edit, ...]]:
    """The edits in order, as many at a time as resize different sites or open and close different nodes."""
    run: list[Edit] = []
    touched: set[str] = set()
    for edit in edits:
        key = _touches(edit)
        if run and (key is None or key in touched or _touches(run[0]) is None):
            yield tuple(run)
            run, touched = [], set()
        run.append(edit)
        touched.add(key or "")
    if run:
        yield tuple(run)


def _touches(edit: Edit) -> str | None:
    """What only one edit of a run may touch; None for an edit that stands alone."""
    if isinstance(edit, AddNeurons | RemoveNeurons):
        return edit.site
    return f"{edit.path}.residual" if isinstance(edit, Promote | Collapse) else None
