"""The lines of a history with branches, as `git log --graph` draws them, the oldest version on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Line = tuple[str, Mapping[str, Any] | None]
"""What is drawn, and the record beside it; None beside a line between two of them."""


def lay_out(records: Sequence[Mapping[str, Any]]) -> list[Line]:
    """`*` for a version, `|` for the way to a later one, `|\\` where a branch begins.

    `records` (`state`, `parent`, `version`, and `current` for the file's own) come oldest first. A branch
    is drawn whole before the way that it left goes on, and the way to the file's own version is always
    the leftmost. A version whose parent is not among the records begins a drawing of its own.
    """
    place = {record["state"]: number for number, record in enumerate(records)}
    parents = [place.get(record["parent"]) for record in records]
    children: dict[int | None, list[int]] = {}
    for number, parent in enumerate(parents):
        children.setdefault(parent, []).append(number)
    rank = _ranks(records, parents)
    for numbers in children.values():
        numbers.sort(key=rank.__getitem__)
    return [(drawn, None if number is None else records[number]) for drawn, number in _draw(children)]


def _ranks(
    records: Sequence[Mapping[str, Any]], parents: Sequence[int | None]
) -> list[tuple[bool, int, int]]:
    """What decides which child goes on straight: it leads to the file's own, or to the newest version."""
    rank = [(bool(r.get("current")), r["version"] or 0, number) for number, r in enumerate(records)]
    for number in sorted(range(len(records)), key=lambda n: -(records[n]["version"] or 0)):
        parent = parents[number]
        if parent is not None:
            rank[parent] = max(rank[parent], (*rank[number][:2], parent))
    return rank


def _draw(children: Mapping[int | None, Sequence[int]]) -> Iterator[tuple[str, int | None]]:
    """Lines with the record beside them, or with none; an empty line between two beginnings."""
    for index, beginning in enumerate(children.get(None, ())):
        if index:
            yield "", None
        yield from _draw_from(beginning, children)


def _draw_from(
    beginning: int, children: Mapping[int | None, Sequence[int]]
) -> Iterator[tuple[str, int | None]]:
    stack = [("", beginning, False)]  # no recursion: branches may nest deeply
    while stack:
        before, number, is_branch = stack.pop()
        if is_branch:
            yield f"{before}|\\", None
            before = f"{before}| "
        yield f"{before}*", number
        later = [(before, child, True) for child in children.get(number, ())]
        stack += [(before, child, False) for _, child, _ in later[-1:]] + later[-2::-1]
