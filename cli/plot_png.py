"""A picture as PNG with a palette: a third of the size, for pictures that are kept in git."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colours = NDArray[np.int64]
EXACT = 128
"""Most frequent colours that stay as they are; as many again are chosen to be near to all others."""


def with_palette(png: bytes, dpi: float) -> bytes:
    """The same picture in at most 256 colours: areas keep theirs, the rare shades of edges move a little."""
    with Image.open(io.BytesIO(png)) as image:
        full = image.convert("RGB")
    palette = _palette(full)
    found = full.getcolors(full.width * full.height) or []
    colours = np.array(sorted(rgb for _, rgb in found), dtype=np.int64)
    places = np.searchsorted(_packed(colours), _packed(np.asarray(full, dtype=np.int64)))
    few = Image.fromarray(_nearest(colours, palette)[places])
    few.putpalette(palette.astype(np.uint8).tobytes())
    smaller = io.BytesIO()
    few.save(smaller, "PNG", optimize=True, dpi=(dpi, dpi))
    return smaller.getvalue()


def _palette(image: Image.Image) -> Colours:
    """Colours [at most 256, 3]."""
    found = sorted(image.getcolors(image.width * image.height) or [], reverse=True)
    common = [rgb for _, rgb in found[:EXACT]]
    spread = image.quantize(EXACT, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette() or []
    return np.concatenate([np.array(common, dtype=np.int64), np.array(spread, dtype=np.int64).reshape(-1, 3)])


def _packed(colours: Colours) -> Colours:
    """[…, 3] → […], in the order of the tuples."""
    packed: Colours = colours @ np.array([1 << 16, 1 << 8, 1])
    return packed


def _nearest(colours: Colours, palette: Colours) -> NDArray[np.uint8]:
    """For each colour [n, 3] the place of the nearest one of the palette [m, 3], the first of equals."""
    places = [((palette - colour) ** 2).sum(1).argmin() for colour in colours]
    return np.array(places, dtype=np.uint8)
