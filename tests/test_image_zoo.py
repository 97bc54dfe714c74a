"""Every kind of image file that people have: the bad ones are told in one pass, and never met in training."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nhnas.spec.config import Data
from nhnas.spec.document import read_document
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.image_files import decode
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")

SIZE = (6, 5)
SPEC = """\
format: 1
name: zoo
input: [3, 5, 6]
net:
  - {name: stem, op: conv, width: 3, stride: 2, act: relu}
  - {name: small, op: conv, width: 4, stride: 2, residual: {hidden: 2}}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 2, norm: batch}
data: {dataset: image_folder, root: pictures, augment: [crop, shift, flip, rotate]}
train: {lr: 0.01, batch: BATCH, deterministic: true}
search: {add: 4, max_epochs: 1, fade_epochs: 1, settle_epochs: 1}
"""


def picture(value: int = 50) -> Image.Image:
    """A plain one."""
    return Image.new("RGB", SIZE, (value, 2 * value % 256, 255 - value))


def huge_png() -> bytes:
    """A sound PNG of 60 bytes that says it has 10¹⁰ pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def cut(path: Path, picture: Image.Image, format: str, keep: float) -> None:
    """The first part of a file."""
    picture.save(path, format=format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])


def grey_16(path: Path, value: int) -> None:
    """One value of 65,536 everywhere."""
    Image.fromarray(np.full((5, 6), value, np.uint16)).save(path)


def sideways(path: Path) -> None:
    """5 by 6, to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE[::-1]).save(path, exif=exif)


def palette(path: Path) -> None:
    """A palette whose first colour is transparent."""
    image = Image.new("P", SIZE, 0)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(path, transparency=0)


GOOD: dict[str, Callable[[Path], object]] = {
    "plain.png": lambda path: picture().save(path),
    "UPPER.PNG": lambda path: picture().save(path),
    "UPPER.JPG": lambda path: picture().save(path, format="JPEG"),
    "wrong ending.jpg": lambda path: picture().save(path, format="PNG"),
    "no ending": lambda path: picture().save(path, format="BMP"),
    "16 bits.png": lambda path: grey_16(path, 25_700),
    "cmyk.jpg": lambda path: Image.new("CMYK", SIZE, (0, 255, 255, 0)).save(path),
    "rgba.png": lambda path: Image.new("RGBA", SIZE, (255, 0, 0, 128)).save(path),
    "grey alpha.png": lambda path: Image.new("LA", SIZE, (9, 0)).save(path),
    "palette alpha.png": palette,
    "sideways.jpg": sideways,
    "still.gif": lambda path: picture().save(path),
    "one.webp": lambda path: picture().save(path),
    "bilevel.tif": lambda path: Image.new("1", SIZE).save(path),
    "котёнок.png": lambda path: picture().save(path),
    "小貓.png": lambda path: picture().save(path),
    "قطة.png": lambda path: picture().save(path),
    "🐈.png": lambda path: picture().save(path),
    "line\nend.png": lambda path: picture().save(path),
    os.fsdecode(b"latin \xe9.png"): lambda path: picture().save(path),
}

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.jpg": (lambda path: cut(path, picture(), "JPEG", 0.9), "truncated"),
    "cut at once.jpg": (lambda path: cut(path, picture(), "JPEG", 0.02), "truncated"),
    "cut.png": (lambda path: cut(path, picture(), "PNG", 0.7), ""),
    "cut.webp": (lambda path: cut(path, picture(), "WEBP", 0.7), ""),
    "cut.bmp": (lambda path: cut(path, picture(), "BMP", 0.7), "truncated"),
    "empty.png": (lambda path: path.write_bytes(b""), "is empty"),
    "text.png": (lambda path: path.write_text("a cat"), "is none of JPEG"),
    "page.html": (lambda path: path.write_text("<html>"), "is none of JPEG"),
    "moving.gif": (
        lambda path: picture().save(path, save_all=True, append_images=[picture(200)]),
        "is animated",
    ),
    "moving.webp": (
        lambda path: picture().save(path, save_all=True, append_images=[picture(200)]),
        "is animated",
    ),
    "pages.tif": (
        lambda path: picture().save(path, save_all=True, append_images=[picture(200)]),
        "is animated or has several pages",
    ),
    "bomb.png": (lambda path: path.write_bytes(huge_png()), ""),
    "float.tif": (lambda path: Image.new("F", SIZE).save(path), "unknown range"),
    "drawing.eps": (lambda path: picture().save(path), "is none of JPEG"),
    "loop.png": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "lost.png": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "bad\nname.png": (lambda path: path.write_bytes(b""), "is empty"),
    os.fsdecode(b"bad \xe9.png"): (lambda path: path.write_bytes(b""), "is empty"),
}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """20 + 1 good images to train on, in classes with names outside ASCII; one test image a class."""
    root = tmp_path / "pictures"
    for which in ("train", "test"):
        for name in ("кот", "собака"):
            (root / which / name).mkdir(parents=True)
            picture().save(root / which / name / "0.png")
    (root / "train" / "собака" / "0.png").unlink()
    for index, (name, make) in enumerate(GOOD.items()):
        make(root / "train" / ("кот", "собака")[index % 2] / name)
    for hidden in (".DS_Store", "._cat.jpg", "Thumbs.db"):
        (root / "train" / "кот" / hidden).write_bytes(b"\0")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "spec.yaml").write_text(SPEC.replace("BATCH", "4"))
    return tmp_path / "spec.yaml"


def test_check_lists_all_that_is_bad_and_nothing_else(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Files, links and folders in one pass, a line each with the reason; train and test refuse the same."""
    here, root = Here(capfd), spec.parent / "pictures"
    told = f"{spec}: ok, 4 layers; all images can be read: 21 for training and 2 for test, 2 classes\n"
    assert (0, told, "") == here("check", str(spec))
    for index, (name, (make, _)) in enumerate(BAD.items()):
        make(root / ("train", "test")[index % 2] / "кот" / name)
    (root / "train" / "up").symlink_to("..", target_is_directory=True)
    (root / "test" / "lost").symlink_to("nowhere")
    (root / "test" / "мышь").mkdir()
    code, out, err = here("check", str(spec))
    assert (2, "") == (code, out)
    lines = err.splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines == here("eval", str(spec))[2].splitlines()
    expected = {
        **{name: reason for name, (_, reason) in BAD.items()},
        "up": "is a link to a folder that it lies in",
        "lost": "is a link that leads nowhere",
        "мышь": "no image in it",
    }
    assert len(expected) + 1 == len(lines)
    assert "train has кот, собака; test has кот, мышь, собака" in lines[2]
    for name, reason in expected.items():
        shown = name if name.isprintable() else ascii(name)[1:-1]
        (line,) = [line for line in lines if f"/{shown}: " in line or f"/{shown}': " in line]
        assert reason.lower() in line.lower(), line


