"""Random changes of whole batches of images, each a function of (seed, version, epoch, sample) alone.

Shapes: B images of a batch, C channels, H and W pixels. Images are uint8 or float32 in the units of
their pixels, before normalisation: what comes in from outside the frame is black (0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import pi

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from nhnas.spec.errors import InputError
from nhnas.trainer.sample_random import stream, uniform

Draw = Callable[[str], NDArray[np.float64]]
"""Name of a random quantity → one number of [0, 1) for each image of the batch, [B]."""

CROP_PADDING = 4
SHIFT_PADDING = 2
MAX_ANGLE = 10 * pi / 180


def augment(
    images: Tensor, samples: NDArray[np.int64], names: Sequence[str], *, seed: int, version: int, epoch: int
) -> Tensor:
    """The batch [B, C, H, W] after the augmentations `names`, composed in the order written.

    `samples` [B] are the images' numbers in their split: the same number gets the same change in any
    batch. Where bilinear interpolation is involved the result is float32, else of the dtype given.
    """
    for place, name in enumerate(names):
        images = AUGMENTATIONS[name](images, partial(_draw, samples, (place, name, seed, version, epoch)))
    return images


def check_augment(names: Sequence[str], shape: Sequence[int]) -> None:
    """Raises InputError for an unknown name and for augmentations of samples that are no images [C, H, W]."""
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise InputError(f"data.augment: unknown {', '.join(unknown)}; known are {', '.join(AUGMENTATIONS)}")
    if names and len(shape) != 3:
        raise InputError(
            f"data.augment: [{', '.join(names)}] needs images; this data set has {shape[0]} features "
            "a sample: remove data.augment"
        )


def _draw(samples: NDArray[np.int64], key: tuple[int, str, int, int, int], what: str) -> NDArray[np.float64]:
    return uniform(stream("augment", *key, what), samples)


def _translate(padding: int, images: Tensor, draw: Draw) -> Tensor:
    """Pad with black, then cut a frame of the old size at a uniformly random place."""
    height, width = images.shape[2:]
    down, right = (torch.from_numpy((draw(axis) * (2 * padding + 1)).astype(np.int64)) for axis in ("y", "x"))
    frames = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    every = torch.arange(len(images), device=images.device)
    return frames[every, :, down.to(images.device), right.to(images.device)]


def _flip(images: Tensor, draw: Draw) -> Tensor:
    """Mirror left and right with probability one half."""
    mirrored = torch.from_numpy(draw("flip") < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def _rotate(images: Tensor, draw: Draw) -> Tensor:
    """Rotate about the centre by an angle uniform within ±10°, bilinear.

    The grid is written out element by element instead of `affine_grid`, whose matrix product may round
    differently in a batch of another size.
    """
    height, width = images.shape[2:]
    angle = (2 * draw("angle") - 1) * MAX_ANGLE
    cos, sin = (
        torch.from_numpy(part.astype(np.float32)).to(images.device)[:, None, None]
        for part in (np.cos(angle), np.sin(angle))
    )
    x = _centres(width, images.device)[None, None, :]
    y = _centres(height, images.device)[None, :, None]
    grid = torch.stack(((cos * x - sin * y) * (2 / width), (sin * x + cos * y) * (2 / height)), dim=-1)
    return F.grid_sample(images.to(torch.float32), grid, align_corners=False)


def _centres(size: int, device: torch.device) -> Tensor:
    """Distances of the pixels' centres from the image's centre, in pixels, [size]."""
    return torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2


AUGMENTATIONS: dict[str, Callable[[Tensor, Draw], Tensor]] = {
    "crop": partial(_translate, CROP_PADDING),
    "shift": partial(_translate, SHIFT_PADDING),
    "flip": _flip,
    "rotate": _rotate,
}
