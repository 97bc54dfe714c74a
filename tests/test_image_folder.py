"""Folders of image files: decoding, bad files, classes matched by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.image_files import RESIZE, decode
from tests.here import Here

SIZE = (6, 5)
"""Width and height of the images in these tests."""


def _colour(value: int) -> Image.Image:
    return Image.new("RGB", SIZE, (value, 0, 255 - value))


def _folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 2) -> Path:
    """`n` PNG images a class in train and in test; the red of each is its place among all."""
    value = 0
    for which in ("train", "test"):
        for name in classes:
            (root / which / name).mkdir(parents=True)
            for i in range(n):
                _colour(value).save(root / which / name / f"{i}.png")
                value += 1
    return root


def _load(root: Path) -> Dataset:
    return load_dataset(Data(dataset="image_folder", root=str(root)), seed=0, folder=root)


def _refusal(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        _load(root)
    return str(caught.value).split("\n")


def test_a_folder_becomes_images_and_classes(tmp_path: Path) -> None:
    """Files in order of their names become uint8 [N, 3, H, W], folders become classes."""
    data = _load(_folder(tmp_path))
    assert ((3, 5, 6), 2, ("cat", "dog")) == (data.input_shape, data.outputs, data.classes)
    assert [0, 1, 2, 3] == data.train.inputs[:, 0, 0, 0].tolist()
    assert [4, 5, 6, 7] == data.test.inputs[:, 0, 4, 5].tolist()
    assert [255, 254, 253, 252] == data.train.inputs[:, 2, 2, 2].tolist()
    assert [[0, 0, 1, 1]] * 2 == [data.train.targets.tolist(), data.test.targets.tolist()]
    assert data.mean is not None
    assert data.mean[0].item() == pytest.approx(1.5 / 255, rel=1e-6)


def test_many_files_keep_their_order(tmp_path: Path) -> None:
    """More files than are decoded ahead at once come out in order."""
    _folder(tmp_path, n=1)
    rng = np.random.default_rng(0)
    for i in range(600):
        Image.fromarray(np.full((5, 6, 3), rng.integers(256), np.uint8)).save(
            tmp_path / f"train/cat/{i:04}.bmp"
        )
    data = _load(tmp_path)
    files = sorted((tmp_path / "train/cat").iterdir())
    assert [int(np.asarray(Image.open(file))[0, 0, 0]) for file in files] == data.train.inputs[
        :601, 0, 0, 0
    ].tolist()


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    """`.ipynb_checkpoints` is no class, `.DS_Store` no image, and file managers' notes are none either."""
    _folder(tmp_path)
    for hidden in ("train/.ipynb_checkpoints", "test/cat/.cache"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "x.png").write_bytes(b"no image")
    for hidden in ("train/cat/.DS_Store", "train/cat/Thumbs.db", "train/readme.txt"):
        (tmp_path / hidden).write_bytes(b"no image")
    assert (4, 4) == (len(_load(tmp_path).train), len(_load(tmp_path).test))


def test_classes_are_matched_by_name_or_refused_with_both_lists(tmp_path: Path) -> None:
    """Another name in test is told with what either side has."""
    _folder(tmp_path)
    (tmp_path / "test/cat").rename(tmp_path / "test/bird")
    (line,) = _refusal(tmp_path)
    assert "train and test must have the same classes; train has cat, dog; test has bird, dog" in line


def test_names_in_composed_and_decomposed_form_are_the_same_class(tmp_path: Path) -> None:
    """`é` as one character in train and as two in test is one class."""
    _folder(tmp_path, ("z", "été"))
    (tmp_path / "test/été").rename(tmp_path / "test" / unicodedata.normalize("NFD", "été"))
    assert ("z", "été") == _load(tmp_path).classes


def test_every_empty_class_is_named(tmp_path: Path) -> None:
    """A class without images, in train or in test, is bad input."""
    _folder(tmp_path)
    for name in ("train/cat", "test/dog"):
        for file in (tmp_path / name).iterdir():
            file.unlink()
    lines = _refusal(tmp_path)
    assert [str(tmp_path / "train/cat"), str(tmp_path / "test/dog")] == [
        line.split(": ")[0] for line in lines
    ]


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_missing_folder_is_named(missing: str, tmp_path: Path) -> None:
    """The message shows the layout that is expected."""
    _folder(tmp_path)
    (tmp_path / missing).rename(tmp_path / "other")
    (line,) = _refusal(tmp_path)
    assert f"no folder {tmp_path / missing}; image_folder reads train/<class>/*" in line


