"""Whether a goal is reached already: `step --to V` at V, `run --until params=70000`; never imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nhnas.compiler.files import storing
from nhnas.compiler.history import load_info
from nhnas.compiler.place import slot_folder, spec_key, store_folder
from nhnas.spec.document import Document, read_document


def is_reached(spec: Path, to: int | None, fresh: bool) -> bool:
    """Whether the file is at version `to`, and no interrupted command left anything to clear up.

    Nothing is written or locked. Raises InputError (the file, its snapshot) and StorageError.
    """
    return to is not None and not fresh and current_version(read_document(spec)) == to and _is_clear(spec)


def what_is_reached(spec: Path, until: Iterable[str]) -> str | None:
    """Which goal of `run --until` the file is at, None where there is none or something to clear up.

    Nothing is written or locked. Raises InputError also where a goal is misspelled or can never be met.
    """
    from nhnas.figures import figures
    from nhnas.goal import check_goals, reached_text
    from nhnas.until import first_met, parse_until

    goals, document = parse_until(until), read_document(spec)
    check_goals(goals, document, fresh=False)
    now = figures(document)
    met = first_met(goals, now)
    if met is None:
        return None
    return reached_text(met, now, current_version(document)) if _is_clear(spec) else None


def _is_clear(spec: Path) -> bool:
    """Whether no interrupted command left anything."""
    slots = slot_folder(store_folder(spec), spec_key(spec))
    with storing(slots):
        return not slots.is_dir() or not any(slots.iterdir())


def current_version(document: Document) -> int:
    """Version of the snapshot that the file names, 0 for an untrained file."""
    if document.state is None or document.path is None:
        return 0
    return load_info(store_folder(document.path), document.state).version


def contradiction(document: Document, version: int) -> str | None:
    """What a file's `version` says against its `state`, of that version (0: none); None where they agree.

    `version` is only for people: what one writes there changes nothing, so they are told.
    """
    if document.state is None and document.version:
        return (
            f"version {document.version} without a state: starts untrained "
            "(to go on from it, put its `state` line back: git has it, or .nhnas/snapshots)"
        )
    if document.state is not None and document.version != version:
        return f"the file says version {document.version}, its state is of version {version}: that counts"
    return None
