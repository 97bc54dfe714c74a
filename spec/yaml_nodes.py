"""The light tree of a spec's text: values that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nhnas.spec import scalars

MAX_DEPTH = 192
"""Open mappings and lists; 64 nested residuals need 2 each, and some more for what is around them."""


class UnsafeYaml(ValueError):  # noqa: N818 - says what the text is
    """Text that cannot be parsed safely, and where; `line` and `column` count from 0."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.line, self.column = line, column


@dataclass(slots=True)
class Node:
    """A piece of the text: `start` and `end` count characters; `line` and `column` of `start`, from 0.

    `end` is where the piece's own text ends, before any comment or blank line that follows. Nobody changes
    a node; that it is not frozen saves a sixth of the time that reading takes.
    """

    start: int
    end: int
    line: int
    column: int


@dataclass(slots=True)
class Scalar(Node):
    """Text, a number, a truth value or nothing; `style` is the quote, `|`, `>` or empty if plain."""

    value: scalars.Scalar
    style: str


@dataclass(slots=True)
class Sequence(Node):
    """A list; `flow` is the style in brackets."""

    items: tuple[Tree, ...]
    flow: bool


@dataclass(slots=True)
class Mapping(Node):
    """Keys and values in the file's order; `flow` is the style in braces."""

    keys: dict[str, Scalar]
    values: dict[str, Tree]
    flow: bool


Tree = Scalar | Sequence | Mapping


def plain(tree: Tree) -> Any:
    """The tree as dicts, lists and scalars."""
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.values.items()}
    return [plain(item) for item in tree.items] if isinstance(tree, Sequence) else tree.value


def children(tree: Tree) -> Iterator[Tree]:
    """Keys, values and items in the order of the text."""
    if isinstance(tree, Mapping):
        for key, value in tree.values.items():
            yield tree.keys[key]
            yield value
    elif isinstance(tree, Sequence):
        yield from tree.items
