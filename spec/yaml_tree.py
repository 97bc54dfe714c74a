"""YAML text → a light tree that knows where everything stands, or the first reason why not.

Only what a spec needs is read: one document of mappings, lists and scalars. Anchors, aliases, tags, merge
keys, duplicate keys and directives are refused from ruamel's events, before anything could be expanded.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.scanner import Scanner

from nhnas.spec import scalars
from nhnas.spec.shown import shown
from nhnas.spec.yaml_nodes import MAX_DEPTH, Mapping, Scalar, Sequence, Tree, UnsafeYaml, children, plain
from nhnas.spec.yaml_plain import read_plain

__all__ = [
    "MAX_BYTES",
    "Mapping",
    "Scalar",
    "Sequence",
    "Tree",
    "UnsafeYaml",
    "children",
    "decode",
    "parse_yaml",
    "plain",
    "position",
]

MAX_BYTES = 64 * 2**20

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSAFE_VALUE = re.compile("[\x00\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_COLON = re.compile("[ \t]*:")
_CONFLICT = re.compile(r"^(?:<{7,}|\|{7,}|>{7,})(?: |\r?$)|^={7,}\r?$", re.MULTILINE)


def parse_yaml(data: bytes) -> tuple[str, Tree]:
    """The decoded text and its tree; raises UnsafeYaml for the first thing that is not to be parsed."""
    text = decode(data)
    if found := _CONFLICT.search(text):
        raise UnsafeYaml(_UNRESOLVED, *position(text, found.start()))
    tree = read_plain(text)
    return text, read_any(text) if tree is None else tree


def read_any(text: str) -> Tree:
    """The tree of a text, by ruamel's parser; raises UnsafeYaml."""
    try:
        return _Builder(text).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (0, 0) if mark is None else (mark.line, mark.column)
        raise UnsafeYaml(_reason(error), *where) from None
    except (YAMLError, ValueError, OverflowError, IndexError) as error:
        if isinstance(error, UnsafeYaml):
            raise
        raise UnsafeYaml(f"not YAML: {' '.join(str(error).split())}", 0, 0) from None


