"""How many neurons to add where (DESIGN §6 Grow; paper, section 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nhnas.spec.config import Search

UNIFORM_PERCENT = 30
"""Share of the new neurons that goes anywhere; the rest follows the moving average."""
ROUNDING = 1e-9
"""0.29·100 is 28.999…: what is this close to a whole number is meant to be it."""


def to_add(neurons: int, settings: Search) -> int:
    """P = add + ⌊add_fraction·N⌋, N the neurons of all open sites."""
    return settings.add + math.floor(settings.add_fraction * neurons + ROUNDING)


def grow(
    neurons: Mapping[str, int], moving_average: Mapping[str, float], settings: Search, seed: int
) -> dict[str, int]:
    """New neurons of each site that gets any, in the order of `neurons`; P in all.

    `neurons` holds every open site with its present size, in file order; a site without a moving
    average has 0. 30% of P go to a site drawn uniformly, the rest to one drawn with probability
    ∝ softplus(moving average). With `settings.spread` "even" all sites get as many, and a drawn few
    of them one more. The draw is a function of the arguments; without an open site nothing is added.
    """
    if not neurons:
        return {}
    number, random = to_add(sum(neurons.values()), settings), np.random.Generator(np.random.Philox(seed))
    if settings.spread == "even":
        counts = _even(number, random.random(len(neurons)))
    else:
        counts = _noisy(random.random(number), _weights(neurons, moving_average))
    return {site: int(count) for site, count in zip(neurons, counts, strict=True) if count}


def _even(number: int, draws: NDArray[np.float64]) -> NDArray[np.intp]:
    """As many for each of the sites; what is left goes to those with the smallest draws, one each."""
    share, rest = divmod(number, draws.size)
    counts = np.full(draws.size, share, np.intp)
    counts[np.argsort(draws, kind="stable")[:rest]] += 1
    return counts


def _noisy(draws: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """How many of the draws fall on each site: the first of them uniformly, the others by weight."""
    uniform = (UNIFORM_PERCENT * draws.size + 50) // 100
    drawn = [_pick(np.ones(weights.size), draws[:uniform]), _pick(weights, draws[uniform:])]
    return np.bincount(np.concatenate(drawn), minlength=weights.size)


def _weights(neurons: Mapping[str, int], moving_average: Mapping[str, float]) -> NDArray[np.float64]:
    """softplus(MA) of each site, without overflow."""
    averages = np.array([moving_average.get(site, 0.0) for site in neurons])
    weights: NDArray[np.float64] = np.logaddexp(0.0, averages)
    return weights


def _pick(weights: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the site that each draw from [0, 1) falls on.

    Our own inverse of the cumulative sum: numpy may change how it samples, but not these doubles.
    """
    ends = np.cumsum(weights)
    found: NDArray[np.intp] = np.searchsorted(ends, draws * ends[-1], side="right")
    within: NDArray[np.intp] = np.minimum(found, len(weights) - 1)
    return within
