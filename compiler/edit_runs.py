"""Runs of edits whose recipes touch different things, so that one recipe does for all of them.

A step of a large network resizes thousands of sites; a recipe of the whole network for each of them would
take time with the square of their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nhnas.spec.apply import applied, site_size
from nhnas.spec.edits import AddNeurons, Collapse, Edit, Promote, RemoveNeurons
from nhnas.spec.model import Architecture

Run = tuple[tuple[Edit, ...], Architecture]


def runs(arch: Architecture, edits: Iterable[Edit]) -> Iterator[Run]:
    """The edits in order, as many at a time as may share a recipe, each time with what they lead to.

    Edits share one that resize different sites, or open and close different nodes. What is born with the
    first neurons of a residual reads all that is there already, but columns that come later are 0: behind
    first neurons no other site may grow in the same run.
    """
    run: list[Edit] = []
    touched: set[str] = set()
    births = False
    for edit in edits:
        key = _touches(edit)
        birth = (
            isinstance(edit, AddNeurons) and edit.site.endswith(".hidden") and not site_size(arch, edit.site)
        )
        late = births and isinstance(edit, AddNeurons | RemoveNeurons) and not birth
        if run and (key is None or key in touched or late or _touches(run[0]) is None):
            yield tuple(run), arch
            run, touched, births = [], set(), False
        run.append(edit)
        touched.add(key or "")
        births = births or birth
        arch = applied(arch, edit)
    if run:
        yield tuple(run), arch


def _touches(edit: Edit) -> str | None:
    """What only one edit of a run may touch; None for an edit that stands alone."""
    if isinstance(edit, AddNeurons | RemoveNeurons):
        return edit.site
    return f"{edit.path}.residual" if isinstance(edit, Promote | Collapse) else None
