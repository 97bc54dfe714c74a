"""The record that snapshots keep of neurons: which of them came and went between two files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.history import Info, lineage
from nhnas.compiler.place import snapshot_folder
from nhnas.hand_edits import hand_edits
from nhnas.spec.canonical import bare
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit, RemoveLayer, Rename, edit_from_dict, invert
from nhnas.spec.errors import InputError
from nhnas.spec.moves import origins


@dataclass(frozen=True)
class Record:
    """`origins` by site of the new file (`nhnas.spec.moves`); `renamed` maps old layer names to new ones."""

    origins: Mapping[str, Sequence[int]]
    renamed: Mapping[str, str]


def find_record(old: Document, new: Document, store: Path) -> Record | None:
    """What happened between two files: back from `old` to where both came from, and on to `new`.

    None where the store does not have the versions between them.
    """
    try:
        back, onward = _versions(old, store), _versions(new, store)
    except InputError:
        return None  # damaged or gone: as good as no record
    if back is None or onward is None or not _related(back, onward):
        return None
    common = sum(1 for x, y in zip(back, onward, strict=False) if x.id == y.id)
    try:
        edits = (
            *invert([*_recorded(back[common:]), *_pending(old, back)]),
            *_recorded(onward[common:]),
            *_pending(new, onward),
        )
        after, found = origins(bare(old.architecture), edits)
    except (InputError, LookupError, ValueError):
        return None  # e.g. an untrained file that is not what the first version began with
    return Record(found, _renamed(old, edits)) if after == bare(new.architecture) else None


def _versions(document: Document, store: Path) -> list[Info] | None:
    """The versions that led to a document, oldest first; none for an untrained one, None if unknown."""
    if document.state is None:
        return []
    if not snapshot_folder(store, document.state).is_dir():
        return None
    return lineage(store, document.state)


def _related(back: Sequence[Info], onward: Sequence[Info]) -> bool:
    """Whether one way leads from one to the other; that of an untrained file begins before version 1."""
    if back and onward:
        return back[0].id == onward[0].id
    return bool(back or onward) and [*back, *onward][0].parent is None


def _recorded(versions: Sequence[Info]) -> Iterator[Edit]:
    for info in versions:
        for record in info.edits:
            yield edit_from_dict(_without_stage(record))


def _without_stage(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "stage"}


def _pending(document: Document, versions: Sequence[Info]) -> tuple[Edit, ...]:
    """What a person changed since the last version."""
    if not versions:
        return ()
    return hand_edits(document, document.path or Path("spec"), versions[-1].state)


def _renamed(old: Document, edits: Sequence[Edit]) -> dict[str, str]:
    """Old name → new name of the layers that are still there, along all renamings."""
    now = {layer.name: layer.name for layer in old.architecture.net}
    for edit in edits:
        if isinstance(edit, Rename):
            now = {first: edit.new if last == edit.old else last for first, last in now.items()}
        elif isinstance(edit, RemoveLayer):
            now = {first: last for first, last in now.items() if last != edit.layer.name}
    return {first: last for first, last in now.items() if first != last}
