"""Toy problems of two inputs, after the generators in the paper authors' prototype.

Everything is drawn from the seed; test points come from another stream of the same seed.
Shapes: N points, 2 features.
"""

from __future__ import annotations

from math import pi

import numpy as np
import torch
from numpy.typing import NDArray

from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.sample_random import stream, uniform

TEST_POINTS = 2000

SPIRAL_POINTS = 400
"""Training points of each class."""
SPIRAL_TURN = 780 * pi / 180
SPIRAL_NOISE = 0.5
SPIRAL_SCALE = 0.1

GRID = 50
REGRESSION_AREA = ((-2.5, 1.5), (-2.0, 4.0))
"""Range of each coordinate before scaling."""


def spirals(seed: int) -> Dataset:
    """Two interleaved spirals: 400 training points a class, 1,000 a class for test.

    Radius and angle of a point are both t = √U·780° (in radians), U uniform; to each coordinate
    0.5·U(0, 1) of noise is added, and all is scaled by 0.1. The second class is the first one's point
    reflection, noise included, so the noise pushes the arms apart and no two classes overlap.
    """
    return Dataset(
        "spirals",
        train=_spiral_points(SPIRAL_POINTS, seed, "train"),
        test=_spiral_points(TEST_POINTS // 2, seed, "test"),
        classes=("spiral", "reflection"),
    )


def _spiral_points(n: int, seed: int, which: str) -> Split:
    turn, noise_x, noise_y = (
        uniform(stream("spirals", seed, which, what), np.arange(n)) for what in ("turn", "x", "y")
    )
    t = np.sqrt(turn) * SPIRAL_TURN
    x = -np.cos(t) * t + SPIRAL_NOISE * noise_x
    y = np.sin(t) * t + SPIRAL_NOISE * noise_y
    first = SPIRAL_SCALE * np.stack((x, y), axis=1)
    return Split(
        torch.from_numpy(np.concatenate((first, -first)).astype(np.float32)),
        torch.arange(2).repeat_interleave(n),
    )


def regression2d(seed: int) -> Dataset:
    """A surface over the square [-1, 1]²: a grid of 50 by 50 for training, 2,000 random points for test.

    Inputs x₁, x₂ of the square stand for u in [-2.5, 1.5] and v in [-2, 4]; the target is
    2 sin r - 1 + (x₁ + x₂)/3 with r = √(u² + v²): the distance is taken before the scaling to the
    square, the plane is added after it.
    """
    line = np.linspace(-1.0, 1.0, GRID)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    fresh = [uniform(stream("regression2d", seed, "test", axis), np.arange(TEST_POINTS)) for axis in "xy"]
    return Dataset("regression2d", train=_surface(grid), test=_surface(2 * np.stack(fresh, axis=1) - 1))


def _surface(points: NDArray[np.float64]) -> Split:
    """`points` [N, 2] of the square with the surface's height [N, 1]."""
    (left, right), (bottom, top) = REGRESSION_AREA
    low, high = np.array((left, bottom)), np.array((right, top))
    r = np.linalg.norm(low + (points + 1) / 2 * (high - low), axis=1)
    heights = 2 * np.sin(r) - 1 + points.sum(axis=1) / 3
    return Split(
        torch.from_numpy(points.astype(np.float32)), torch.from_numpy(heights[:, None].astype(np.float32))
    )
