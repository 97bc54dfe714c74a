"""Whether a version is there already: `step --to V` and `run --to V` at V; never imports torch."""

from __future__ import annotations

from pathlib import Path

from nhnas.compiler.files import storing
from nhnas.compiler.history import load_info
from nhnas.compiler.place import slot_folder, spec_key, store_folder
from nhnas.spec.document import Document, read_document


def is_reached(spec: Path, to: int | None, fresh: bool) -> bool:
    """Whether the file is at version `to`, and no interrupted command left anything to clear up.

    Nothing is written or locked. Raises InputError (the file, its snapshot) and StorageError.
    """
    if to is None or fresh or current_version(read_document(spec)) != to:
        return False
    slots = slot_folder(store_folder(spec), spec_key(spec))
    with storing(slots):
        return not slots.is_dir() or not any(slots.iterdir())


def current_version(document: Document) -> int:
    """Version of the snapshot that the file names, 0 for an untrained file."""
    if document.state is None or document.path is None:
        return 0
    return load_info(store_folder(document.path), document.state).version
