"""`nhnas plot`: pictures of a version (matplotlib).

Two inputs: the decision boundary, or the fitted surface. Otherwise accuracy and size over versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nhnas.log import history
from nhnas.spec.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nhnas.work import Context

POINTS = 300
"""Grid points an axis."""
LIGHT = ("#f4c7ab", "#b5cde8", "#c3e0bd", "#dccbe8", "#f1e3a6", "#d6d6d6")
DARK = ("#b3471b", "#1f4e8c", "#3c7a33", "#6d4494", "#8f7a10", "#4d4d4d")
MARKERS = "o^sDvP"
"""Of the first, second, … class; they come round again."""


def plot(spec: Path, output: Path | None, context: Context) -> Path:
    """Draw the picture that fits the spec; returns where it lies."""
    from nhnas.spec.document import read_document

    document = read_document(spec)
    plane = document.architecture.input == (2,)
    path = output or spec.with_name(f"{spec.stem}.{'boundary' if plane else 'history'}.png")
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"{path}: a plot is written as .png, .svg or .pdf")
    figure = _plane(spec, context) if plane else _history(spec)
    try:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        from nhnas.spec.errors import StorageError

        raise StorageError(f"{path}: {error.strerror}") from None
    return path


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """A figure without the global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _plane(spec: Path, context: Context) -> Figure:
    """Outputs over the plane of the inputs, with the training samples."""
    import torch

    from nhnas.evaluation import load_model
    from nhnas.opening import here, load_data
    from nhnas.spec.document import read_document
    from nhnas.trainer.dataset import Split
    from nhnas.trainer.evaluate import outputs_of

    document = read_document(spec)
    dataset, network = load_data(here(document), context), load_model(spec, fresh=context.fresh)
    points = dataset.train.inputs.numpy()
    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low)
    xs, ys = (np.linspace(a, b, POINTS) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    outputs = outputs_of(network, dataset, Split(torch.from_numpy(grid), torch.zeros(len(grid))))
    figure, axes = _figure(6, 5.4)
    if dataset.is_classification:
        areas = outputs.argmax(1).numpy().reshape(POINTS, POINTS)
        _classes(axes, xs, ys, areas, points, dataset.train.targets.numpy())
    else:
        surface = axes.contourf(
            xs, ys, outputs[:, 0].numpy().reshape(POINTS, POINTS), levels=24, cmap="viridis"
        )
        figure.colorbar(surface, ax=axes)
    axes.set(title=f"{document.name}, version {document.version}", xlabel="x₁", ylabel="x₂", aspect="equal")
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


def _history(spec: Path) -> Figure:
    """Test accuracy (or error) and parameters over epochs."""
    records = history(spec)
    if not records:
        raise InputError(f"{spec}: no version has been trained yet; `nhnas step {spec}` trains the first")
    key = "accuracy" if "accuracy" in records[0]["test"] else "mse"
    epochs = [record["epochs"] for record in records]
    figure, axes = _figure(7, 4.2)
    (first,) = axes.plot(
        epochs, [r["test"][key] for r in records], "o-", color="#1f4e8c", label=f"test {key}"
    )
    other = axes.twinx()
    (second,) = other.plot(
        epochs, [r["parameters"] for r in records], "s--", color="#b3471b", label="parameters"
    )
    axes.set(xlabel="epochs", ylabel=f"test {key}", title=spec.name)
    other.set_ylabel("parameters")
    axes.legend(handles=[first, second], loc="lower right")
    return figure
