"""Learning rates by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nhnas.log import history
from nhnas.spec.config import Search, Train
from nhnas.spec.document import read_document
from nhnas.spec.schedule import settings_at
from nhnas.trainer.schedules import scheduled, warmed_up
from tests import tiny


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


AUTHORS = {
    100: (9e-4, 50, 2.0, 8),
    200: (5e-4, 80, 2.5, 10),
    400: (3e-4, 80, 2.5, 15),
    600: (3e-4, 40, 0.8, 15),
    1000: (1.2e-4, 50, 1.0, 15),
}
"""Their long run: up to which epoch which learning rate, add, add/remove, and most epochs of a fit."""


def test_the_authors_long_run() -> None:
    """At every epoch of it the example's settings are those of the authors' table; the rest never changes."""
    path = Path(__file__).parent.parent / "examples" / "cifar10" / "authors-long.yaml"
    document = read_document(path)
    for epoch in range(1000):
        search, train = settings_at(document.search, document.train, epoch)
        expected = next(row for until, row in AUTHORS.items() if epoch < until)
        assert expected == (train.lr, search.add, search.add_to_remove, search.max_epochs), epoch
        assert (2, 3, 0.07) == (search.fade_epochs, search.settle_epochs, search.add_fraction)
        assert (0.01, 0.5, 0.05) == (search.threshold_min, search.threshold_max, search.random_remove)
        assert ("adam", 1e-5, 32) == (train.optimizer, train.weight_decay, train.batch)


def test_a_schedule_grows_and_then_shrinks(tmp_path: Path) -> None:
    """A lineage whose schedule turns around at epoch 15 gains neurons before and loses them after."""
    schedule = "schedule: [{until: 15, add: 12, add_to_remove: 4.0}], add: 4, add_to_remove: 0.4"
    spec = tiny.make(
        tmp_path / "work", tiny.DENSE.replace("add: 8", schedule).replace("max: 2.0", "max: 9.0")
    )
    tiny.run(spec, to=7)
    records = history(spec)
    starts = [0, *(record["epochs"] for record in records[:-1])]
    sizes = [7, *(record["neurons"] for record in records)]
    for start, before, after in zip(starts, sizes[:-1], sizes[1:], strict=True):
        assert (after > before) == (start < 15), (start, before, after)
    assert starts[1] < 15 < starts[-1]
