"""What an SVG of ours shows, read back from its text: the judge does not know how layouts are made."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

NAMESPACE = "{http://www.w3.org/2000/svg}"
COLUMN = 0.602
"""Width of a column in units of the font's size: DejaVu Sans Mono and Menlo, the widest in use."""


@dataclass(frozen=True)
class Area:
    """A rectangle with what it is."""

    left: float
    top: float
    right: float
    bottom: float
    text: str = ""
    styles: tuple[str, ...] = ()
    title: str = ""

    def meets(self, other: Area) -> bool:
        """Whether the two have a point in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Area) -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True)
class Picture:
    """Boxes (cards, frames, tiles, sums), lines of text, and straight pieces of wires."""

    page: Area
    boxes: tuple[Area, ...]
    texts: tuple[Area, ...]
    wires: tuple[Area, ...]

    def said(self) -> list[str]:
        """All lines of text, in the file's order."""
        return [text.text for text in self.texts]

    def collisions(self) -> Iterator[str]:
        """Pairs of boxes that cross, of texts that touch, and texts that a border or a wire crosses."""
        for one, other in combinations(self.boxes, 2):
            if one.meets(other) and not one.holds(other) and not other.holds(one):
                yield f"boxes {one} {other}"
        for one, other in combinations(self.texts, 2):
            if one.meets(other):
                yield f"texts {one} {other}"
        for text in self.texts:
            yield from (f"{box} crosses {text}" for box in self.boxes if crosses(box, text))
            yield from (f"wire {wire} crosses {text}" for wire in self.wires if wire.meets(text))
        tiles = [box for box in self.boxes if not {"card", "frame"} & set(box.styles)]
        for tile in tiles:
            yield from (f"wire {wire} crosses {tile}" for wire in self.wires if wire.meets(tile))
        yield from (
            f"{area} leaves the page" for area in (*self.boxes, *self.texts) if not self.page.holds(area)
        )


def crosses(box: Area, text: Area) -> bool:
    """Whether a text is neither inside a box nor outside."""
    return box.meets(text) and not box.holds(text)


def read_svg(svg: str) -> Picture:
    """Parse an SVG document."""
    root = ET.fromstring(svg)
    page = Area(0, 0, float(root.attrib["width"]), float(root.attrib["height"]))
    boxes = [_rectangle(e) for e in root.iter(f"{NAMESPACE}rect") if e.attrib["class"] != "paper"]
    circles = [_circle(e) for e in root.iter(f"{NAMESPACE}circle")]
    texts = [_text(e) for e in root.iter(f"{NAMESPACE}text")]
    wires = [wire for e in root.iter(f"{NAMESPACE}path") for wire in _wires(e)]
    return Picture(page, (*boxes, *circles), tuple(texts), tuple(wires))


def _rectangle(element: ET.Element) -> Area:
    x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
    title = element.findtext(f"{NAMESPACE}title") or ""
    return Area(x, y, x + width, y + height, styles=tuple(element.attrib["class"].split()), title=title)


def _circle(element: ET.Element) -> Area:
    x, y, r = (float(element.attrib[key]) for key in ("cx", "cy", "r"))
    return Area(x - r, y - r, x + r, y + r, styles=tuple(element.attrib["class"].split()))


def _text(element: ET.Element) -> Area:
    size, line = float(element.attrib["font-size"]), element.text or ""
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
    width = float(element.attrib.get("textLength", columns * size * COLUMN))
    start = {"start": 0.0, "middle": width / 2, "end": width}[element.attrib.get("text-anchor", "start")]
    x, y = float(element.attrib["x"]) - start, float(element.attrib["y"])
    styles = tuple(element.attrib["class"].split())
    return Area(x, y - 0.78 * size, x + width, y + 0.24 * size, line, styles)


def _wires(element: ET.Element) -> Iterator[Area]:
    """The pieces of a path between two points, as thin areas that end just before what they touch."""
    numbers = element.attrib["d"].removeprefix("M")
    if element.attrib.get("class", "").split()[:1] != ["wire"] or not set(numbers) <= set("0123456789 -"):
        return  # the head of an arrow, the cross in a sum
    values = [float(number) for number in numbers.split()]
    points = list(zip(values[::2], values[1::2], strict=True))
    for (x1, y1), (x2, y2) in pairwise(points):
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        if left == right:
            yield Area(left - 0.1, top + 0.2, right + 0.1, bottom - 0.2)
        else:
            yield Area(left + 0.2, top - 0.1, right - 0.2, bottom + 0.1)
