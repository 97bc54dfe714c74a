"""`nhnas plot --figure boundary`: the outputs over the plane of two inputs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from nhnas.plot import plot
from nhnas.plot_boundary import DARK, LIGHT, MARKERS, NAMED, boundary_figure, is_hollow
from nhnas.spec.errors import InputError
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


def boundary(spec: Path, output: Path | None = None) -> Path:
    """The picture of a spec, in this process."""
    return plot(spec, output, "boundary")


def pixels(path: Path) -> Any:
    """The picture as numbers [rows, columns, colours]."""
    return matplotlib.image.imread(path)


@pytest.mark.parametrize(("text", "classes"), [(tiny.DENSE, 2), (tiny.DENSE, 3), (tiny.REGRESSION, 0)])
def test_a_picture_of_the_plane(text: str, classes: int, tmp_path: Path) -> None:
    """Two inputs: the boundary or the surface, beside the spec; the spec and its store are untouched."""
    text = text.replace("width: 2, note", f"width: {max(classes, 1)}, note")
    spec = tiny.make(tmp_path / "work", text, classes)
    tiny.step(spec)
    before = tiny.outcome(spec)
    path = boundary(spec)
    assert spec.with_name("spec.boundary.png") == path
    assert pixels(path).std() > 0.05
    path.unlink()
    assert before == tiny.outcome(spec)


def test_every_class_is_in_the_picture(tmp_path: Path) -> None:
    """Of three classes each has points in a colour of its own; an untrained network is drawn, too."""
    text = tiny.DENSE.replace("width: 2, note", "width: 3, note")
    three = boundary(tiny.make(tmp_path / "work", text, 3), tmp_path / "three.png")
    colours = {tuple(pixel) for pixel in pixels(three)[..., :3].reshape(-1, 3).tolist()}
    wanted = [matplotlib.colors.to_rgb(colour) for colour in DARK[:3]]
    missing = [w for w in wanted if not any(np.allclose(w, colour, atol=0.01) for colour in colours)]
    assert [] == missing


def test_other_inputs_have_no_plane(tmp_path: Path) -> None:
    """The message says what is there instead."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    with pytest.raises(InputError, match="a boundary needs two inputs, not 2×5×5"):
        boundary(spec)


def test_classes_are_named_and_differ_without_colour(tmp_path: Path) -> None:
    """A legend of the classes; areas of neighbouring ones differ in lightness, and their samples in shape."""
    text = tiny.DENSE.replace("width: 2, note", "width: 3, note")
    figure = boundary_figure(tiny.make(tmp_path / "work", text, 3))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert ["0", "1", "2"] == [entry.get_text() for entry in legend.get_texts()]
    greys = [float(np.dot((0.299, 0.587, 0.114), matplotlib.colors.to_rgb(colour))) for colour in LIGHT]
    assert [] == [pair for pair in itertools.pairwise([*greys, greys[0]]) if abs(pair[0] - pair[1]) < 0.15]
    assert len(set(MARKERS)) == len(MARKERS) == len(LIGHT) == len(DARK)
    assert NAMED == len({(MARKERS[n % len(MARKERS)], is_hollow(n)) for n in range(NAMED)})


def test_any_name_of_a_class_stands_in_the_legend(tmp_path: Path) -> None:
    """Also one that begins with _, which is a hint to matplotlib to leave it out, and one like a formula."""
    spec = tiny.make(tmp_path / "work")
    data = spec.with_name("mydata.py")
    named = data.read_text().replace("test=split(40))", "test=split(40), classes=('_a', '$x$'))")
    data.write_text(named)
    legend = boundary_figure(spec).axes[0].get_legend()
    assert legend is not None
    assert ["_a", "$x$"] == [entry.get_text() for entry in legend.get_texts()]
