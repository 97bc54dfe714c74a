"""Importance and shares of shortcuts are measured in some of the batches, and cost nothing in the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nhnas.compiler.build import build
from nhnas.spec.config import Train
from nhnas.spec.model import Architecture
from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.engine import Engine
from nhnas.trainer.flatness import FlatnessSettings
from nhnas.trainer.importance import ImportanceMeter
from nhnas.trainer.loop import Hooks, Progress, run_phase
from nhnas.trainer.numerics import Numerics
from nhnas.trainer.phases import Fit, measured_batches

ARCH = Architecture.model_validate(
    {
        "input": (2,),
        "net": (
            {"name": "a", "op": "dense", "width": 3, "act": "relu", "residual": {"hidden": 4}},
            {"name": "head", "op": "dense", "width": 2},
        ),
    }
)
SITES = frozenset({"a.hidden", "a.width"})
HOOKS = Hooks(lambda _: None, lambda _: None, lambda: False, lambda: 0, lambda *_: None)


@pytest.mark.parametrize(
    ("batches", "expected"), [(1, 1), (100, 1), (199, 1), (200, 2), (391, 3), (400, 4), (10_000, 4)]
)
def test_in_how_many_batches(batches: int, expected: int) -> None:
    """At least 100 an epoch, as long as there are so many; at least every fourth."""
    assert expected == measured_batches(batches)


def engine(batches: int) -> Engine:
    """Batches of four points each."""
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(4 * batches, 2, generator=draw), torch.arange(4 * batches) % 2)
    dataset = Dataset("points", split, split)
    return Engine(build(ARCH), dataset, Train(lr=0.01, batch=4), (), 1, Numerics("cpu", "float32", 1, True))


@pytest.mark.parametrize(("every", "batches"), [(1, 5), (2, 5), (4, 6), (4, 9)])
def test_the_sums_are_those_of_every_nth_batch(every: int, batches: int) -> None:
    """Over two epochs: the second counts, and its batches go on counting where those of the first ended."""
    trained = engine(batches)
    settings = FlatnessSettings(batches_per_epoch=batches, min_epochs=2, max_epochs=2)
    phase = Fit(trained.network, SITES, settings, 0.01, 0.0, shortcuts=True, every=every)
    run_phase(trained, phase, Progress(), HOOKS)

    slow, meter = engine(batches), ImportanceMeter()
    for done in range(2 * batches):
        epoch, at = divmod(done, batches)
        if epoch == 1 and at == 0:
            meter.reset()
        slow.network.probe.sites = SITES
        slow.network.probe.observer = meter.observe if done % every == 0 else None
        slow.train_batch(next(iter(slow.batches(epoch, at))), epoch, phase.lr(done))
    expected, found = meter.result(), phase.measured()
    assert SITES == expected.keys() == found.keys()
    for site in SITES:
        assert np.array_equal(expected[site].sensitivity, found[site].sensitivity)
        assert np.array_equal(expected[site].positive, found[site].positive)
    assert {"a"} == phase.shares().keys()


def test_other_batches_are_not_looked_at() -> None:
    """Neither neurons nor shortcuts."""
    trained = engine(8)
    settings = FlatnessSettings(batches_per_epoch=8, min_epochs=1, max_epochs=1)
    phase = Fit(trained.network, SITES, settings, 0.01, 0.0, shortcuts=True, every=4)
    looks = []
    for done in range(8):
        phase.before_batch(done)
        probe = trained.network.probe
        looks.append((probe.observer is not None, probe.comparer is not None))
    assert [(done % 4 == 0,) * 2 for done in range(8)] == looks
