"""A figure as numbers: what is drawn, and what `--json` prints; how it looks is `nhnas.plot_axes`' affair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Number = float | None
NOTHING = "nothing was recorded to draw"
Kind = Literal["line", "points", "steps", "curve", "marks"]
"""Markers joined by a line; markers alone; each value until the next x; a bare line; single large marks."""


@dataclass(frozen=True)
class Series:
    """`y` over `x`, of equal length; None in `y` is a gap. `name` is literal."""

    name: str
    x: tuple[float, ...]
    y: tuple[Number, ...]
    kind: Kind = "line"


@dataclass(frozen=True)
class Chart:
    """Series over one x axis; those of `right` have an axis of their own, `right_label`, on that side.

    `log`: the left axis may be logarithmic, where the numbers span far enough.
    """

    label: str
    series: tuple[Series, ...]
    right_label: str = ""
    right: tuple[Series, ...] = ()
    log: bool = False

    @property
    def groups(self) -> tuple[tuple[str, tuple[Series, ...]], ...]:
        """Both axes with their series."""
        return (self.label, self.series), (self.right_label, self.right)

    @property
    def is_empty(self) -> bool:
        """Whether there is not a single number."""
        return not any(y is not None for series in (*self.series, *self.right) for y in series.y)


@dataclass(frozen=True)
class Panel:
    """One figure: charts below each other over the same x.

    `says` are words below the title: what is special about the numbers, or why there are none. `log`: the
    x axis may be logarithmic.
    """

    figure: str
    title: str
    x_label: str
    charts: tuple[Chart, ...]
    says: str = ""
    log: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON data: every number that is drawn, series by series."""
        found = [
            {"name": one.name, "axis": label, "x": list(one.x), "y": list(one.y)}
            for chart in self.charts
            for label, group in chart.groups
            for one in group
        ]
        return {
            "figure": self.figure,
            "title": self.title,
            "x": self.x_label,
            "says": self.says,
            "series": found,
        }


def panel(
    figure: str, title: str, x_label: str, charts: Iterable[Chart], says: str = "", log: bool = False
) -> Panel:
    """A panel of the charts and series that hold a number; without any it says so."""
    drawn = tuple(c for c in map(_without_empty, charts) if not c.is_empty)
    return Panel(figure, title, x_label, drawn, says or ("" if drawn else NOTHING), log)


def _without_empty(chart: Chart) -> Chart:
    return replace(chart, series=_with_numbers(chart.series), right=_with_numbers(chart.right))


def _with_numbers(group: Sequence[Series]) -> tuple[Series, ...]:
    return tuple(one for one in group if any(y is not None for y in one.y))
