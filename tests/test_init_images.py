"""`nhnas init … --root FOLDER`: specs that fit a folder of images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nhnas.check import check
from nhnas.init import init, template_text
from nhnas.spec.canonical import same_architecture
from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
from nhnas.spec.stages import MOST, SMALL, near_linear
from nhnas.spec.structure import sites, structure
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


def make_images(
    root: Path, height: int, width: int, classes: tuple[str, ...] = ("ant", "bee", "cat")
) -> Path:
    """Eight images a class to train with, four to test."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for value, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(60 * value, 60 * value + 90, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def test_a_spec_that_fits_a_folder_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shape and classes are read from it; it is named from where the spec lies, which may be elsewhere."""
    root = make_images(tmp_path / "my images", 20, 24)
    spec = tmp_path / "work" / "spec.yaml"
    spec.parent.mkdir()
    init("image-folder", spec, root=root)
    document = read_document(spec)
    assert ((3, 20, 24), 3) == (
        document.architecture.input,
        structure(document.architecture)[-1].writes.neurons,
    )
    assert ("image_folder", "../my images") == (document.data.dataset, document.data.root)
    assert 0 == check([spec])
    assert capsys.readouterr().out.endswith("24 for training and 12 for test, 3 classes\n")
    assert (1, 1.0) == (tiny.train(spec, epochs=3)[0].version, 1.0)


@pytest.mark.parametrize(
    ("height", "width", "maps"),
    [
        (5, 7, [5]),
        (8, 8, [8]),
        (9, 30, [9, 5]),
        (28, 28, [28, 14, 7]),
        (64, 48, [64, 32, 16, 8]),
        (224, 224, [112, 56, 28, 14, 7]),
    ],
)
def test_maps_are_halved_until_they_can_be_pooled(height: int, width: int, maps: list[int]) -> None:
    """Nearly linear whatever the size: no neuron inside any residual, and no width above the most."""
    arch = near_linear((3, height, width), 7)
    heights = [view.writes.map[0] for view in structure(arch) if view.writes.map]
    assert maps == sorted(set(heights[:-1]), reverse=True)
    assert min(maps) <= SMALL or height > width
    assert {0} == {site.neurons for site in sites(arch).values() if not site.chain}
    assert max(site.neurons for site in sites(arch).values()) <= max(MOST, 7)


def test_of_the_size_of_cifar_it_is_the_template() -> None:
    """The same start as `nhnas init cifar10`, block by block."""
    template = parse_document(template_text("cifar10")).architecture
    assert same_architecture(template, near_linear((3, 32, 32), 10))


def test_a_resnet_for_a_folder(tmp_path: Path) -> None:
    """The hand-designed network to compare with, of the same images."""
    root = make_images(tmp_path / "images", 16, 16, ("a", "b"))
    init("resnet", tmp_path / "spec.yaml", width=4, blocks=1, root=root)
    document = read_document(tmp_path / "spec.yaml")
    assert (3, 16, 16) == document.architecture.input
    assert "images" == document.data.root
    assert 0 == check([tmp_path / "spec.yaml"])
    assert measure(document.architecture).parameters > 0


@pytest.mark.parametrize(
    ("template", "given", "message"),
    [
        (
            "image-folder",
            {},
            r"^image-folder needs --root FOLDER, with images in train/<class>/ and test/<class>/$",
        ),
        ("spirals", {"width": 8}, "^--width, --blocks and --classes are of resnet, not of spirals$"),
        ("cifar10", {"root": Path("x")}, "^--root is of resnet and image-folder, not of cifar10$"),
        (
            "resnet",
            {"classes": 7},
            "^--classes 7: 10 is CIFAR-10, 100 CIFAR-100; for images of your own give --root",
        ),
        (
            "resnet",
            {"classes": 10, "root": Path("x")},
            "^--classes are those of the images: leave it out beside --root$",
        ),
        (
            "image-folder",
            {"root": Path("nowhere")},
            r"^--root nowhere: no folder train in it; expected train/<class>/\* and test/<class>/\*$",
        ),
        ("image_folder", {}, "^no template 'image_folder'; did you mean image-folder"),
    ],
)
def test_what_does_not_fit_is_one_line(
    template: str, given: dict[str, Path | int], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        init(template, tmp_path / "spec.yaml", **given)  # type: ignore[arg-type]
    assert [] == list(tmp_path.iterdir())


def test_a_folder_without_an_image_that_can_be_read(tmp_path: Path) -> None:
    """Says so; `nhnas check` would name each."""
    root = make_images(tmp_path / "images", 6, 6, ("a", "b"))
    for path in root.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(InputError, match=r"none of its 24 files can be read as an image$"):
        init("image-folder", tmp_path / "spec.yaml", root=root)


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    """Its name is told: often a folder too many lies in between."""
    root = make_images(tmp_path / "images", 6, 6, ("all",))
    with pytest.raises(InputError, match=r"images: one class, all: there is nothing to tell apart$"):
        init("image-folder", tmp_path / "spec.yaml", root=root)


def test_a_folder_like_a_home_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is one of this name, not somebody's home."""
    make_images(tmp_path / "~", 6, 6)
    monkeypatch.chdir(tmp_path)
    init("image-folder", Path("spec.yaml"), root=Path("./~"))
    assert "./~" == read_document(tmp_path / "spec.yaml").data.root
    assert 0 == check([tmp_path / "spec.yaml"])


def test_a_name_that_a_spec_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8; a link to the folder does."""
    root = make_images(tmp_path / os.fsdecode(b"im\xff"), 6, 6)
    with pytest.raises(InputError, match=r"a spec is UTF-8 and cannot name it; rename it, or a link to it$"):
        init("image-folder", tmp_path / "spec.yaml", root=root)


def test_nothing_but_the_line_is_said_of_large_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's own warnings are not: here they would be errors."""
    root = make_images(tmp_path / "images", 20, 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    init("image-folder", tmp_path / "spec.yaml", root=root)
    assert (3, 20, 20) == read_document(tmp_path / "spec.yaml").architecture.input
