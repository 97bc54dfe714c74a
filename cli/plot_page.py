"""Figures of matplotlib from panels: one alone, or all on a page; the same bytes on every machine."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from nhnas.plot_axes import draw_panel, legend_columns, legend_names
from nhnas.plot_network import PIXELS, draw_network, network_page
from nhnas.plot_panel import Panel
from nhnas.plot_png import with_palette
from nhnas.spec.document import Document
from nhnas.spec.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
WIDTH, ROW, CHART, ENTRY = 11.0, 3.5, 1.3, 0.17
"""Inches: of a page; of a row of panels; of each chart more in a panel; of a line of a legend."""
ALONE, TALL = 7.0, 4.2
"""Inches of a panel by itself."""
ROOMY = 2
"""Lines of a legend for which a panel has room."""
NETWORK_WIDE, NETWORK_TALL = 1700, 1700
"""Pixels of an architecture on a page, so that its words can be read."""
NARROWEST = 1000
"""Pixels that the page is wide at least: a small architecture is not blown up."""
LOOKS: dict[str, Any] = {
    # names are no formulas, and stay text in an SVG; identifiers in it do not depend on the moment
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "nhnas",
    "pdf.fonttype": 42,
    "font.family": ["DejaVu Sans"],
    "font.monospace": ["DejaVu Sans Mono"],
}


@contextmanager
def own_looks() -> Iterator[None]:
    """matplotlib as it comes, whatever a person's own settings are; without its warnings about glyphs."""
    import matplotlib.style

    with warnings.catch_warnings(), matplotlib.style.context(["default", LOOKS]):
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """A figure of inches, without the global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def as_bytes(figure: Figure, form: str) -> bytes:
    """The picture as `form`: svg or pdf by matplotlib; png by its own renderer, Agg, with a palette."""
    buffer = io.BytesIO()
    if form == "png":
        figure.savefig(buffer, format=form, dpi=DPI)
        return with_palette(buffer.getvalue(), DPI)
    unstamped = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(buffer, format=form, metadata=unstamped[form])
    return _steady(buffer.getvalue()) if form == "svg" else buffer.getvalue()


def _steady(svg: bytes) -> bytes:
    """Without what depends on the last bits of coordinates, which differ from run to run: identifiers are
    numbered (matplotlib's are hashes), coordinates have three digits behind the point."""
    found = re.findall(rb'id="([a-z])([0-9a-f]{10})"', svg)
    names = {kind + digest: b"%s%d" % (kind, at) for at, (kind, digest) in enumerate(dict.fromkeys(found))}
    svg = re.sub(rb'(?<=[#"])[a-z][0-9a-f]{10}(?=[")])', lambda one: names.get(one[0], one[0]), svg)
    return re.sub(
        rb'\b(?:x|y|width|height|d|transform)="[^"]*"',
        lambda some: re.sub(rb"-?\d+\.\d{4,}", lambda one: b"%.3f" % float(one[0]), some[0]),
        svg,
    )


def panel_figure(panel: Panel) -> Figure:
    """One panel alone."""
    figure = new_figure(ALONE, TALL + CHART * max(len(panel.charts) - 1, 0) + _for_legend(panel, ALONE))
    draw_panel(figure, panel)
    return figure


def _for_legend(panel: Panel, width: float) -> float:
    """Inches that a long legend needs more, so that the charts keep their height."""
    names = legend_names(panel)
    lines = math.ceil(len(names) / legend_columns(names, width))
    return ENTRY * max(lines - ROOMY, 0)


def network_figure(document: Document) -> Figure:
    """The architecture alone, in its own size."""
    page, _ = network_page(document)
    width, height = page.width / PIXELS, page.height / PIXELS
    figure = new_figure(width, height, None)
    draw_network(figure, page, width, height)
    return figure


def page_figure(panels: Sequence[Panel], document: Document) -> Figure:
    """Panels two in a row, the last one right of the two before it, and the architecture below them."""
    rows = len(panels) // 2 + 1
    network = _network(document)
    tall = 0.6 if isinstance(network, str) else WIDTH * network.height / max(network.width, NARROWEST)
    cells = [*((at, side) for at in range(rows - 2) for side in (0, 1)), (rows - 2, 0), (rows - 1, 0)]
    heights = [ROW] * rows
    for one, (at, _) in zip(panels, cells, strict=False):
        heights[at] = max(heights[at], ROW + _for_legend(one, WIDTH / 2))
    figure = new_figure(WIDTH, sum(heights) + tall)
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[*heights, tall])
    for one, where in zip(panels, [*(grid[cell] for cell in cells), grid[rows - 2 : rows, 1]], strict=True):
        draw_panel(figure.add_subfigure(where), one)
    place = figure.add_subfigure(grid[rows, :])
    if isinstance(network, str):
        place.text(0.5, 0.5, network, ha="center", va="center", fontsize=9)
    else:
        draw_network(place, network, WIDTH, tall)
    return figure


def _network(document: Document) -> Any:
    """The layout for a page, or why there is none."""
    try:
        return network_page(document, NETWORK_WIDE, NETWORK_TALL)[0]
    except InputError as error:
        return str(error)