def test_all_bad_files_are_listed_with_their_reasons(tmp_path: Path) -> None:
    """One line for each file that cannot be read, in one pass over train and test."""
    _folder(tmp_path)
    _colour(1).save(tmp_path / "train/cat/cut.jpg")
    whole = (tmp_path / "train/cat/cut.jpg").read_bytes()
    (tmp_path / "train/cat/cut.jpg").write_bytes(whole[:-20])
    (tmp_path / "train/dog/nothing.png").write_bytes(b"")
    (tmp_path / "test/cat/text.jpg").write_text("not an image")
    _colour(1).save(tmp_path / "test/dog/moves.gif", save_all=True, append_images=[_colour(200)])
    Image.new("F", SIZE).save(tmp_path / "test/dog/range.tif")
    (tmp_path / "test/dog/zz.png").symlink_to("zz.png")
    reasons = {Path(line.split(": ")[0]).name: line.split(": ", 1)[1] for line in _refusal(tmp_path)}
    assert {"cut.jpg", "nothing.png", "text.jpg", "moves.gif", "range.tif", "zz.png"} == set(reasons)
    assert "truncated" in reasons["cut.jpg"].lower()
    assert "is empty" == reasons["nothing.png"]
    assert "is none of JPEG, PNG" in reasons["text.jpg"]
    assert "animated" in reasons["moves.gif"]
    assert "unknown range" in reasons["range.tif"]
    assert "symbolic links" in reasons["zz.png"]


def test_the_first_image_of_another_size_is_named(tmp_path: Path) -> None:
    """One line, however many differ, with both sizes."""
    _folder(tmp_path)
    for name in ("train/dog/5.png", "train/dog/6.png"):
        Image.new("RGB", (8, 4)).save(tmp_path / name)
    (line,) = _refusal(tmp_path)
    first = tmp_path / "train/cat/0.png"
    told = f"{tmp_path / 'train/dog/5.png'}: is 8 by 4, {first} is 6 by 5; all need one size: {RESIZE}"
    assert told == line


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    """Names are shown escaped where they would break the line."""
    _folder(tmp_path)
    (tmp_path / "train/cat/a\nb.png").write_bytes(b"x")
    (line,) = _refusal(tmp_path)
    assert "a\\nb.png" in line


def test_loops_of_links_are_not_followed(tmp_path: Path) -> None:
    """A link inside a class to the folder above it ends nowhere."""
    _folder(tmp_path)
    (tmp_path / "train/cat/loop").symlink_to(tmp_path / "train", target_is_directory=True)
    assert 4 == len(_load(tmp_path).train)


def test_what_would_be_passed_over_or_waited_for_is_refused(tmp_path: Path) -> None:
    """A pipe, a linked folder within a class, a name that no file of ours can hold: a line each, in order."""
    _folder(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "train/cat/more").symlink_to(tmp_path / "more", target_is_directory=True)
    os.mkfifo(tmp_path / "train/cat/pipe.png")
    for which in ("train", "test"):
        shutil.copytree(tmp_path / which / "dog", tmp_path / which / os.fsdecode(b"\xff"))
    assert [
        f"{tmp_path}/train/cat/more: is a link to a folder, which is not followed within a class; link the "
        "class, or files",
        f"'{tmp_path}/train/\\udcff': is no name in UTF-8; rename the folder",
        f"'{tmp_path}/test/\\udcff': is no name in UTF-8; rename the folder",
        f"{tmp_path}/train/cat/pipe.png: is not a regular file",
    ] == _refusal(tmp_path)


def _decoded(tmp_path: Path, image: Image.Image, name: str, **options: object) -> list[int]:
    """The pixel in the first column and row after writing and decoding."""
    image.save(tmp_path / name, **options)  # type: ignore[arg-type]
    pixels = decode(tmp_path / name)
    assert ("uint8", 3) == (str(pixels.dtype), pixels.shape[0])
    return [int(value) for value in pixels[:, 0, 0]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "A.PNG"])
@pytest.mark.parametrize(
    ("wide", "expected"), [(0, 0), (257, 1), (32896, 128), (33025, 129), (40000, 156), (65535, 255)]
)
def test_16_bit_grey_is_scaled(name: str, wide: int, expected: int, tmp_path: Path) -> None:
    """65535 becomes 255 and what lies below keeps its share, instead of turning white."""
    image = Image.fromarray(np.full((5, 6), wide, np.uint16))
    assert [expected] * 3 == _decoded(tmp_path, image, name)


