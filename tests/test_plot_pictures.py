"""`nhnas plot`: what is in its pictures, where they go, and that drawing changes and runs nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from nhnas.plot import PANELS, numbers, plot
from nhnas.plot_axes import draw_panel, tick
from nhnas.plot_network import network_page
from nhnas.plot_page import new_figure
from nhnas.plot_panel import Chart, Kind, Panel, Series
from nhnas.plot_png import with_palette
from nhnas.spec.document import read_document
from nhnas.spec.drawing_text import shortened
from nhnas.spec.errors import InputError, StorageError
from tests import tiny
from tests.here import Here
from tests.pictures import HOSTILE

BOMB = "from pathlib import Path\nPath('ran').touch()\nraise SystemExit('boom')\n"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three versions; nothing here waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        spec = tiny.make(tmp_path_factory.mktemp("pictures") / "work")
        tiny.run(spec, steps=2)
        tiny.train(spec, epochs=1)
        yield spec


def draw(spec: Path, output: Path | None, figure: str | None = None, *baselines: Path) -> Path:
    """`nhnas plot` in this process."""
    return plot(spec, output, figure, baselines)


def words(path: Path) -> list[str]:
    """All texts of an SVG, as a reader of XML sees them."""
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]


def drawn_series(path: Path) -> int:
    """How many series an SVG holds."""
    groups = ElementTree.parse(path).iter(f"{SVG}g")
    return sum(group.get("id", "").startswith("series-") for group in groups)


@pytest.mark.parametrize("figure", PANELS)
def test_every_series_is_in_the_svg(figure: str, trained: Path, tmp_path: Path) -> None:
    """As many as in the JSON data, each with its name or as the only one of its axis; the words too."""
    path, (data,) = draw(trained, tmp_path / "one.svg", figure), numbers(trained, figure)
    found = words(path)
    assert len(data["series"]) == drawn_series(path)
    named = [one["name"] if one["name"] in found else one["axis"] for one in data["series"]]
    assert [] == [name for name in named if name not in found]
    assert data["title"] in found
    assert "".join(data["says"].split()) in "".join("".join(found).split())


def test_the_page_has_all_of_them(trained: Path, tmp_path: Path) -> None:
    """The series of every panel, their titles, and the layers of the architecture."""
    path, panels = draw(trained, tmp_path / "page.svg"), numbers(trained)
    found = words(path)
    assert sum(len(one.get("series", ())) for one in panels) == drawn_series(path)
    wanted = [one["title"] for one in panels if "title" in one] + ["block", "head", "points, version 3"]
    assert [] == [text for text in wanted if text not in found]


@pytest.mark.parametrize(
    ("figure", "ending"), [(None, "svg"), ("epochs", "svg"), ("epochs", "png"), ("architecture", "png")]
)
def test_the_same_bytes_whatever_somebody_set(
    figure: str | None, ending: str, trained: Path, tmp_path: Path
) -> None:
    """Neither the moment nor a person's matplotlibrc is in a picture; what they set stays set."""
    first = draw(trained, tmp_path / f"first.{ending}", figure).read_bytes()
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 30.0, "text.parse_math": True}):
        second = draw(trained, tmp_path / f"second.{ending}", figure).read_bytes()
        assert 9.0 == matplotlib.rcParams["lines.linewidth"]
    assert first == second


def test_names_are_literal(trained: Path, tmp_path: Path) -> None:
    """Whatever a baseline is called: no formula, no markup, none left out, and no warning about glyphs."""
    names = [name for name in [*HOSTILE, "_lead", "$x^2$", "$\\frac{1}{0", "\u202eabc"] if '"' not in name]
    names = list(dict.fromkeys(name.strip() for name in names))
    table = tmp_path / "others.csv"
    table.write_text(
        "name,params,accuracy\n" + "".join(f'"{name}",{n + 1},0.5\n' for n, name in enumerate(names))
    )
    found = words(draw(trained, tmp_path / "hostile.svg", "parameters", table))
    assert [] == [name for name in names if shortened(name, 40) not in found]
    draw(trained, tmp_path / "hostile.png", "parameters", table)


def test_names_of_a_spec_are_literal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own and those of its layers, on the page and in the architecture."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    text = tiny.DENSE.replace("name: points", "name: '$a_b$ <x>'").replace(
        "name: block ", "name: '$\\frac{' "
    )
    spec = tiny.make(tmp_path / "work", text)
    tiny.step(spec)
    for figure in (None, "architecture"):
        found = words(draw(spec, tmp_path / "net.svg", figure))
        assert {"$a_b$ <x>, version 1", "$\\frac{"} <= set(found)
    assert "$a_b$ <x>" in words(draw(spec, tmp_path / "net.svg", "parameters"))


def many(kind: Kind, count: int) -> Panel:
    """A panel with that many series."""
    drawn = tuple(Series(f"n{n}", (1, 2), (n, n + 1), kind) for n in range(count))
    return Panel("x", "x", "x", (Chart("y", drawn),))


def test_series_differ_without_their_colours() -> None:
    """35 lines with markers by marker and dash, 6 sets of points or marks by marker, 5 curves by dash."""
    kinds: list[tuple[Kind, int]] = [("line", 35), ("points", 6), ("marks", 6), ("steps", 5), ("curve", 5)]
    for kind, count in kinds:
        figure = new_figure(7, 5)
        draw_panel(figure, many(kind, count))
        lines = [line for line in figure.axes[0].lines if str(line.get_gid()).startswith("series-")]
        looks = {(str(line.get_marker()), str(line._unscaled_dash_pattern)) for line in lines}  # type: ignore[attr-defined]  # the only place that knows dashes
        assert (count, count) == (len(lines), len(looks)), kind


