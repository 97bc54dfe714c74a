"""The text of a merged spec: our own, or what a textual merge made of both, once it is proven right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher

from nhnas.spec.document import Document, parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.merge_meaning import SECTIONS, Root, root_of
from nhnas.spec.text_edits import TextEdit, applied, comments
from nhnas.spec.tree_edits import Editor, editor
from nhnas.spec.yaml_tree import Mapping

Texts = tuple[bytes, bytes, bytes]
"""Of the base, ours and theirs."""
TextMerge = Callable[[Texts, bool], bytes | None]
"""Texts, and who gets conflicts (theirs if True) → the merge by lines; None if it failed."""

Run = tuple[int, int, int, int]
"""First line and the line after the last, in our text and in theirs."""

_PIECE = re.compile(rb"\r\n|\r|\n|[ \t]+|#[^\r\n]*|[^\s,{}\[\]:#]+|.", re.DOTALL)
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ITEM = re.compile(rb"\s*- ")
_SHORT = 3
"""Lines in common inside a changed layer that are told with it."""


def written(document: Document, wanted: Root) -> bytes:
    """The document's text, edited so that it says what is wanted."""
    text = document.text.decode()
    edits = _edits(editor(text, document.tree), document.tree, root_of(document), wanted)
    return applied(text, edits).encode()


def proven(text: bytes | None, wanted: Root) -> Document | None:
    """What the text says, if that is exactly what is wanted."""
    try:
        document = None if text is None else parse_document(text)
    except InputError:
        return None
    return document if document is not None and root_of(document) == wanted else None


def _edits(edit: Editor, tree: Mapping, old: Root, new: Root) -> Iterator[TextEdit]:
    """A section that comes to its defaults goes as a whole, unless the file writes some of them out."""
    before, after = ({k: v for k, v in root.items() if v is not None} for root in (old, new))
    for name in SECTIONS:
        section = tree.values.get(name)
        if not isinstance(section, Mapping):
            del before[name]
            if not new[name]:
                del after[name]
        elif old[name] and not new[name]:
            if set(section.values) <= set(old[name]):
                del after[name]
            else:
                yield from edit.mapping(section, old[name], {})
                before[name] = {}
    yield from edit.mapping(tree, before, after)


def by_lines(merge: TextMerge, texts: Texts, to_theirs: bool) -> bytes | None:
    """The merge by lines, conflicts given to one side."""
    return merge(texts, to_theirs)


def by_pieces(merge: TextMerge, texts: Texts, to_theirs: bool) -> bytes | None:
    """The merge by words and signs: neighbouring lines, and a value and its remark, can both change."""
    base, ours, theirs = (b"".join(_escaped(piece) + b"\n" for piece in _PIECE.findall(t)) for t in texts)
    found = merge((base, ours, theirs), to_theirs)
    return None if found is None else b"".join(map(_unescaped, found.split(b"\n")))


def _escaped(piece: bytes) -> bytes:
    return piece.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def _unescaped(line: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: b"\n" if found[1] == b"n" else found[1], line)


def remarks(document: Document) -> Counter[str]:
    """The comments of a text, and how often each stands there."""
    text = document.text.decode()
    return Counter(text[start:end].strip() for start, end in comments(text, document.tree))


def without_remarks(document: Document) -> str:
    """The text without comments, blanks and line ends: two that agree in it differ in those alone."""
    text, at, kept = document.text.decode(), 0, []
    for start, end in comments(text, document.tree):
        kept.append(text[at:start])
        at = end
    return "".join("".join([*kept, text[at:]]).split())


def marked(ours: bytes, theirs: bytes, labels: tuple[str, str], size: int = 7, as_one: bool = False) -> bytes:
    """Our text with git's conflict markers around each run of lines that differs from theirs.

    With `as_one` there is one conflict, from the first difference to the last.
    """
    mine, other = _LINE.findall(ours), _LINE.findall(theirs)
    end = next((line[len(line.rstrip(b"\r\n")) :] for line in mine if line.endswith((b"\r", b"\n"))), b"\n")
    start, middle, stop = (
        sign * size + f" {label}".rstrip().encode() + end
        for sign, label in ((b"<", labels[0]), (b"=", ""), (b">", labels[1]))
    )
    lines: list[bytes] = []
    for a, a_end, b, b_end in _as_one(mine, other) if as_one else _runs(mine, other):
        if mine[a:a_end] == other[b:b_end]:
            lines += mine[a:a_end]
        else:
            both = (_whole(mine[a:a_end], end), _whole(other[b:b_end], end))
            lines += [start, *both[0], middle, *both[1], stop]
    return b"".join(lines)


def _whole(lines: list[bytes], end: bytes) -> list[bytes]:
    """With a line end behind the last line, where a marker follows."""
    return [*lines[:-1], lines[-1].rstrip(b"\r\n") + end] if lines else []


def _as_one(mine: list[bytes], other: list[bytes]) -> list[Run]:
    """Equal lines, all that differs, equal lines."""
    shorter = min(len(mine), len(other))
    head = next((n for n in range(shorter) if mine[n] != other[n]), shorter)
    tail = next((n for n in range(shorter - head) if mine[-1 - n] != other[-1 - n]), shorter - head)
    a, b = len(mine) - tail, len(other) - tail
    return [(0, head, 0, head), (head, a, head, b), (a, len(mine), b, len(other))]


def _runs(mine: list[bytes], other: list[bytes]) -> list[Run]:
    """Runs of lines that are equal or not, in turns; a layer that comes or goes is one run."""
    found: list[Run] = []
    for _, a, a_end, b, b_end in SequenceMatcher(None, mine, other).get_opcodes():
        found.append((a, a_end, b, b_end))
        if len(found) > 2 and _one_layer(mine, other, found):
            found[-3:] = [(found[-3][0], a_end, found[-3][2], b_end)]
    return found


def _one_layer(mine: list[bytes], other: list[bytes], runs: list[Run]) -> bool:
    """True where two runs that differ hold parts of one layer, with only a few lines of it between them."""
    first, (a, a_end, b, b_end), last = runs[-3:]
    if mine[a:a_end] != other[b:b_end] or a_end - a > _SHORT or any(map(_ITEM.match, mine[a:a_end])):
        return False
    lines = (
        *mine[slice(*first[:2])],
        *other[slice(*first[2:])],
        *mine[slice(*last[:2])],
        *other[slice(*last[2:])],
    )
    return any(map(_ITEM.match, lines))
