"""Dropping the tensors of snapshots that nobody needs; the small files stay, and with them the history.

A kill at any moment leaves every snapshot either whole or dropped (`nhnas.compiler.sealed`). Never
imports torch. Whoever calls knows what is needed and holds the locks of the store's specs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nhnas.compiler.family import Family, ancestry, load_family, tips
from nhnas.compiler.files import storing
from nhnas.compiler.history import ADVICE, OPTIMIZER, WEIGHTS, Head
from nhnas.compiler.place import snapshot_folder
from nhnas.compiler.sealed import drop_files
from nhnas.spec.errors import InputError

TENSORS = (WEIGHTS, OPTIMIZER)
_ID = re.compile(rb"(?<![0-9A-Za-z])s[0-9a-f]{16}(?![0-9A-Za-z])")


@dataclass(frozen=True)
class Collected:
    """What a collection did, or would do: `total` snapshots, those now `dropped`, the `bytes` freed by it.

    `damaged` snapshots, by id with the reason, are left as they are.
    """

    total: int
    dropped: tuple[Head, ...]
    bytes: int
    damaged: dict[str, str]


def ids_in(text: bytes) -> set[str]:
    """All that looks like the id of a snapshot, also in a file that an editor saved as UTF-16."""
    return {found.decode() for found in _ID.findall(text.replace(b"\0", b""))}


def slot_ids(store: Path) -> set[str]:
    """The ids that interrupted commands name: what they started from, and what they were about to save.

    Raises StorageError.
    """
    found: set[str] = set()
    for path in sorted((store / "slots").glob("*/*.slot")):
        with storing(path), open(path, "rb") as file:
            file.readline()  # the digest of what follows
            found |= ids_in(file.readline())
    return found


def newest(family: Family, starts: Collection[str], count: int) -> set[str]:
    """The `count` newest versions of every lineage that ends in a tip of the family or in `starts`."""
    ends = tips(family) | set(starts)
    return {snapshot for end in ends for snapshot in islice(ancestry(family, end), count)}


def collect(store: Path, needed: Collection[str], *, dry_run: bool = False) -> Collected:
    """Drops the tensors of every snapshot that is not `needed`, and finishes what a kill left half done.

    Raises StorageError; all that was dropped before stays so.
    """
    family = load_family(store)
    damaged, dropped, freed = dict(family.damaged), [], 0
    for head in sorted(family.heads.values(), key=lambda head: (head.version, head.id)):
        folder = snapshot_folder(store, head.id)
        if head.id in needed or head.id in damaged or not (size := _size(folder)):
            continue
        try:
            if not dry_run:
                drop_files(folder, TENSORS, ADVICE)
        except InputError as error:
            damaged[head.id] = str(error)
            continue
        freed += size
        dropped.append(head)
    return Collected(len(family.heads.keys() | damaged), tuple(dropped), freed, damaged)


def _size(folder: Path) -> int:
    """Bytes of the tensors that are there."""
    with storing(folder):
        return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name in TENSORS)
