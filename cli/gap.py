"""A store that lacks what a file's versions came from, as a part of one that was copied does; no torch."""

from __future__ import annotations

from nhnas.compiler.family import ancestry, load_family
from nhnas.compiler.place import store_folder
from nhnas.spec.document import Document


def gap_text(document: Document) -> str | None:
    """That a version's parent is not in the store, None where the way back to the first one is whole.

    Raises StorageError.
    """
    if document.state is None or document.path is None:
        return None
    family = load_family(store_folder(document.path))
    oldest = [family.heads[snapshot] for snapshot in ancestry(family, document.state)][-1:]
    for head in oldest:
        if head.parent is not None and head.parent not in family.heads.keys() | family.damaged.keys():
            return (
                f"version {head.version} came from {head.parent}, which is not in the store: nothing before "
                "it is shown"
            )
    return None
