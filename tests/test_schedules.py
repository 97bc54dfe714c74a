"""Learning rates by hand."""

from __future__ import annotations

import math

import pytest

from nhnas.spec.config import Search, Train
from nhnas.spec.schedule import settings_at
from nhnas.trainer.schedules import scheduled, warmed_up


def test_the_warm_up_is_quadratic() -> None:
    """Over four batches 1/16, 4/16, 9/16, then the whole rate, also for ever after."""
    rates = [warmed_up(0.16, done, 4.0) for done in range(6)]
    assert pytest.approx([0.01, 0.04, 0.09, 0.16, 0.16, 0.16]) == rates


def test_a_warm_up_may_end_inside_a_batch() -> None:
    """Half an epoch of five batches: (1/2.5)², (2/2.5)², 1."""
    rates = [warmed_up(1.0, done, 2.5) for done in range(4)]
    assert pytest.approx([0.16, 0.64, 1.0, 1.0]) == rates


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_a_warm_up_of_a_batch_at_most_changes_nothing(warmup: float) -> None:
    """The first batch has the whole rate."""
    assert 0.3 == warmed_up(0.3, 0, warmup)


def test_constant() -> None:
    """The warm-up, then always the same."""
    rates = [scheduled("constant", 1.0, done, 4, 2.0) for done in range(4)]
    assert pytest.approx([0.25, 1.0, 1.0, 1.0]) == rates


def test_cosine() -> None:
    """½(1 + cos πt) at t = 0, ¼, ½, ¾: 1, 0.854, 0.5, 0.146; the next would be 0."""
    rates = [scheduled("cosine", 2.0, done, 4, 0.0) for done in range(5)]
    half = math.sqrt(0.5)
    assert pytest.approx([2.0, 1 + half, 1.0, 1 - half, 0.0]) == rates


def test_cosine_is_warmed_up() -> None:
    """Both factors apply to the first batches."""
    rates = [scheduled("cosine", 1.0, done, 8, 2.0) for done in range(3)]
    assert pytest.approx([0.25, (1 + math.cos(math.pi / 8)) / 2, (1 + math.sqrt(0.5)) / 2]) == rates


def test_onecycle() -> None:
    """Over ten batches: from a 25th along half a cosine to the full rate at the fourth, then down to 0."""
    rates = [scheduled("onecycle", 4.0, done, 10, 5.0) for done in range(11)]
    rise = [0.16 + 1.92 * (1 - math.cos(math.pi * k / 3)) for k in range(3)]
    fall = [2 * (1 + math.cos(math.pi * k / 7)) for k in range(8)]
    assert pytest.approx([*rise, *fall], abs=1e-12) == rates


@pytest.mark.parametrize("kind", ["constant", "cosine", "onecycle"])
def test_no_rate_is_negative_or_above_the_full_one(kind: str) -> None:
    """All schedules stay in [0, lr], whatever the total."""
    for total in (1, 2, 3, 7, 100):
        rates = [scheduled(kind, 0.1, done, total, 1.5) for done in range(total)]  # type: ignore[arg-type]
        assert 0.0 <= min(rates)
        assert 0.1 >= max(rates)


def test_entries_of_the_search_schedule_hold_until_their_epoch() -> None:
    """The first entry whose `until` lies beyond the epoch; after the last one the base settings."""
    entries = ({"until": 3, "add": 1, "lr": 0.5}, {"until": 5, "add": 2})
    search, train = Search(add=9, schedule=entries), Train(lr=0.1)
    found = [settings_at(search, train, epoch) for epoch in (0, 2, 3, 4, 5, 60)]
    assert [1, 1, 2, 2, 9, 9] == [s.add for s, _ in found]
    assert [0.5, 0.5, 0.1, 0.1, 0.1, 0.1] == [t.lr for _, t in found]
