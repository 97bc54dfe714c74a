"""Which neurons to remove (DESIGN §6 Choose; paper, section 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nhnas.search.grow import ROUNDING
from nhnas.spec.config import Search

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def to_remove(added: int, settings: Search) -> int:
    """M = ⌈P/add_to_remove⌉, at most as many as an integer of 64 bits can count."""
    return math.ceil(min(added / settings.add_to_remove, 2.0**62) - ROUNDING)


def choose(
    importance: Mapping[str, Floats],
    added: int,
    settings: Search,
    *,
    keep_one: frozenset[str],
    cost: Mapping[str, float] | None = None,
    seed: int,
) -> dict[str, tuple[int, ...]]:
    """Positions to remove, ascending, of each site that loses any.

    `importance`: removable sites in file order, one value a neuron, in units of the mean over all
    removable neurons. `added`: the neurons P that this step added. `keep_one`: sites that keep
    their most important neuron whatever happens. `cost`: what one neuron of each site costs,
    positive; importance per cost, again in units of its mean, then takes the place of importance. With
    `settings.compare` "site" importance is first taken in units of the mean of its own site.

    Removed are the M least important below `threshold_max`, all at or below `threshold_min`, each
    other one with probability `random_remove`, and the last one of a site that would keep a single
    neuron, `keep_one` excepted. Of equally important neurons the earlier goes first (site order,
    then position). The result is a function of the arguments.
    """
    sizes = [len(values) for values in importance.values()]
    if not sum(sizes):
        return {}
    values = _per_cost(_per_site(importance) if settings.compare == "site" else importance, cost)
    sites = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(values, kind="stable")
    kept = _keepers(order, sites, [site in keep_one for site in importance])
    gone = _least(values, order[~kept[order]], to_remove(added, settings), settings)
    gone |= np.random.Generator(np.random.Philox(seed)).random(len(values)) < settings.random_remove
    gone &= ~kept
    removed = {}
    for site, part in zip(importance, np.split(gone, np.cumsum(sizes)[:-1]), strict=True):
        positions = np.flatnonzero(part if site in keep_one else _without_single(part))
        if positions.size:
            removed[site] = tuple(positions.tolist())
    return removed


def _per_site(importance: Mapping[str, Floats]) -> dict[str, Floats]:
    """Importances with mean 1 at every site; where all of a site are 0, or it is empty, they stay."""
    means = {site: float(values.sum()) / max(len(values), 1) for site, values in importance.items()}
    return {site: values / (means[site] or 1.0) for site, values in importance.items()}


def _per_cost(importance: Mapping[str, Floats], cost: Mapping[str, float] | None) -> Floats:
    """All importances in one row, site after site; per unit of cost, with mean 1, where there is one."""
    if cost is None:
        return np.concatenate([np.asarray(values, dtype=float) for values in importance.values()])
    values = np.concatenate([np.asarray(values) / cost[site] for site, values in importance.items()])
    mean = float(values.mean())
    return values / mean if mean > 0.0 else values


def _keepers(order: NDArray[np.intp], sites: NDArray[np.intp], protected: list[bool]) -> Bools:
    """Marks the last neuron, in ascending order of importance, of every protected site."""
    last = {int(sites[neuron]): int(neuron) for neuron in order}
    kept = np.zeros(len(sites), dtype=bool)
    kept[[neuron for site, neuron in last.items() if protected[site]]] = True
    return kept


def _least(values: Floats, candidates: NDArray[np.intp], number: int, settings: Search) -> Bools:
    """Marks the first `number` candidates below threshold_max and all up to threshold_min."""
    gone: Bools = values <= settings.threshold_min
    below = candidates[values[candidates] < settings.threshold_max]
    gone[below[:number]] = True
    return gone


def _without_single(gone: Bools) -> Bools:
    """A residual of one neuron is not worth its place (paper: "near zero, say 1")."""
    return np.ones_like(gone) if len(gone) - gone.sum() == 1 else gone
