"""How many neurons grow where, and the memory that steers it."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.search.grow import grow, to_add
from nhnas.search.moving_average import update
from nhnas.spec.config import Search

LAW = settings(derandomize=True, deadline=None, max_examples=100)
CRITICAL = {1: 10.83, 3: 16.27}
"""χ² that 1 in 1,000 exceeds, by degrees of freedom."""


def chi_square(observed: list[int], expected: list[float]) -> float:
    """Σ (observed - expected)²/expected."""
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


@pytest.mark.parametrize(
    ("add", "fraction", "neurons", "expected"),
    [(50, 0.07, 100, 57), (50, 0.07, 99, 56), (0, 0.29, 100, 29), (0, 0.0, 1000, 0), (5, 1.5, 3, 9)],
)
def test_p_counts_whole_neurons(add: int, fraction: float, neurons: int, expected: int) -> None:
    """P = add + ⌊add_fraction·N⌋, where 0.29·100 is 29."""
    assert expected == to_add(neurons, Search(add=add, add_fraction=fraction))


@given(
    sizes=st.lists(st.integers(0, 500), min_size=1, max_size=12),
    averages=st.lists(st.floats(-1e6, 1e6), max_size=12),
    add=st.integers(0, 300),
    spread=st.sampled_from(["noisy", "even"]),
    seed=st.integers(0, 2**128),
)
@LAW
def test_growth_adds_up_and_is_reproducible(
    sizes: list[int], averages: list[float], add: int, spread: Literal["noisy", "even"], seed: int
) -> None:
    """Exactly P neurons, positive counts, only at open sites in their order; the same each time."""
    neurons = {f"site{i}": size for i, size in enumerate(sizes)}
    memory = {f"site{i}": value for i, value in enumerate(averages)}
    search = Search(add=add, spread=spread)
    grown = grow(neurons, memory, search, seed)
    assert to_add(sum(sizes), search) == sum(grown.values())
    assert all(count > 0 for count in grown.values())
    assert [site for site in neurons if site in grown] == list(grown)
    assert grown == grow(neurons, memory, search, seed)


def test_without_an_open_site_nothing_grows() -> None:
    """No site, no neuron, whatever `add` says."""
    assert {} == grow({}, {}, Search(add=50), 0)
    assert {} == grow({}, {}, Search(add=50, spread="even"), 0)


@given(sites=st.integers(1, 12), add=st.integers(0, 300), seed=st.integers(0, 2**128))
@LAW
def test_even_growth_knows_no_favourites(sites: int, add: int, seed: int) -> None:
    """Sites differ by one neuron at most, whatever they have and kept; a neuron more takes none away."""
    neurons = {f"site{i}": 10 * i for i in range(sites)}
    memory = {f"site{i}": 100.0 * i for i in range(sites)}

    def counts(number: int) -> list[int]:
        found = grow(neurons, memory, Search(add=number, add_fraction=0.0, spread="even"), seed)
        return [found.get(site, 0) for site in neurons]

    now, more = counts(add), counts(add + 1)
    assert max(now) - min(now) <= 1
    assert [0] * (sites - 1) + [1] == sorted(after - before for before, after in zip(now, more, strict=True))


def test_what_is_left_of_an_even_growth_is_drawn() -> None:
    """Two neurons for four sites fall on each of them in half of 400 seeds."""
    neurons = {"a": 1, "b": 1, "c": 1, "d": 1}
    search = Search(add=2, add_fraction=0.0, spread="even")
    met = [site for seed in range(400) for site in grow(neurons, {}, search, seed)]
    assert 800 == len(met)
    assert chi_square([met.count(site) for site in neurons], [200.0] * 4) < CRITICAL[3]


def test_another_seed_grows_elsewhere() -> None:
    """Ten seeds do not all draw the same."""
    neurons = {f"site{i}": 10 for i in range(10)}
    results = [tuple(grow(neurons, {}, Search(), seed).items()) for seed in range(10)]
    assert len(set(results)) > 5


@pytest.mark.parametrize("seed", range(3))
def test_growth_follows_the_probabilities(seed: int) -> None:
    """20,000 neurons over four sites fit 0.3/4 + 0.7·softplus(MA)/Σ in a χ² test."""
    averages = {"a": 3.0, "b": -2.0, "d": 0.5}
    neurons = {"a": 1, "b": 1, "c": 1, "d": 1}
    grown = grow(neurons, averages, Search(add=20_000, add_fraction=0.0), seed)
    weights = [math.log(1.0 + math.exp(averages.get(site, 0.0))) for site in neurons]
    expected = [20_000 * (0.3 / 4 + 0.7 * weight / sum(weights)) for weight in weights]
    assert chi_square([grown[site] for site in neurons], expected) < CRITICAL[3]


def test_small_growth_is_fair_too() -> None:
    """Over 2,000 seeds, one neuron at a time falls as often on either of two equal sites."""
    drawn = [next(iter(grow({"a": 9, "b": 1}, {}, Search(add=1, add_fraction=0.0), s))) for s in range(2000)]
    assert chi_square([drawn.count("a"), drawn.count("b")], [1000.0, 1000.0]) < CRITICAL[1]


def test_three_in_ten_go_anywhere() -> None:
    """A site whose softplus is nil still gets its share of the uniform 30%, and no other."""
    grown = grow({"a": 5, "b": 5}, {"a": 0.0, "b": -1e6}, Search(add=10_000, add_fraction=0.0), 7)
    assert chi_square([grown["a"], grown["b"]], [8_500.0, 1_500.0]) < CRITICAL[1]


def test_the_moving_average_remembers_by_site() -> None:
    """MA ← 0.8·MA + 0.2·(added - removed); new sites start at 0, vanished ones are dropped."""
    updated = update({"a": 10.0, "gone": 5.0}, ["a", "new", "idle"], {"a": 4, "new": 3}, {"a": 9, "gone": 1})
    assert {"a": 0.8 * 10.0 + 0.2 * -5.0, "new": 0.2 * 3.0, "idle": 0.0} == pytest.approx(updated)


def test_a_steady_change_is_what_the_average_comes_to() -> None:
    """After many steps of the same ΔN the moving average is ΔN."""
    average: dict[str, float] = {}
    for _ in range(100):
        average = update(average, ["a"], {"a": 7}, {"a": 2})
    assert np.isclose(5.0, average["a"])


def test_the_share_that_goes_anywhere_is_rounded() -> None:
    """Of 1 to 10 neurons 30% go anywhere, to the nearest whole one, halves up."""
    averages, most = {"a": 0.0, "b": -1e6}, []  # b gets none by weight
    for number in range(1, 11):
        search = Search(add=number, add_fraction=0.0)
        found = [grow({"a": 5, "b": 5}, averages, search, seed).get("b", 0) for seed in range(200)]
        most.append(max(found))
    assert [0, 1, 1, 1, 2, 2, 2, 2, 3, 3] == most
