"""A panel as axes of matplotlib: told apart without colour, by markers and dashes; all words are literal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from nhnas.plot_panel import Chart, Panel, Series
from nhnas.spec.drawing_text import cells, shortened

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

COLOURS = ("#111111", "#b3471b", "#1f4e8c", "#3c7a33", "#6d4494", "#8f7a10")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
"""Lengths without a common divisor: 35 series differ without their colours."""
SPAN = 10.0
"""Largest over smallest number from which an axis is logarithmic."""
NAME_CELLS, LINE = 40, 84
"""Columns after which a name is shortened, and a line of words ends."""
COLUMNS, HANDLE = 16, 11
"""Of a legend: columns of text in an inch, and how many the sample of a line takes."""


def draw_panel(place: FigureBase, panel: Panel) -> None:
    """Draw the charts of a panel below each other into a figure or a part of one."""
    place.suptitle(panel.title, fontsize=10, fontweight="bold")
    says = "\n".join(textwrap.wrap(panel.says, LINE))
    if not panel.charts:
        axes = place.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, says, ha="center", va="center", fontsize=9, transform=axes.transAxes)
        return
    rows = place.subplots(len(panel.charts), sharex=True, squeeze=False)[:, 0]
    rows[0].set_title(says, fontsize=7.5)
    numbers, lines = count(), list[Any]()
    for axes, chart in zip(rows, panel.charts, strict=True):
        drawn = _chart(axes, chart, panel, numbers)
        lines += drawn if _is_named(chart, panel) else []
    rows[-1].set_xlabel(panel.x_label, fontsize=8)
    _legend(place, lines, legend_names(panel))


def legend_names(panel: Panel) -> list[str]:
    """What the legend says, shortened; a chart of one among several has its name beside its axis."""
    charts = [chart for chart in panel.charts if _is_named(chart, panel)]
    return [shortened(one.name, NAME_CELLS) for c in charts for _, group in c.groups for one in group]


def legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of a legend below a panel that is `width` inches wide."""
    widest = HANDLE + max(map(cells, names), default=0)
    return max(1, min(3, len(names), int(width * COLUMNS) // widest))


def _is_named(chart: Chart, panel: Panel) -> bool:
    return len(panel.charts) == 1 or len(chart.series) + len(chart.right) > 1


def _chart(axes: Any, chart: Chart, panel: Panel, numbers: Iterator[int]) -> list[Any]:
    """Returns the lines, in the order of the series."""
    other = axes.twinx() if chart.right else None
    drawn = []
    for target, (label, group) in zip((axes, other), chart.groups, strict=True):
        if target is None:
            continue
        drawn += [_line(target, one, next(numbers)) for one in group]
        _scale(target, "y", (y for one in group for y in one.y), chart.log and target is axes)
        target.set_ylabel(label, fontsize=8)
    _scale(axes, "x", (x for _, group in chart.groups for one in group for x in one.x), panel.log)
    axes.grid(color="#d9d9d9", linewidth=0.5)
    return drawn


def _line(axes: Any, one: Series, number: int) -> Any:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    dash, full = DASHES[number % len(DASHES)], number % 2 == 0
    looks: dict[str, dict[str, Any]] = {
        "line": {"linestyle": dash, "marker": marker, "markersize": 4, "linewidth": 1.2},
        "points": {"linestyle": "none", "marker": marker, "markersize": 5},
        "steps": {"linestyle": dash, "drawstyle": "steps-post", "linewidth": 1.4},
        "curve": {
            "linestyle": dash,
            "marker": ".",
            "markersize": 2,
            "linewidth": 0.9,
            "markevery": _alone(one),
        },
        "marks": {"linestyle": "none", "marker": marker, "markersize": 6},
    }
    hollow = {"markerfacecolor": "none"} if not full and one.kind != "curve" else {}
    y = [math.nan if value is None else value for value in one.y]
    (line,) = axes.plot(one.x, y, color=colour, gid=f"series-{number}", **looks[one.kind], **hollow)
    return line


def _alone(one: Series) -> list[int]:
    """Places of numbers with gaps on both sides, which no line shows."""
    padded = (None, *one.y, None)
    return [
        at for at, y in enumerate(one.y) if y is not None and padded[at] is None and padded[at + 2] is None
    ]


def _scale(axes: Any, which: Literal["x", "y"], values: Iterable[float | None], log: bool) -> None:
    """Logarithmic where allowed and of use; ticks as short numbers, 12k or 1.5M."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    if low == high:
        axis.set_ticks([low])
    elif log and low > 0 and high >= SPAN * low:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        steps = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_minor_formatter(NullFormatter())
    else:
        whole = all(float(value).is_integer() for value in known)
        axis.set_major_locator(MaxNLocator("auto", integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_tick_params(labelsize=7)


def tick(value: float) -> str:
    """A number in few characters."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (size if size > 1e3 else 1e4):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _legend(place: Any, lines: Sequence[Any], names: Sequence[str]) -> None:
    """Below the charts, where it hides nothing."""
    if not lines:
        return
    # matplotlib leaves out names that begin with an underscore: they get theirs afterwards
    legend = place.legend(
        lines,
        [str(n) for n in range(len(lines))],
        loc="outside lower center",
        ncols=legend_columns(names, place.bbox.width / place.dpi),
        fontsize=7,
        frameon=False,
        handlelength=3.5,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
