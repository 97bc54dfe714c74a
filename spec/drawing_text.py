"""Foreign text in a picture: what can be seen of it, and how much room it takes.

Fixed tables instead of the interpreter's own: they differ between versions of Python, and a picture has
the same bytes everywhere.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U0010fffe\U0010ffff]"
)
"""Controls, other blanks than the space, marks that turn the text around, what is no character at all."""

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, not even by number."""

NAME_CELLS, PAIR_CELLS = 48, 28
"""Columns after which a name is shortened: alone, one of two."""


def visible(text: str) -> str:
    """`text` with each character that cannot be seen as its escape (`\\u202e`)."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def as_entities(text: str) -> str:
    """The literal text as XML and graphviz read it: `&` and characters that cannot be seen as entities.

    What no XML document may hold is escaped as in `visible`.
    """
    text = _FORBIDDEN.sub(lambda found: ascii(found[0])[1:-1], text).replace("&", "&amp;")
    return _UNSEEN.sub(lambda found: "\n" if found[0] == "\n" else f"&#{ord(found[0])};", text)


def heading(names: tuple[str, ...], was: str | None = None) -> str:
    """A layer's name, of equal neighbours the first and the last, of a renamed layer the old and the new."""
    if was is not None:
        return f"{shortened(was, PAIR_CELLS)} → {shortened(names[0], PAIR_CELLS)}"
    if len(names) > 1:
        return f"{shortened(names[0], PAIR_CELLS)} … {shortened(names[-1], PAIR_CELLS)}"
    return shortened(names[0], NAME_CELLS)


def cells(text: str) -> int:
    """Columns of a monospaced font that `text` takes at most.

    One for Latin, Greek, Cyrillic, Hebrew and the signs that nhnas writes; two for all else, East Asian
    characters among them, which come from another font in most places.
    """
    return sum(1 if c < "\u0600" or "\u2000" <= c < "\u2400" else 2 for c in text)


def shortened(text: str, limit: int) -> str:
    """The visible text in at most `limit` columns, cut in the middle: names differ at their ends."""
    line = visible(text[: 2 * limit]) if len(text) > 4 * limit else visible(text)
    if cells(line) <= limit and len(text) <= 4 * limit:
        return line
    end = visible(text[-2 * limit :])
    head, tail = _fitting(line, (limit - 1) * 2 // 3), _fitting(end[::-1], (limit - 1) // 3)[::-1]
    return f"{head}…{tail}"


def _fitting(text: str, limit: int) -> str:
    """The longest beginning of at most `limit` columns."""
    used = 0
    for at, character in enumerate(text):
        used += cells(character)
        if used > limit:
            return text[:at]
    return text