def test_an_isolated_number_of_a_curve_is_seen() -> None:
    """A line needs two: a single epoch between gaps is a dot, and only it."""
    figure = new_figure(7, 5)
    series = Series("a", (1, 2, 3, 4, 5), (1.0, None, 2.0, 3.0, None), "curve")
    draw_panel(figure, Panel("x", "x", "x", (Chart("y", (series,)),)))
    (line,) = [line for line in figure.axes[0].lines if line.get_gid() == "series-0"]
    assert [0] == line.get_markevery()


def test_ticks_are_short() -> None:
    """Thousands and millions have letters; what is small has few digits."""
    numbers_ = [0, 0.001, 250, 9_000, 12_000, 1_500_000, -2e6, 3e9, 0.30000000000000004]
    assert ["0", "0.001", "250", "9000", "12k", "1.5M", "-2M", "3G", "0.3"] == list(map(tick, numbers_))


def test_a_palette_keeps_the_picture() -> None:
    """Of 10,000 colours the frequent ones stay as they are, others move little; few colours stay exact."""
    draw_ = np.random.default_rng(0)
    shades = draw_.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    areas = np.repeat(np.array([[246, 248, 250], [17, 17, 17]], dtype=np.uint8), 5000, axis=0).reshape(
        100, 100, 3
    )
    for pixels, most in ((np.concatenate([shades, areas]), 90), (areas, 0)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        with Image.open(io.BytesIO(with_palette(buffer.getvalue(), 100))) as image:
            found = np.asarray(image.convert("RGB")).astype(int)
        moved = np.abs(found - pixels).max(axis=-1)
        assert (0, True) == (moved[-100:].max(), moved.max() <= most)


def test_an_architecture_that_is_too_large_is_folded(trained: Path) -> None:
    """Level by level until it fits; where the chain alone does not, the message names what can draw it."""
    document = read_document(trained)
    whole, depth = network_page(document)
    assert depth is None
    folded, level = network_page(document, widest=whole.width - 1)
    assert (True, True) == (folded.width < whole.width, level is not None)
    with pytest.raises(InputError, match="too large for this picture; `nhnas render` draws it"):
        network_page(document, tallest=10)


def test_where_a_picture_goes(trained: Path, tmp_path: Path) -> None:
    """Beside the spec by its figure's name, or where asked, as .png, .svg or .pdf; never over a spec."""
    for figure, name in ((None, "spec.history.png"), ("depth", "spec.depth.png")):
        path = draw(trained, None, figure)
        assert trained.with_name(name) == path
        assert matplotlib.image.imread(path).std() > 0.02
        path.unlink()
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")):
        assert draw(trained, tmp_path / f"picture{ending}", "depth").read_bytes().startswith(start)
    with pytest.raises(InputError, match=r"a plot is written as \.png, \.svg or \.pdf"):
        draw(trained, tmp_path / "picture.txt")
    with pytest.raises(StorageError, match="No such file or directory"):
        draw(trained, tmp_path / "nowhere" / "picture.png", "depth")
    (tmp_path / "link.svg").symlink_to(trained)
    with pytest.raises(InputError, match="a picture is not written over a spec"):
        draw(trained, tmp_path / "link.svg", "depth")


def test_an_untrained_spec_has_an_architecture_alone(tmp_path: Path) -> None:
    """All other figures say what trains it; nothing is written."""
    spec = tiny.make(tmp_path / "work")
    for figure in (None, "epochs"):
        with pytest.raises(InputError, match="no version has been trained yet; `nhnas step"):
            draw(spec, None, figure)
    assert ["mydata.py", "spec.yaml"] == sorted(path.name for path in spec.parent.iterdir())
    assert "points" in words(draw(spec, tmp_path / "net.svg", "architecture"))


def test_plots_run_no_code_of_a_spec(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The data set of the run and of a baseline is not imported; specs and store stay as they are."""
    monkeypatch.chdir(trained.parent)
    text = trained.read_text()
    Path("bomb.py").write_text(BOMB)
    Path("other.yaml").write_text(text.replace('"mydata:points"', '"bomb:make"'))
    before = tiny.outcome(trained)
    output = str(tmp_path / "page.svg")
    code, out, error = Here(capfd)("plot", "other.yaml", "-o", output, "--baseline", "other.yaml")
    assert (0, f"{output}\n", "") == (code, out, error)
    assert before == tiny.outcome(trained)
    assert not Path("ran").exists()
    code, _, _ = Here(capfd)("plot", "other.yaml", "-o", output, "--figure", "boundary")
    assert (2, True) == (code, Path("ran").exists())


def test_a_page_needs_no_torch(trained: Path, tmp_path: Path) -> None:
    """Drawing a run does not cost the second that importing it takes."""
    command = [sys.executable, "-X", "importtime", "-m", "nhnas", "plot", trained.name]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "page.png")],
        cwd=trained.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "matplotlib" in imported
    assert set() == {name for name in imported if name.partition(".")[0] in {"torch", "torchvision"}}
