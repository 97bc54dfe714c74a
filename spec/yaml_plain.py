"""Specs as people ordinarily write them, read ten times faster than YAML in general.

Of 5,000 layers ruamel makes 130,000 tokens in pure Python: seconds, at each command. Nearly all files
need little of YAML: mappings and lists in either style, words, numbers, simple quotes, comments. That is read
here with a few regular expressions. At anything else, and at every error, the text is left to ruamel,
whose tree this one equals (tests/test_fuzz.py); so nothing is accepted or refused here that is not there.
"""

from __future__ import annotations

import re

from nhnas.spec.scalars import resolve
from nhnas.spec.yaml_nodes import MAX_DEPTH, Mapping, Scalar, Sequence, Tree

_UNUSUAL = re.compile("[\t\x85\u2028\u2029\ufeff]|\r(?!\n)")
"""Tabs, and what only some readers take for the end of a line."""
_KEY = re.compile(r"""(?:([A-Za-z_]\w{0,99})|"(\w{1,99})"|'(\w{1,99})'):(?=[ \r\n])""")
_WORDS = re.compile(r"(?:[-+]?\.?\w|\.{1,2}/)[\w.+/()=*^~-]*(?: +[\w.+/()=*^~-]+)*")
"""A plain scalar between brackets."""
_TEXT = re.compile(r"(?:[-+]?\.?\w|\.{1,2}/)(?:[^\s:#]|:(?=\S)|(?<=\S)#| +(?=[^ #\r\n]))*+")
"""A plain scalar up to the end of its line."""
_QUOTED = re.compile(r"""(?:"([^"\\\r\n]*+)"|'((?:[^'\r\n]|'')*+)')(?=[ ,:}\]\r\n]|\Z)""")
_SPACES = re.compile(" +")
_BLANKS = re.compile(r"(?: |\r?\n|(?<=[ \n])#[^\n]*)*+")
"""Spaces, line ends and comments between brackets."""
_LINES = re.compile(r"(?: *+(?:#[^\n]*|\r?)(?:\n|\Z))*+ *")
"""Empty lines and comments, and the indentation of the line that follows."""
_REST = re.compile(rf"(?: +#[^\n]*| *+\r?)(?:\n|\Z){_LINES.pattern}")
"""What may follow a value in its line, and all before the next one."""


class _Unusual(Exception):  # noqa: N818 - no error
    """Something that is left to ruamel."""


def read_plain(text: str) -> Tree | None:
    """The tree of a text that begins with a key, or None where something in it is unusual."""
    if _UNUSUAL.search(text):
        return None
    reader = _Reader(text)
    try:
        reader.skip(_LINES)
        tree = reader.mapping(0)
    except (_Unusual, ValueError, IndexError):
        return None
    return tree if reader.at == len(text) and tree.keys else None


