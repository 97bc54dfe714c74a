"""Figure 7 of the paper: the architecture found, laid out as `nhnas render` does, drawn by matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nhnas.spec.document import Document
from nhnas.spec.drawing import Look
from nhnas.spec.drawing_cards import drawn
from nhnas.spec.drawing_colours import CARD, FILL, FRAME, INK, LINE, PAPER, QUIET, STROKE
from nhnas.spec.drawing_layout import RADIUS, Box, Page, Plus, Text, Wire, laid_out
from nhnas.spec.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

PIXELS = 96
"""Of the layout, in an inch."""
MOST_MARKS, WIDEST, TALLEST = 3000, 3000, 12_000
"""Boxes, lines and texts, and pixels, of a picture by itself."""
HEAD = 6.0
"""Length of an arrow's head in pixels."""
_FILLS = {**FILL, "card": CARD, "frame": FRAME}
_BORDERS = {**STROKE, "card": "#d1d9e0", "frame": "#d1d9e0"}


def network_page(document: Document, widest: int = WIDEST, tallest: int = TALLEST) -> tuple[Page, int | None]:
    """The layout with as many levels of residuals as fit, and their number (None: all).

    Raises InputError where even the chain alone does not fit.
    """
    title = f"{document.name}, version {document.version}" if document.version else document.name
    for depth in (None, 4, 3, 2, 1, 0):
        page = laid_out(drawn(document.architecture, look=Look(depth), title=title))
        if page.width <= widest and page.height <= tallest and len(page.marks) <= MOST_MARKS:
            return page, depth
    raise InputError(
        f"{document.path}: the architecture is too large for this picture; `nhnas render` draws it"
    )


def draw_network(place: FigureBase, page: Page, width: float, height: float) -> None:
    """Draw a layout into a part of a figure that is `width` × `height` inches, at its upper left."""
    axes = place.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    scale = min(width / page.width, height / page.height)
    axes.set_xlim(0, width / scale)
    axes.set_ylim(height / scale, 0)
    points = 72 * scale
    for order, mark in enumerate(page.marks):
        _draw(axes, mark, points, order + 1)


def _draw(axes: Any, mark: Text | Box | Wire | Plus, points: float, order: int) -> None:
    if isinstance(mark, Text):
        axes.text(
            mark.x,
            mark.y,
            mark.text,
            fontsize=mark.size * points,
            family="monospace",
            weight="bold" if mark.style in ("name", "many") else "normal",
            color=_ink(mark.style),
            ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor],
            va="baseline",
            zorder=order,
        )
    elif isinstance(mark, Box):
        _box(axes, mark, points, order)
    elif isinstance(mark, Wire):
        _wire(axes, mark, points, order)
    else:
        _plus(axes, mark, points, order)


def _ink(style: str) -> str:
    return {"quiet": QUIET, "many": STROKE["site"]}.get(style, INK)


def _box(axes: Any, box: Box, points: float, order: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={min(box.round, box.height / 2)}"
    patch = FancyBboxPatch(
        (box.x, box.y),
        box.width,
        box.height,
        shape,
        facecolor=_FILLS[box.style],
        edgecolor=_BORDERS[box.style],
        linewidth=points,
        linestyle=_dash(box.faint),
        zorder=order,
    )
    axes.add_patch(patch)


def _wire(axes: Any, wire: Wire, points: float, order: int) -> None:
    xs, ys = zip(*wire.points, strict=True)
    axes.plot(xs, ys, color=LINE, linewidth=1.5 * points, linestyle=_dash(wire.faint), zorder=order)
    if wire.arrow:
        (x0, y0), (x, y) = wire.points[-2:]
        length = math.hypot(x - x0, y - y0) or 1.0
        dx, dy = HEAD * (x - x0) / length, HEAD * (y - y0) / length
        base = (x - dx, y - dy)
        corners = [(x, y), (base[0] - dy / 2, base[1] + dx / 2), (base[0] + dy / 2, base[1] - dx / 2)]
        axes.fill(*zip(*corners, strict=True), color=LINE, linewidth=0, zorder=order)


def _plus(axes: Any, plus: Plus, points: float, order: int) -> None:
    from matplotlib.patches import Circle

    x, y, arm = plus.x, plus.y, RADIUS - 3
    looks = {"linewidth": 1.5 * points, "zorder": order}
    axes.add_patch(
        Circle((x, y), RADIUS, facecolor=PAPER, edgecolor=LINE, linestyle=_dash(plus.faint), **looks)
    )
    axes.plot([x - arm, x + arm], [y, y], color=LINE, **looks)
    axes.plot([x, x], [y - arm, y + arm], color=LINE, **looks)


def _dash(is_faint: bool) -> str:
    return ":" if is_faint else "-"
