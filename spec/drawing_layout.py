"""Where everything lies: one pass over the series-parallel tree, from the inside out.

The chain runs down, a card a layer; inside a card the data run from left to right. A shortcut goes
straight on, its residual hangs below it and joins again at a plus. All lengths are whole pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nhnas.spec.drawing import Card, Change, Drawing, Fork, Frame, Part, Series, Tile
from nhnas.spec.drawing_text import cells, heading, shortened

MAIN, SMALL, TITLE = 13, 10, 16
"""Sizes of text in pixels."""

GAP, PAD, RADIUS, LANE = 18, 10, 8, 12
"""Between neighbours, inside borders, of a plus, between a shortcut and its residual."""

TITLE_CELLS = 60
"""Columns after which the title is shortened."""

COMMON = 900
"""Cards up to this wide are made equally wide."""


@dataclass(frozen=True, slots=True)
class Text:
    """One line; `x` is its left end, its middle or its right end; `y` its base line."""

    x: int
    y: int
    text: str
    size: int = MAIN
    style: str = "text"
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `about` is told by a pointer over it."""

    x: int
    y: int
    width: int
    height: int
    style: str
    round: int = 4
    about: tuple[str, ...] = ()
    change: Change = "kept"
    macs: int | None = None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A line through points; `arrow`: with a head at its end."""

    points: tuple[tuple[int, int], ...]
    arrow: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Plus:
    """A sum; `x`, `y` is its middle."""

    x: int
    y: int
    faint: bool = False


Mark = Text | Box | Wire | Plus


@dataclass(frozen=True, slots=True)
class Block:
    """A part laid out: the line that runs through it is at y = 0, from x = 0 to x = width.

    It reaches `up` above the line and `down` below; `inner` are parts with their places in it.
    """

    width: int
    up: int
    down: int
    marks: tuple[Mark, ...] = ()
    inner: tuple[tuple[int, int, Block], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole picture in absolute places."""

    width: int
    height: int
    marks: tuple[Mark, ...]


def text_width(text: str, size: int) -> int:
    """Pixels that a line takes at most: a column of a monospaced font is 0.6 of its size."""
    return (cells(text) * size * 62 + 99) // 100


def laid_out(drawing: Drawing) -> Page:
    """All cards below each other, the title above them."""
    blocks = [_card(card) for card in drawing.cards]
    common = max((b.width for b in blocks if b.width <= COMMON), default=0)
    blocks = [_widened(block, max(common, block.width)) for block in blocks]
    title = shortened(drawing.title, TITLE_CELLS)
    marks: list[Mark] = [
        Text(PAD, 26, title, TITLE, "name"),
        Text(PAD, 46, drawing.totals, SMALL + 1, "quiet"),
        Text(PAD, 76, f"input {drawing.input}", SMALL + 1, "quiet"),
    ]
    y, x = 84, PAD + 2 * GAP
    for card, block in zip(drawing.cards, blocks, strict=True):
        marks += [Wire(((x, y), (x, y + GAP)), arrow=True), *_placed(block, PAD, y + GAP)]
        y += GAP + block.down
        marks.append(Text(x + 10, y + 14, card.shape, SMALL, "quiet"))
    marks += [Wire(((x, y), (x, y + GAP)), arrow=True), Text(PAD, y + GAP + 14, "output", SMALL + 1, "quiet")]
    texts = [text_width(m.text, m.size) + m.x for m in marks if isinstance(m, Text) and m.anchor == "start"]
    width = max([*texts, *(block.width + PAD for block in blocks)]) + PAD
    return Page(width, y + GAP + 14 + PAD, tuple(marks))


def _placed(block: Block, x: int, y: int) -> Iterator[Mark]:
    """The marks of a block and of all inside, moved to their places; what is outside comes first."""
    waiting = [(x, y, block)]
    while waiting:
        left, top, current = waiting.pop()
        for mark in current.marks:
            yield _moved(mark, left, top)
        waiting += [(left + dx, top + dy, inner) for dx, dy, inner in reversed(current.inner)]


def _moved(mark: Mark, x: int, y: int) -> Mark:
    if isinstance(mark, Wire):
        return replace(mark, points=tuple((px + x, py + y) for px, py in mark.points))
    return replace(mark, x=mark.x + x, y=mark.y + y)


def _card(card: Card) -> Block:
    """A layer's box, its name and what it is on the first line; y = 0 is its upper border."""
    name, limit = heading(card.names, card.was), PAD
    marks: list[Mark] = [Text(PAD, 20, name, MAIN, "name")]
    limit += text_width(name, MAIN) + PAD
    if len(card.names) > 1:
        many = f"×{len(card.names)}"
        marks.append(Text(limit, 20, many, MAIN, "many"))
        limit += text_width(many, MAIN) + PAD
    marks.append(Text(limit, 20, card.about, SMALL + 1, "quiet"))
    limit += text_width(card.about, SMALL + 1) + PAD
    if card.counts:
        marks.append(Text(limit + PAD, 20, card.counts, SMALL, "quiet", "end"))
        limit += PAD + text_width(card.counts, SMALL) + PAD
    content = None if card.content is None else _block(card.content)
    inside = 2 * (PAD + GAP) + content.width if content else 0
    width, height = max(limit, inside), 30 if content is None else 30 + content.up + content.down + PAD
    about = tuple(name if card.was is None else f"{card.was} → {name}" for name in card.names)
    marks.insert(0, Box(0, 0, width, height, "card", 6, about, card.change))
    if content is None:
        return Block(width, 0, height, tuple(marks))
    line, left, right = 30 + content.up, PAD + GAP, PAD + GAP + content.width
    marks += [Wire(((PAD, line), (left, line)), not _is_fork(card.content))]
    marks += [Wire(((right, line), (right + GAP, line)), arrow=True)]
    return Block(width, 0, height, tuple(marks), ((left, line, content),))