def test_transparency_shows_white(tmp_path: Path) -> None:
    """RGBA, grey with alpha and a palette with a transparent colour lie on white."""
    assert [255, 127, 127] == _decoded(tmp_path, Image.new("RGBA", SIZE, (255, 0, 0, 128)), "rgba.png")
    assert [255] * 3 == _decoded(tmp_path, Image.new("LA", SIZE, (9, 0)), "la.png")
    palette = Image.new("P", SIZE, 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert [10, 20, 30] == _decoded(tmp_path, palette, "p.png")
    assert [255] * 3 == _decoded(tmp_path, palette, "pt.png", transparency=1)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("1", 1, [255] * 3), ("L", 77, [77] * 3), ("CMYK", (0, 255, 255, 0), [255, 0, 0])],
)
def test_other_modes_become_rgb(
    mode: str, colour: int | tuple[int, ...], expected: list[int], tmp_path: Path
) -> None:
    """Black and white, grey and CMYK come out as the colours they show."""
    assert expected == _decoded(tmp_path, Image.new(mode, SIZE, colour), "a.tif")


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    """A picture taken sideways is turned upright."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = decode(tmp_path / "a.png")
    assert (3, 6, 4) == upright.shape
    assert 255 == upright[0, 0, 3]


def test_a_picture_of_any_ending_is_known_by_its_content(tmp_path: Path) -> None:
    """A PNG called .jpg is read as the PNG that it is."""
    _colour(3).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert 3 == decode(tmp_path / "a.jpg")[0, 0, 0]


def test_a_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    """A tiny file that would fill the memory is refused by the size in its header."""
    Image.new("1", (20_000, 2_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="is 20000 by 2000; at most 16777216 pixels"):
        decode(tmp_path / "bomb.png")


def test_files_of_a_kind_that_needs_other_programs_are_refused(tmp_path: Path) -> None:
    """EPS, which Pillow would hand to Ghostscript, is none of the formats."""
    _folder(tmp_path)
    _colour(0).save(tmp_path / "train/cat/a.eps")
    (line,) = _refusal(tmp_path)
    assert "a.eps: is none of JPEG" in line


def test_download_of_a_folder_is_refused(tmp_path: Path) -> None:
    """There is nowhere to get it from."""
    with pytest.raises(InputError, match="cannot be downloaded"):
        load_dataset(Data(dataset="image_folder", download=True), seed=0, folder=_folder(tmp_path))


def test_images_are_the_training_input_as_they_were_on_disk(tmp_path: Path) -> None:
    """Lossless files come out of the split bit for bit."""
    _folder(tmp_path, n=1)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "train/cat/0.png")
    assert torch.equal(torch.from_numpy(pixels).permute(2, 0, 1), _load(tmp_path).train.inputs[0])


SPEC = """\
format: 1
name: pictures
input: [3, 5, 6]
net: [{name: flat, op: flatten}, {name: head, op: dense, width: 2}]
data: {dataset: image_folder, root: pictures}
"""


def test_check_lists_every_bad_file_in_one_pass(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As training would refuse them, with exit code 2; sound ones, and a clone without data, are ok."""
    here, spec = Here(capfd), tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    code, out, err = here("check", str(spec))
    assert (0, "") == (code, err)
    assert out.endswith(f"; no images to check: there is no folder {tmp_path / 'pictures'}\n")
    (tmp_path / "pictures").mkdir()
    _folder(tmp_path / "pictures")
    counts = "4 for training and 4 for test, 2 classes"
    told = f"{spec}: ok, 2 layers; all images can be read: {counts}\n"
    assert (0, told, "") == here("check", str(spec))
    (tmp_path / "pictures/train/cat/none.png").write_bytes(b"")
    (tmp_path / "pictures/test/dog/text.jpg").write_text("x")
    Image.new("RGB", (8, 4)).save(tmp_path / "pictures/test/dog/wide.png")
    code, out, err = here("check", str(spec))
    assert (2, "") == (code, out)
    assert _refusal(tmp_path / "pictures") == err.splitlines()
    assert 3 == len(err.splitlines())
    (tmp_path / "pictures/train/cat").rename(tmp_path / "pictures/train/cow")
    code, _, err = here("check", str(spec))
    assert (2, True) == (code, "train has cow, dog; test has cat, dog" in err)


def test_check_of_images_leaves_torch_out(tmp_path: Path) -> None:
    """Looking through pictures needs Pillow alone."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "pictures").mkdir()
    _folder(tmp_path / "pictures")
    code = "import sys; from nhnas.check import check; from pathlib import Path; "
    code += "print(check([Path('spec.yaml')]), 'torch' in sys.modules, 'PIL' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "0 False True" == done.stdout.splitlines()[-1]
