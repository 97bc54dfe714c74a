"""`nhnas plot`: figures of a run from what its versions recorded; only `boundary` looks at the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nhnas.plot_baselines import Baseline, read_baselines
from nhnas.plot_loss import flatness_panel, loss_panel
from nhnas.plot_panel import Panel
from nhnas.plot_runs import depth_panel, epochs_panel, error_panel, neurons_panel, size_panel
from nhnas.plot_settings import settings_panel
from nhnas.plot_track import Track, read_track
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
PANELS: dict[str, Callable[[Track, Sequence[Baseline]], Panel]] = {
    "parameters": lambda track, others: size_panel(track, others, "parameters"),
    "macs": lambda track, others: size_panel(track, others, "macs"),
    "epochs": lambda track, _: epochs_panel(track),
    "error": lambda track, _: error_panel(track),
    "loss": lambda track, _: loss_panel(track),
    "flatness": lambda track, _: flatness_panel(track),
    "depth": lambda track, _: depth_panel(track),
    "neurons": lambda track, _: neurons_panel(track),
    "settings": lambda track, _: settings_panel(track),
}
"""In the order of the page."""
NETWORK, BOUNDARY = "architecture", "boundary"
FIGURES = (*PANELS, NETWORK, BOUNDARY)


def plot(
    spec: Path,
    output: Path | None = None,
    figure: str | None = None,
    baselines: Sequence[Path] = (),
    *,
    fresh: bool = False,
    allow_import: bool = False,
) -> Path:
    """Draw one of `FIGURES`, or the page of all but the boundary; returns where it lies.

    `fresh` and `allow_import` are for the boundary, which needs a network and its data. Raises InputError
    (untrained, an unknown figure or ending, a baseline that cannot be read), StorageError.
    """
    from nhnas.compiler.files import write_file
    from nhnas.plot_page import as_bytes, own_looks

    _check_name(figure)
    path = output or spec.with_name(f"{spec.stem}.{figure or 'history'}.png")
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise InputError(f"{path}: a plot is written as .png, .svg or .pdf")
    if path.exists() and spec.exists() and path.samefile(spec):
        raise InputError(f"{path}: a picture is not written over a spec; name another file")
    with own_looks():
        if figure == BOUNDARY:
            from nhnas.plot_boundary import boundary_figure

            drawn = boundary_figure(spec, fresh, allow_import)
        else:
            drawn = _drawn(spec, figure, baselines)
        data = as_bytes(drawn, form)
    write_file(path, data)
    return path


def numbers(spec: Path, figure: str | None = None, baselines: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """What is drawn, as JSON data, one object a figure; raises InputError as `plot` does."""
    _check_name(figure)
    if figure == BOUNDARY:
        raise InputError(f"--json: {BOUNDARY} has no series of numbers; name another figure")
    found = [] if figure == NETWORK else [p.as_dict() for p in _panels(spec, figure, baselines)]
    return [*found, _network_data(spec)] if figure in (None, NETWORK) else found


def _check_name(figure: str | None) -> None:
    if figure is not None and figure not in FIGURES:
        raise InputError(f"--figure: '{shown(figure)}' is none of {', '.join(FIGURES)}")


def _panels(spec: Path, figure: str | None, baselines: Sequence[Path]) -> list[Panel]:
    track = read_track(spec)
    others = read_baselines(baselines, track)
    return [PANELS[name](track, others) for name in PANELS if figure in (None, name)]


def _network_data(spec: Path) -> dict[str, Any]:
    from nhnas.show import as_data

    return {"figure": NETWORK, **as_data(read_document(spec))}


def _drawn(spec: Path, figure: str | None, baselines: Sequence[Path]) -> Figure:
    from nhnas.plot_page import network_figure, page_figure, panel_figure

    if figure == NETWORK:
        return network_figure(read_document(spec))
    panels = _panels(spec, figure, baselines)
    return page_figure(panels, read_document(spec)) if figure is None else panel_figure(panels[0])
