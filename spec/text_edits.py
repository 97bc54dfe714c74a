"""Pieces of text that change, as spans; entries of mappings and lists that come and go in either style.

Nothing outside the spans moves, so comments, blanks and line ends stay as they are. A comment inside an
entry that goes is kept on a line of its own.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nhnas.spec.yaml_tree import Scalar, Tree, children

_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"#[^\r\n]*")


@dataclass(frozen=True, slots=True)
class TextEdit:
    """The characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """`key: value` or an item of a list; `column` is where it starts in its line."""

    start: int
    end: int
    column: int
    keep: bool


@dataclass(frozen=True, slots=True)
class Insert:
    """New lines after the kept entry `after`, or before all if None; without their indentation."""

    after: int | None
    lines: tuple[str, ...]


class Source:
    """A text with what is looked up in it again and again; immutable after its making."""

    def __init__(self, text: str, tree: Tree) -> None:
        self.text = text
        found = _LINE_END.search(text)
        self.line_end = found[0] if found else "\n"
        self._comments = list(comments(text, tree))
        self._starts = [start for start, _ in self._comments]

    def after_line(self, index: int) -> int:
        """Where the line after the one of `index` starts; the text's end if there is none."""
        if index and self.text[index - 1] in "\r\n":
            return index
        found = _LINE_END.search(self.text, index)
        return found.end() if found else len(self.text)

    def line_start(self, index: int) -> int:
        """Where the line of `index` starts."""
        return max(self.text.rfind("\n", 0, index), self.text.rfind("\r", 0, index)) + 1

    def dash_after(self, index: int) -> int:
        """The next dash that is not in a comment."""
        found = self.text.index("-", index)
        at = bisect_right(self._starts, found) - 1
        in_comment = at >= 0 and found < self._comments[at][1]
        return self.dash_after(self._comments[at][1]) if in_comment else found

    def comments_in(self, start: int, end: int) -> list[str]:
        """Comments that start in a span."""
        inside = self._comments[bisect_left(self._starts, start) : bisect_left(self._starts, end)]
        return [self.text[a:b].rstrip() for a, b in inside]


def comments(text: str, tree: Tree) -> Iterator[tuple[int, int]]:
    """Spans of all comments: what starts with # between the scalars."""
    at = 0
    for scalar in _scalars(tree):
        yield from _comments_between(text, at, scalar.start)
        header = _LINE_END.search(text, scalar.start) if scalar.style in ("|", ">") else None
        if header is not None:
            yield from _comments_between(text, scalar.start, header.start())
        at = scalar.end
    yield from _comments_between(text, at, len(text))


def applied(text: str, edits: Iterable[TextEdit]) -> str:
    """The text after all edits; several at one place come in their order."""
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < at:
            raise RuntimeError(f"bug: text edits overlap at character {edit.start}")
        pieces += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*pieces, text[at:]])


def block_edits(
    source: Source, entries: Sequence[Entry], inserts: Sequence[Insert], head: int | None = None
) -> Iterator[TextEdit]:
    """Entries on lines of their own come and go; at `head` stands what comes before all others, if given.

    At least one entry is kept, or `head` is given.
    """
    yield from _block_cuts(source, entries)
    kept = [entry for entry in entries if entry.keep]
    column = entries[0].column
    for insert in inserts:
        if insert.after is None and head is None:
            margin = source.line_end + " " * column
            yield TextEdit(kept[0].start, kept[0].start, margin.join([*insert.lines, ""]))
        else:
            after = entries[insert.after].end if insert.after is not None else head
            yield _new_lines(source, source.after_line(after or 0), column, insert.lines)


def flow_edits(
    source: Source, entries: Sequence[Entry], inserts: Sequence[Insert], inside: int
) -> Iterator[TextEdit]:
    """Entries between brackets come and go; `inside` is the place behind the opening bracket."""
    kept = [n for n, entry in enumerate(entries) if entry.keep]
    if not kept:
        yield _refilled(source, entries, inserts, inside)
        return
    yield from _flow_cuts(source, entries)
    for insert in inserts:
        text = " ".join(insert.lines)
        if insert.after is None:
            yield TextEdit(entries[kept[0]].start, entries[kept[0]].start, f"{text}, ")
        else:
            yield TextEdit(entries[insert.after].end, entries[insert.after].end, f", {text}")


def _scalars(tree: Tree) -> Iterator[Scalar]:
    if isinstance(tree, Scalar):
        yield tree
    for child in children(tree):
        yield from _scalars(child)


def _comments_between(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _COMMENT.finditer(text, start, end))


def _new_lines(source: Source, at: int, column: int, lines: Iterable[str]) -> TextEdit:
    indented = [" " * column + line for line in lines]
    if at and source.text[at - 1] not in "\r\n":
        return TextEdit(at, at, "".join(source.line_end + line for line in indented))
    return TextEdit(at, at, "".join(line + source.line_end for line in indented))


def _block_cuts(source: Source, entries: Sequence[Entry]) -> Iterator[TextEdit]:
    for first, last in _runs(entries):
        start = source.line_start(entries[first].start)
        if source.text[start : entries[first].start].strip(" \t"):
            yield _cut_behind_dash(source, entries[first], entries[last + 1])
            continue
        end = source.after_line(entries[last].end)
        yield TextEdit(start, end, _comment_lines(source, start, end, entries[first].column))


def _cut_behind_dash(source: Source, first: Entry, following: Entry) -> TextEdit:
    """The first keys of a list's item go, and the next one moves up behind the dash."""
    text = _comment_lines(source, first.start, following.start, first.column)
    return TextEdit(first.start, following.start, text.lstrip(" ") + " " * (first.column if text else 0))


def _comment_lines(source: Source, start: int, end: int, column: int) -> str:
    return "".join(" " * column + c + source.line_end for c in source.comments_in(start, end))


def _flow_cuts(source: Source, entries: Sequence[Entry]) -> Iterator[TextEdit]:
    for first, last in _runs(entries):
        if last + 1 < len(entries):
            start, end = entries[first].start, entries[last + 1].start
        else:
            start, end = entries[first - 1].end, entries[last].end
        yield TextEdit(start, end, _comments_inside(source, start, end, entries[first].column))


def _comments_inside(source: Source, start: int, end: int, column: int) -> str:
    kept = source.comments_in(start, end)
    margin = source.line_end + " " * column
    return "".join(f"  {comment}{margin}" for comment in kept)


def _refilled(source: Source, entries: Sequence[Entry], inserts: Sequence[Insert], inside: int) -> TextEdit:
    text = ", ".join(" ".join(insert.lines) for insert in inserts)
    if not entries:
        return TextEdit(inside, inside, text)
    start, end = entries[0].start, entries[-1].end
    return TextEdit(start, end, _comments_inside(source, start, end, entries[0].column) + text)


def _runs(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """First and last index of each run of neighbours that go."""
    start = None
    for n, entry in enumerate([*entries, Entry(0, 0, 0, True)]):
        if not entry.keep and start is None:
            start = n
        elif entry.keep and start is not None:
            yield start, n - 1
            start = None
