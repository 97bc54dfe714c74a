"""How the snapshots of a store descend from each other; reads manifests alone and never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.files import one_line
from nhnas.compiler.history import Head, claimed_head, known_ids, load_head
from nhnas.spec.errors import InputError


@dataclass(frozen=True)
class Family:
    """`heads` of a store's snapshots by id, and of those that are `damaged` what is wrong with them.

    Where only the manifest can be read, a snapshot is in both.
    """

    heads: Mapping[str, Head]
    damaged: Mapping[str, str]


def load_family(store: Path) -> Family:
    """All snapshots of a store. Raises StorageError."""
    heads: dict[str, Head] = {}
    damaged: dict[str, str] = {}
    for snapshot in known_ids(store):
        try:
            heads[snapshot] = load_head(store, snapshot)
        except InputError as error:
            damaged[snapshot] = one_line(error)
            if (head := claimed_head(store, snapshot)) is not None:
                heads[snapshot] = head
    return Family(heads, damaged)


def relatives(family: Family, snapshot: str) -> set[str]:
    """The ids that parents connect with `snapshot`, itself and ids that are not in the store included.

    A snapshot that does not tell its parent may belong to it, and what descends from that may too.
    """
    neighbours: dict[str, list[str]] = {}
    for head in family.heads.values():
        if head.parent is not None:
            neighbours.setdefault(head.id, []).append(head.parent)
            neighbours.setdefault(head.parent, []).append(head.id)
    found = {snapshot} | (family.damaged.keys() - family.heads.keys())
    waiting = [*found]
    while waiting:
        new = set(neighbours.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def ancestry(family: Family, snapshot: str) -> Iterator[str]:
    """`snapshot` and its ancestors, newest first, as far back as they can be read; ends in a circle too."""
    seen: set[str] = set()
    current: str | None = snapshot
    while current is not None and current in family.heads and current not in seen:
        yield current
        seen.add(current)
        current = family.heads[current].parent


def tips(family: Family) -> set[str]:
    """The snapshots from which no other one came."""
    return family.heads.keys() - {head.parent for head in family.heads.values()}