class _Reader:
    """One pass over the text: `at` is how far it has come, in line `line` that starts at `margin`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self.line = self.margin = 0

    def skip(self, what: re.Pattern[str]) -> bool:
        """Pass over it, if it is here."""
        found = what.match(self.text, self.at)
        if found is None:
            return False
        end = found.end()
        if lines := self.text.count("\n", self.at, end):
            self.line += lines
            self.margin = self.text.rindex("\n", self.at, end) + 1
        self.at = end
        return True

    def need(self, what: re.Pattern[str]) -> None:
        """Pass over what must be here."""
        if not self.skip(what):
            raise _Unusual

    def mapping(self, depth: int) -> Mapping:
        """Keys one below the other, from here on."""
        keys: dict[str, Scalar] = {}
        values: dict[str, Tree] = {}
        start, line, column = self.at, self.line, self.at - self.margin
        end = start
        while self.at - self.margin == column and (found := _KEY.match(self.text, self.at)):
            name = self._key(found, keys)
            value = values[name] = self._value(column, depth)
            end = value.end
        return Mapping(start, end, line, column, keys, values, False)

    def _key(self, found: re.Match[str], keys: dict[str, Scalar]) -> str:
        word, double, single = found.groups()
        name = word or double or single
        if name in keys:
            raise _Unusual
        style = "" if word else '"' if double else "'"
        value = resolve(name) if word else name
        end = found.end() - 1
        keys[name] = Scalar(self.at, end, self.line, self.at - self.margin, value, style)
        self.at = end + 1
        return name

    def _value(self, column: int, depth: int) -> Tree:
        """What stands behind a key's colon, or below it."""
        if depth >= MAX_DEPTH // 2:
            raise _Unusual
        if not self.skip(_REST):
            return self._line(depth)
        below = self.at - self.margin
        if below >= column and self.text.startswith("- ", self.at):
            return self._items(depth + 1)
        if below > column and _KEY.match(self.text, self.at):
            return self.mapping(depth + 1)
        raise _Unusual

    def _line(self, depth: int) -> Tree:
        """A value and the rest of its line."""
        self.need(_SPACES)
        return self._until_end(depth)

    def _until_end(self, depth: int) -> Tree:
        value = self._inside(depth, _TEXT)
        self.need(_REST)
        return value

    def _items(self, depth: int) -> Sequence:
        items: list[Tree] = []
        start, line, column = self.at, self.line, self.at - self.margin
        while self.at - self.margin == column and self.text.startswith("- ", self.at):
            self.at += 1
            items.append(self._item(depth))
        return Sequence(start, items[-1].end, line, column, tuple(items), False)

    def _item(self, depth: int) -> Tree:
        """What stands behind a dash."""
        self.need(_SPACES)
        if _KEY.match(self.text, self.at):
            return self.mapping(depth + 1)
        return self._until_end(depth)

    def _inside(self, depth: int, words: re.Pattern[str] = _WORDS) -> Tree:
        """A value between brackets, or in a line."""
        mark = self.text[self.at]
        if depth >= MAX_DEPTH // 2:
            raise _Unusual
        if mark == "{":
            return self._braces(depth + 1)
        if mark == "[":
            return self._brackets(depth + 1)
        return self._quoted(mark) if mark in "\"'" else self._words(words)

    def _braces(self, depth: int) -> Mapping:
        keys: dict[str, Scalar] = {}
        values: dict[str, Tree] = {}
        start, line, column = self.at, self.line, self.at - self.margin
        self._behind()
        while self.text[self.at] != "}":
            found = _KEY.match(self.text, self.at)
            if found is None:
                raise _Unusual
            name = self._key(found, keys)
            self.skip(_BLANKS)
            values[name] = self._inside(depth)
            self._comma("}")
        self.at += 1
        return Mapping(start, self.at, line, column, keys, values, True)

    def _brackets(self, depth: int) -> Sequence:
        items: list[Tree] = []
        start, line, column = self.at, self.line, self.at - self.margin
        self._behind()
        while self.text[self.at] != "]":
            items.append(self._inside(depth))
            self._comma("]")
        self.at += 1
        return Sequence(start, self.at, line, column, tuple(items), True)

    def _behind(self) -> None:
        """Pass over one character, and the blanks and comments behind it."""
        self.at += 1
        self.skip(_BLANKS)

    def _comma(self, closing: str) -> None:
        self.skip(_BLANKS)
        if self.text[self.at] == ",":
            self._behind()
        elif self.text[self.at] != closing:
            raise _Unusual

    def _quoted(self, quote: str) -> Scalar:
        found = _QUOTED.match(self.text, self.at)
        if found is None:
            raise _Unusual
        return self._scalar(found.end(), found[1] if quote == '"' else found[2].replace("''", "'"), quote)

    def _words(self, words: re.Pattern[str]) -> Scalar:
        found = words.match(self.text, self.at)
        if found is None:
            raise _Unusual
        return self._scalar(found.end(), resolve(found[0]), "")

    def _scalar(self, end: int, value: str | int | float | bool | None, style: str) -> Scalar:
        start, self.at = self.at, end
        return Scalar(start, end, self.line, start - self.margin, value, style)
