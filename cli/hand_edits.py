"""What a person changed in `net` since the snapshot that the file names; never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nhnas.spec.canonical import bare, from_canonical, same_architecture
from nhnas.spec.diff import diff
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit
from nhnas.spec.errors import InputError
from nhnas.spec.renames import renames, taken_over, unknown_sources
from nhnas.spec.shown import shown
from nhnas.spec.turnover import LeastImportant


def hand_edits(document: Document, spec: Path, state: Mapping[str, Any]) -> tuple[Edit, ...]:
    """Edits from the architecture of a snapshot, whose `state` this is, to the document's.

    Where a site shrank, unmeasured newcomers go first, then the least important neurons by the last
    measurement. Raises InputError where `renamed_from` names no layer that there was.
    """
    before = from_canonical(state["architecture"])
    if unknown := unknown_sources(before, document.architecture):
        names = ", ".join(shown(layer.name) for layer in before.net)
        raise InputError(
            f"{spec}: renamed_from: {shown(unknown[0])} is no layer of {document.state}; "
            f"its layers are {names}"
        )
    renamed = renames(before, document.architecture)
    if not renamed and same_architecture(before, document.architecture):
        return ()
    wanted = bare(document.architecture)  # a snapshot has no notes: they are no edit
    turnover = LeastImportant(_renamed(state["exact"].get("importance", {}), renamed))
    return diff(before, wanted, turnover, renamed)


def _renamed(by_site: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The same values under the sites' new keys, without those of a layer whose name another one takes."""
    gone = taken_over(renamed)
    parts = ((site.partition("."), values) for site, values in by_site.items())
    return {
        f"{renamed.get(name, name)}{dot}{rest}": values
        for (name, dot, rest), values in parts
        if name not in gone
    }
