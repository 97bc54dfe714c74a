"""Outputs over the plane of two inputs, with the training samples: the decision boundary, or the surface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nhnas.plot_page import new_figure
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 300
"""Grid points an axis."""
LIGHT = ("#f9dcc8", "#8fb3dd", "#d9efd4", "#b08fc9", "#f6efc6", "#9c9c9c")
"""Light and less light by turns, so that neighbours differ in black and white, too."""
DARK = ("#a33a10", "#123a6e", "#2f6627", "#4a2470", "#6e5f06", "#2b2b2b")
MARKERS = "o^sDvP"
"""Of the first, second, … class; they come round again."""
NAMED = 12
"""Classes that a legend has room for."""


def boundary_figure(spec: Path, fresh: bool = False, allow_import: bool = False) -> Figure:
    """The network's outputs over a grid. Loads the data set; raises InputError for other inputs than two."""
    import torch

    from nhnas.evaluation import load_model
    from nhnas.opening import here, load_data
    from nhnas.report import Silent
    from nhnas.spec.document import read_document
    from nhnas.trainer.dataset import Split
    from nhnas.trainer.evaluate import outputs_of
    from nhnas.work import Context

    document = read_document(spec)
    if document.architecture.input != (2,):
        size = "×".join(map(str, document.architecture.input))
        raise InputError(f"{spec}: a boundary needs two inputs, not {size}; other figures are drawn of any")
    dataset = load_data(here(document), Context(spec, Silent(), allow_import, fresh))
    network = load_model(spec, fresh=fresh)
    points = dataset.train.inputs.numpy()
    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low)
    xs, ys = (np.linspace(a, b, POINTS) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    outputs = outputs_of(network, dataset, Split(torch.from_numpy(grid), torch.zeros(len(grid))))
    figure = new_figure(6, 5.4)
    axes = figure.subplots()
    if dataset.is_classification:
        areas = outputs.argmax(1).numpy().reshape(POINTS, POINTS)
        targets = dataset.train.targets.numpy()
        count = int(max(areas.max(), targets.max())) + 1
        _areas(axes, xs, ys, areas, count)
        _samples(axes, points, targets, count)
        if count <= NAMED:
            legend = axes.legend(
                loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, markerscale=2.0, frameon=False
            )
            for text, name in zip(legend.get_texts(), dataset.classes or range(count), strict=False):
                text.set_text(shown(str(name)))  # as a label a name with _ in front would be left out
    else:
        surface = axes.contourf(
            xs, ys, outputs[:, 0].numpy().reshape(POINTS, POINTS), levels=24, cmap="viridis"
        )
        figure.colorbar(surface, ax=axes)
    title = f"{shown(document.name)}, version {document.version}"
    axes.set(title=title, xlabel="x₁", ylabel="x₂", aspect="equal")
    return figure


def _areas(axes: Any, xs: Any, ys: Any, areas: Any, count: int) -> None:
    """The class of each point of the grid, `areas` [y, x], as a light colour, and lines between them."""
    light = [LIGHT[n % len(LIGHT)] for n in range(count)]
    axes.contourf(xs, ys, areas, levels=np.arange(count + 1) - 0.5, colors=light)
    for value in np.unique(areas)[1:]:
        axes.contour(xs, ys, areas >= value, levels=[0.5], colors="#000000", linewidths=0.6)


def is_hollow(value: int) -> bool:
    """Filled and hollow by turns; the other way round where the markers come round."""
    return (value + value // len(MARKERS)) % 2 == 1


def _samples(axes: Any, points: Any, targets: Any, count: int) -> None:
    """Each class has a marker of its own, filled or hollow by turns."""
    for value in range(count):
        chosen = points[targets == value]
        colour = DARK[value % len(DARK)]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9,
            marker=MARKERS[value % len(MARKERS)],
            facecolors="#ffffff" if is_hollow(value) else colour,
            edgecolors=colour,
            linewidths=0.6,
            label=f"class {value}",
        )
