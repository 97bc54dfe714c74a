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
LIGHT = ("#f4c7ab", "#b5cde8", "#c3e0bd", "#dccbe8", "#f1e3a6", "#d6d6d6")
DARK = ("#b3471b", "#1f4e8c", "#3c7a33", "#6d4494", "#8f7a10", "#4d4d4d")
MARKERS = "o^sDvP"
"""Of the first, second, … class; they come round again."""


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
        _classes(axes, xs, ys, areas, points, dataset.train.targets.numpy())
    else:
        surface = axes.contourf(
            xs, ys, outputs[:, 0].numpy().reshape(POINTS, POINTS), levels=24, cmap="viridis"
        )
        figure.colorbar(surface, ax=axes)
    title = f"{shown(document.name)}, version {document.version}"
    axes.set(title=title, xlabel="x₁", ylabel="x₂", aspect="equal")
    return figure


def _classes(axes: Any, xs: Any, ys: Any, areas: Any, points: Any, targets: Any) -> None:
    """The class of each point of the grid, `areas` [y, x], as a light colour; samples in dark ones."""
    count = int(max(areas.max(), targets.max())) + 1
    light = [LIGHT[n % len(LIGHT)] for n in range(count)]
    axes.contourf(xs, ys, areas, levels=np.arange(count + 1) - 0.5, colors=light)
    for value in range(count):
        chosen = points[targets == value]
        colour, marker = DARK[value % len(DARK)], MARKERS[value % len(MARKERS)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=6, c=colour, marker=marker, linewidths=0)
