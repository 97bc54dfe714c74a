"""Image files of any kind to pixels, each bad file with its reason; Pillow and numpy, never torch.

Shapes: N images, 3 colours, H and W pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What may be opened: Pillow would hand others, such as EPS, to programs outside."""

MAX_PIXELS = 2**24
"""Largest image, 4096 by 4096: more is a decompression bomb or the wrong folder for a set in memory."""
AHEAD = 256
"""Images decoded before the first of them is copied."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Bad:
    """Why a file cannot be used."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


def printable(text: object) -> str:
    """A path or name on one line, whatever characters it is made of."""
    return str(text) if str(text).isprintable() else ascii(str(text))


def is_utf8(name: str) -> bool:
    """Whether a name can be written as UTF-8: those of folders may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_images(paths: Sequence[Path]) -> tuple[Pixels, list[Bad]]:
    """Decode all files into uint8 [N, 3, H, W] (a thread each core) and list the bad ones.

    All have the size of the first good one; of those that differ, only the first is listed. Rows of bad
    files are left black; without a good file the array is empty.
    """
    pixels: Pixels | None = None
    sizes = Sizes()
    for row, (path, image) in enumerate(_decode_all(paths)):
        if not sizes.takes(path, _shape_of(image)) or isinstance(image, Bad):
            continue
        if pixels is None:
            pixels = np.zeros((len(paths), *image.shape), np.uint8)
        pixels[row] = image
    return np.zeros((0, 3, 0, 0), np.uint8) if pixels is None else pixels, sizes.problems


def bad_images(paths: Sequence[Path]) -> list[Bad]:
    """The bad ones among the files, as `read_images` lists them, without keeping any pixels."""
    sizes = Sizes()
    for path, image in _decode_all(paths):
        sizes.takes(path, _shape_of(image))
    return sizes.problems


def first_shape(paths: Sequence[Path]) -> tuple[int, ...]:
    """Shape of the first good image; (3, 0, 0) where there is none."""
    good = (image.shape for image in map(try_decode, paths) if not isinstance(image, Bad))
    with unwarned():
        return next(good, (3, 0, 0))


def _shape_of(image: Pixels | Bad) -> tuple[int, ...] | Bad:
    return image if isinstance(image, Bad) else image.shape


RESIZE = "resize copies, or as they are read (LazyImages, docs/spec.md)"


class Sizes:
    """Collects bad files, and the first one of another size than the first good one."""

    def __init__(self) -> None:
        self._bad: list[Bad] = []
        self._odd: list[Bad] = []
        self._model: tuple[Path, tuple[int, ...]] | None = None

    def takes(self, path: Path, mine: tuple[int, ...] | Bad) -> bool:
        """Whether an image of this shape is good and has the size of all."""
        if isinstance(mine, Bad):
            self._bad.append(mine)
            return False
        if self._model is None:
            self._model = path, mine
        model, shape = self._model
        if mine != shape and not self._odd:
            reason = f"is {_size(mine)}, {printable(model)} is {_size(shape)}; all need one size: {RESIZE}"
            self._odd.append(Bad(path, reason))
        return mine == shape

    @property
    def problems(self) -> list[Bad]:
        """All of them."""
        return [*self._bad, *self._odd]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]} by {shape[-2]}"


def _decode_all(paths: Sequence[Path]) -> Iterator[tuple[Path, Pixels | Bad]]:
    """Every path with its pixels or why there are none, in order; at most AHEAD wait in memory."""
    with ThreadPoolExecutor(cpu_count()) as pool, unwarned():
        for at in range(0, len(paths), AHEAD):
            some = paths[at : at + AHEAD]
            yield from zip(some, pool.map(try_decode, some), strict=True)


@contextmanager
def unwarned() -> Iterator[None]:
    """Pillow warns of oddities that it has coped with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def try_decode(path: Path) -> Pixels | Bad:
    """The pixels [3, H, W] of a file, or why there are none."""
    try:
        return decode(path)
    except UnidentifiedImageError:
        is_empty = path.stat().st_size == 0
        return Bad(path, "is empty" if is_empty else f"is none of {', '.join(FORMATS)}")
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        return Bad(path, _reason(error))


def _reason(error: Exception) -> str:
    """Our own words are ValueErrors, the system's have a number; the rest are those of Pillow's decoders."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if isinstance(error, ValueError) else f"cannot be decoded: {words}"


def decode(path: Path) -> Pixels:
    """One image as uint8 [3, H, W], turned as its EXIF data says.

    Grey becomes three equal colours, 16-bit grey is scaled by 255/65535, what is transparent shows
    white. Raises ValueError (animated, too large, pixels of unknown range) and what Pillow raises.
    """
    if not path.is_file():  # a pipe would wait for somebody to write
        path.stat()  # says so itself where there is nothing
        raise ValueError("is not a regular file")
    with Image.open(path, formats=FORMATS) as image:
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise ValueError("is animated or has several pages; expected a single picture")
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"is {image.width} by {image.height}; at most {MAX_PIXELS} pixels are read")
        upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright, has_16_bits=image.mode == "I" and image.format in ("PNG", "PPM"))
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def _to_rgb(image: Image.Image, *, has_16_bits: bool) -> Image.Image:
    """`has_16_bits`: the 32-bit pixels of mode I hold values up to 65535, as Pillow reads some formats."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or has_16_bits:
        return _from_16_bits(image).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("has 32-bit pixels of unknown range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """`convert` would clip at 255 and turn the picture white, and take no value for transparent."""
    wide = np.asarray(image).astype(np.uint32)
    grey = (wide * 255 + 32767) // 65535
    return Image.fromarray(np.where(wide == image.info.get("transparency"), 255, grey).astype(np.uint8))