def test_what_check_accepts_is_trained_on(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """21 images in batches of 4: the last one joins the batch before, so that no norm meets it alone."""
    here = Here(capfd)
    code, _, err = here("step", str(spec))
    assert (0, "") == (code, err)
    assert 1 == read_document(spec).version


@pytest.mark.parametrize("batch", [2, 5, 10, 20])
def test_a_single_sample_never_reaches_a_norm(
    batch: int, spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """21 is one more than a multiple of each of these; a norm of features refuses a batch of one."""
    spec.write_text(SPEC.replace("BATCH", str(batch)))
    code, _, err = Here(capfd)("train", str(spec), "--epochs", "1")
    assert (0, "") == (code, err)


def test_sixteen_bits_are_scaled_in_the_data_set(spec: Path) -> None:
    """25,700 of 65,535 is 100 of 255, in all three colours, next to pictures of 8 bits."""
    data = load_dataset(Data(dataset="image_folder", root="pictures"), seed=0, folder=spec.parent)
    place = sorted(name for name in [*list(GOOD)[1::2]]).index("16 bits.png")
    own = data.train.inputs[data.train.targets == 1]
    assert ("кот", "собака") == data.classes
    assert torch.full((3, 5, 6), 100, dtype=torch.uint8).equal(own[place])


def test_transparent_grey_is_white_with_8_and_with_16_bits(tmp_path: Path) -> None:
    """PNG names one value of grey that is not seen."""
    for bits, black in ((np.uint8, 1), (np.uint16, 257)):
        grey = np.array([[0, black, np.iinfo(bits).max]], bits)
        Image.fromarray(grey).save(tmp_path / "grey.png", transparency=0)
        assert [[[255, 1, 255]]] * 3 == decode(tmp_path / "grey.png").tolist()


def test_two_folders_of_one_class_are_told(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`é` as one character and as two: on the disk they differ, on the screen they do not."""
    for name in ("\u00e9", "e\u0301"):
        for which in ("train", "test"):
            (spec.parent / "pictures" / which / name).mkdir()
            picture().save(spec.parent / "pictures" / which / name / "0.png")
    code, _, err = Here(capfd)("check", str(spec))
    assert (2, 2) == (code, err.count("another folder of this class")), err
    assert err.isascii()


@pytest.mark.parametrize(
    ("root", "code", "message"),
    [
        ("nowhere", 0, ""),
        ("~no-such-user/pictures", 2, "data.root: ~no-such-user/pictures: there is no such user"),
        ("x" * 300, 5, "File name too long"),
        ("spec.yaml/inside", 0, ""),
    ],
)
def test_a_root_that_is_none(
    root: str, code: int, message: str, spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A clone without its data is sound; what can never be a folder is one line."""
    spec.write_text(SPEC.replace("BATCH", "4").replace("root: pictures", f"root: {root}"))
    found, _, err = Here(capfd)("check", str(spec))
    assert (code, bool(message)) == (found, bool(err))
    assert message in err
    assert err.count("\n") == bool(err)