def decode(data: bytes) -> str:
    """UTF-8 without byte order mark and control characters; raises UnsafeYaml."""
    if len(data) > MAX_BYTES:
        raise UnsafeYaml(f"larger than {MAX_BYTES >> 20} MiB", 0, 0)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnsafeYaml("not UTF-8 but UTF-16; save the file as UTF-8", 0, 0)
    if data.startswith(codecs.BOM_UTF8):
        raise UnsafeYaml("starts with a byte order mark; save the file as UTF-8 without one", 0, 0)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise UnsafeYaml(message, *position(before, len(before))) from None
    if found := _UNPRINTABLE.search(text):
        message = f"control character U+{ord(found[0]):04X}; remove it"
        raise UnsafeYaml(message, *position(text, found.start()))
    return text


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 0, of the character at `index`."""
    line, start = 0, 0
    for line_end in _LINE_END.finditer(text, 0, index):
        line, start = line + 1, line_end.end()
    return line, index - start


def _reason(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    if "\\t" in problem:
        return "a tab cannot indent or begin a value; use spaces"
    return f"not YAML: {problem}"


class _BoundedScanner(Scanner):
    """Stops at the bracket that is too deep: the scanner reads ahead, in quadratic time, of the events."""

    def fetch_flow_collection_start(self, *args: Any, **kwargs: Any) -> None:
        if len(self.flow_context) >= MAX_DEPTH:
            mark = self.reader.get_mark()
            raise UnsafeYaml(_TOO_DEEP, mark.line, mark.column)
        super().fetch_flow_collection_start(*args, **kwargs)


_UNRESOLVED = (
    "a merge conflict is not resolved: choose one side and remove the marker lines <<<<<<<, =======, >>>>>>>"
)
_NO_WORD = "a key is one word before a colon; `?` keys are not read"
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class _Builder:
    """One pass over the events; its only state is how far it has come."""

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _BoundedScanner
        self._text = text
        self._events = yaml.parse(text)

    def document(self) -> Tree:
        """The only document of the stream."""
        next(self._events)
        start = next(self._events)
        if not isinstance(start, DocumentStartEvent):
            raise UnsafeYaml("the file is empty; `nhnas init` writes one to start from", 0, 0)
        if found := _DIRECTIVE.search(self._text, 0, start.start_mark.index):
            where = position(self._text, found.start())
            raise UnsafeYaml("directives (%) are not read; remove the line", *where)
        tree = self._node(next(self._events), 0)
        end = next(self._events)
        while isinstance(end, DocumentEndEvent):
            end = next(self._events)
        if isinstance(end, DocumentStartEvent):
            raise _refuse(end, "a second document starts here; a spec is one document")
        return tree

    def _node(self, event: Any, depth: int) -> Tree:
        if isinstance(event, AliasEvent):
            raise _refuse(event, f"aliases (*{event.anchor}) are not read; write the value out")
        if event.anchor is not None:
            raise _refuse(event, f"anchors (&{event.anchor}) are not read; remove it")
        if event.tag is not None:
            raise _refuse(event, "tags (!) are not read; remove it")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if depth >= MAX_DEPTH:
            raise _refuse(event, _TOO_DEEP)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, depth + 1)
        return self._sequence(event, depth + 1)

    def _sequence(self, event: SequenceStartEvent, depth: int) -> Sequence:
        items: list[Tree] = []
        while not isinstance(next_event := next(self._events), SequenceEndEvent):
            items.append(self._node(next_event, depth))
        return Sequence(*_span(event, next_event, items), tuple(items), bool(event.flow_style))

    def _mapping(self, event: MappingStartEvent, depth: int) -> Mapping:
        keys: dict[str, Scalar] = {}
        values: dict[str, Tree] = {}
        while not isinstance(next_event := next(self._events), MappingEndEvent):
            key, name = self._key(next_event, depth)
            if not event.flow_style and key.column != event.start_mark.column:
                raise _refuse(next_event, _NO_WORD)
            if name in keys:
                first = keys[name].line + 1
                raise _refuse(next_event, f"the key {shown(name)} is here twice, first in line {first}")
            keys[name] = key
            values[name] = self._placed(key, self._node(next(self._events), depth))
        return Mapping(*_span(event, next_event, list(values.values())), keys, values, bool(event.flow_style))

    def _placed(self, key: Scalar, value: Tree) -> Tree:
        """Nothing stands right behind its key's colon; ruamel puts it behind all comments that follow."""
        if not isinstance(value, Scalar) or value.style or value.start < value.end:
            return value
        colon = _COLON.match(self._text, key.end)
        at = colon.end() if colon else key.end
        lines, column = position(self._text[key.start : at], at - key.start)
        return Scalar(at, at, key.line + lines, column + (0 if lines else key.column), value.value, "")

    def _key(self, event: Any, depth: int) -> tuple[Scalar, str]:
        key = self._node(event, depth)
        if not isinstance(key, Scalar) or key.style in ("|", ">") or self._explicit(key):
            raise _refuse(event, _NO_WORD)
        if event.value == "<<" and not key.style:
            raise _refuse(event, "merge keys (<<) are not read; write the keys out")
        return key, event.value

    def _explicit(self, key: Scalar) -> bool:
        """True for `? key`; the events do not tell it from `key`."""
        before = key.start - 1
        while before > 0 and self._text[before] in " \t":
            before -= 1
        return before >= 0 and self._text[before] == "?"


def _scalar(event: ScalarEvent) -> Scalar:
    start, end, style = event.start_mark, event.end_mark.index, event.style or ""
    if _UNSAFE_VALUE.search(event.value):
        raise _refuse(event, "an escape stands for a character that is not text; remove it")
    try:
        value = event.value if style else scalars.resolve(event.value)
    except ValueError as error:
        raise _refuse(event, str(error)) from None
    return Scalar(start.index, end, start.line, start.column, value, style)


def _span(start: Any, end: Any, inside: list[Tree]) -> tuple[int, int, int, int]:
    """A block's end mark lies behind the comments that follow it; its last child's end does not."""
    mark = start.start_mark
    last = inside[-1].end if inside and not start.flow_style else end.end_mark.index
    return mark.index, last, mark.line, mark.column


def _refuse(event: Any, message: str) -> UnsafeYaml:
    return UnsafeYaml(message, event.start_mark.line, event.start_mark.column)
