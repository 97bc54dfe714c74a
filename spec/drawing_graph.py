"""A drawing as nodes, arrows and nested groups: what graphviz and Mermaid understand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from nhnas.spec.drawing import Card, Change, Drawing, Fork, Frame, Kind, Part, Tile
from nhnas.spec.drawing_text import heading

Shape = Kind | Literal["layer", "end", "split", "plus"]


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node; `lines` can be seen as they are, `about` is what a pointer over it tells, literally."""

    id: str
    shape: Shape
    lines: tuple[str, ...] = ()
    about: str = ""
    change: Change = "kept"
    macs: int | None = None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one node to another, by their ids."""

    tail: str
    head: str
    label: str = ""
    faint: bool = False


@dataclass(slots=True)
class Group:
    """A box around nodes and other boxes; the outermost ones are layers."""

    id: str
    lines: tuple[str, ...]
    about: str = ""
    change: Change = "kept"
    items: list[Vertex | Group] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Graph:
    """All of a picture; ids are our own (`n1`, `g2`), whatever the names are."""

    items: tuple[Vertex | Group, ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, slots=True)
class _End:
    """Where the next arrow starts, and what it is called."""

    id: str
    label: str = ""
    faint: bool = False


def graph_of(drawing: Drawing) -> Graph:
    """The same picture without places."""
    builder = _Builder()
    items: list[Vertex | Group] = []
    end = _End(builder.vertex(items, Vertex("", "end", (f"input {drawing.input}",))))
    for card in drawing.cards:
        end = builder.card(card, items, end)
    builder.follow(end, builder.vertex(items, Vertex("", "end", ("output",))))
    return Graph(tuple(items), tuple(builder.arrows))


def _is_bare(part: Part) -> bool:
    """Whether there is nothing to put into a box: graphviz and Mermaid lose empty ones."""
    return isinstance(part, Tile) and part.kind == "identity"


class _Builder:
    """Counts ids and collects arrows while the tree is walked in the order of the data."""

    def __init__(self) -> None:
        self.arrows: list[Arrow] = []
        self._count = 0

    def vertex(self, items: list[Vertex | Group], vertex: Vertex) -> str:
        """Adds a node under a new id."""
        self._count += 1
        items.append(replace(vertex, id=f"n{self._count}"))
        return f"n{self._count}"

    def group(self, items: list[Vertex | Group], group: Group) -> Group:
        """Adds a box under a new id."""
        self._count += 1
        items.append(replace(group, id=f"g{self._count}"))
        return items[-1]  # type: ignore[return-value]

    def follow(self, end: _End, head: str) -> None:
        """Adds the arrow that leads on."""
        self.arrows.append(Arrow(end.id, head, end.label, end.faint))

    def card(self, card: Card, items: list[Vertex | Group], end: _End) -> _End:
        """A layer: a box with its content, or a node."""
        many = (f"×{len(card.names)}",) if len(card.names) > 1 else ()
        name = "  ".join((heading(card.names, card.was), *many))
        about = "\n".join(n if card.was is None else f"{card.was} → {n}" for n in card.names)
        if card.content is None or _is_bare(card.content):
            words = card.about if card.content is None else f"{card.about}, identity"
            vertex = Vertex("", "layer", (name, words), about, card.change)
            self.follow(end, self.vertex(items, vertex))
            return _End(f"n{self._count}", card.shape)
        group = self.group(items, Group("", (name, f"{card.about}, {card.counts}"), about, card.change))
        last = self.part(card.content, group.items, end)
        return replace(last, label=", ".join(filter(None, (last.label, card.shape))))

    def part(self, part: Part, items: list[Vertex | Group], end: _End) -> _End:
        """One frame of Python's stack for each part around it."""
        if isinstance(part, Tile):
            return self._tile(part, items, end)
        if isinstance(part, Fork):
            return self._fork(part, items, end)
        if isinstance(part, Frame):
            items = self.group(items, Group("", (part.label,), part.about, part.change)).items
        for inner in part.parts:
            end = self.part(inner, items, end)
        return end

    def _tile(self, tile: Tile, items: list[Vertex | Group], end: _End) -> _End:
        if tile.kind == "identity":
            return replace(end, label=", ".join(filter(None, (end.label, tile.text))))
        lines = (tile.text, tile.detail) if tile.detail else (tile.text,)
        macs = tile.macs if tile.kind in ("leaf", "folded") else None
        vertex = Vertex("", tile.kind, lines, tile.about, tile.change, macs, tile.faint)
        self.follow(end, self.vertex(items, vertex))
        return _End(f"n{self._count}", faint=tile.faint)

    def _fork(self, fork: Fork, items: list[Vertex | Group], end: _End) -> _End:
        split = self.vertex(items, Vertex("", "split"))
        self.follow(end, split)
        straight = self.part(fork.shortcut, items, _End(split))
        around = self.part(fork.branch, items, _End(split, faint=fork.faint))
        plus = self.vertex(items, Vertex("", "plus", ("+",), faint=fork.faint))
        self.follow(straight, plus)
        self.follow(replace(around, faint=fork.faint), plus)
        return _End(plus)