def _widened(block: Block, width: int) -> Block:
    """A card of the given width; what stands at its right end moves along."""
    marks = (
        replace(mark, width=width)
        if isinstance(mark, Box)
        else replace(mark, x=width - PAD)
        if isinstance(mark, Text) and mark.anchor == "end"
        else mark
        for mark in block.marks
    )
    return replace(block, width=width, marks=tuple(marks))


def _block(part: Part) -> Block:
    """A part laid out around its own line; one frame of Python's stack a level, so that any nesting fits."""
    inner = tuple(map(_block, part.parts))
    if isinstance(part, Tile):
        return _bare(part) if part.kind == "identity" else _tile(part)
    if isinstance(part, Frame):
        return _frame(part, *inner)
    return _fork(part, *inner) if isinstance(part, Fork) else _series(part, inner)


def _bare(tile: Tile) -> Block:
    """A line with a word above it."""
    width = text_width(tile.text, SMALL) + 2 * PAD
    marks = (Wire(((0, 0), (width, 0))), Text(width // 2, -5, tile.text, SMALL, "quiet", "middle"))
    return Block(width, 5 + SMALL, 2, marks)


def _tile(tile: Tile) -> Block:
    """A box with a line or two in its middle."""
    lines = [(tile.text, MAIN, "text")] + ([(tile.detail, SMALL, "quiet")] if tile.detail else [])
    width = max(text_width(text, size) for text, size, _ in lines) + 2 * PAD
    height = 36 if tile.detail else 24
    corner = height // 2 if tile.kind == "site" else 4
    top = -height // 2
    about = (tile.about,) if tile.about else ()
    macs = tile.macs if tile.kind in ("leaf", "folded") else None
    box = Box(0, top, width, height, tile.kind, corner, about, tile.change, macs, tile.faint)
    bases = (top + 16, top + 30)
    texts = [
        Text(width // 2, base, text, size, style, "middle")
        for (text, size, style), base in zip(lines, bases, strict=False)
    ]
    return Block(width, -top, height + top, (box, *texts))


def _frame(frame: Frame, content: Block) -> Block:
    """A box around a nested node with its label at the upper left."""
    label = 16
    width = max(content.width + 2 * PAD, text_width(frame.label, SMALL) + 2 * PAD)
    up, down = content.up + label + 4, content.down + PAD
    box = Box(0, -up, width, up + down, "frame", 6, (frame.about,), frame.change)
    text = Text(PAD - 2, -up + 13, frame.label, SMALL, "quiet")
    left = (width - content.width) // 2
    wires = (Wire(((0, 0), (left, 0))), Wire(((left + content.width, 0), (width, 0))))
    return Block(width, up, down, (box, text, *wires), ((left, 0, content),))


def _fork(fork: Fork, shortcut: Block, branch: Block) -> Block:
    """The shortcut straight on, the branch below it, a plus at the end."""
    start, lane = 2 * PAD, max(shortcut.width, branch.width)
    above, below = start + (lane - shortcut.width) // 2, start + (lane - branch.width) // 2
    drop = shortcut.down + LANE + branch.up
    plus = start + lane + GAP + RADIUS
    split, up = PAD // 2, (plus, RADIUS)
    straight = isinstance(fork.shortcut, Tile) and fork.shortcut.kind == "identity"
    marks = (
        Wire(((0, 0), (above, 0)), arrow=not straight),
        Wire(((above + shortcut.width, 0), (plus - RADIUS, 0)), arrow=True),
        Wire(((split, 0), (split, drop), (below, drop)), not _is_fork(fork.branch), fork.faint),
        Wire(((below + branch.width, drop), (plus, drop), up), True, fork.faint),
        Plus(plus, 0, fork.faint),
    )
    inner = ((above, 0, shortcut), (below, drop, branch))
    return Block(plus + RADIUS, max(shortcut.up, RADIUS), drop + branch.down, marks, inner)


def _series(series: Series, blocks: tuple[Block, ...]) -> Block:
    """One block after the other on the same line."""
    x, marks, inner = 0, list[Mark](), list[tuple[int, int, Block]]()
    for part, block in zip(series.parts, blocks, strict=True):
        if inner:
            marks.append(Wire(((x, 0), (x + GAP, 0)), arrow=not _is_fork(part)))
            x += GAP
        inner.append((x, 0, block))
        x += block.width
    up, down = max(b.up for b in blocks), max(b.down for b in blocks)
    return Block(x, up, down, tuple(marks), tuple(inner))


def _is_fork(part: Part | None) -> bool:
    """Whether a part begins with a line, so that no arrow points at it."""
    first = part.parts[0] if isinstance(part, Series) else part
    return isinstance(first, Fork) or (isinstance(first, Tile) and first.kind == "identity")
