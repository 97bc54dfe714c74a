"""A run that grows and then shrinks: how accurate it is at the same sizes on both ways (paper, figure 9)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMOOTHED = 3
"""Measurements of which each accuracy is the mean."""


@dataclass(frozen=True)
class Ways:
    """Smoothed test accuracies at `sizes` parameters, on the way up and on the way down."""

    sizes: list[int]
    up: list[float]
    down: list[float]


def both_ways(parameters: Sequence[int], accuracies: Sequence[float], sizes: int = 5) -> Ways | None:
    """Compare the versions before the largest with those after it, which belongs to both.

    Sizes are spread evenly between the largest of both starts and the top, without these ends; accuracies
    between two versions are interpolated. None where a way has fewer than two versions.
    """
    top = int(np.argmax(parameters))
    if top == 0 or top == len(parameters) - 1:
        return None
    smooth = smoothed(accuracies)
    low = max(min(parameters[: top + 1]), min(parameters[top:]))
    at = np.linspace(low, parameters[top], sizes + 2)[1:-1]
    ways = [_at(parameters[part], smooth[part], at) for part in (slice(0, top + 1), slice(top, None))]
    return Ways([round(size) for size in at], *ways)


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours; of two at the ends."""
    half = SMOOTHED // 2
    return [statistics.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _at(parameters: Sequence[int], accuracies: Sequence[float], sizes: np.ndarray) -> list[float]:
    """Interpolated by size; a way need not be monotonic."""
    pairs = sorted(zip(parameters, accuracies, strict=True))
    found = np.interp(sizes, [p for p, _ in pairs], [a for _, a in pairs])
    return [float(value) for value in found]
