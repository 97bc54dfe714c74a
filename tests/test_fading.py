"""Fading, batch by batch, against training that sets every cell by hand; then the removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from nhnas.compiler.build import build, grown
from nhnas.compiler.fade_plan import FadePlan, fade_plan
from nhnas.compiler.remap import remap_optimizer
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.spec.config import Train
from nhnas.spec.model import Architecture
from nhnas.spec.structure import structure
from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.engine import Engine
from nhnas.trainer.evaluate import outputs_of
from nhnas.trainer.fading import Fading
from nhnas.trainer.loop import Hooks, Progress, run_phase
from nhnas.trainer.numerics import Numerics
from nhnas.trainer.phases import Fade
from tests.laws.architectures import random_architecture
from tests.laws.tensors import is_trained, random_tensors
from tests.leavers import Leavers, emptied, random_leavers, removal

SAMPLES, BATCH, FADE, SETTLE = 12, 4, 5, 2
NUMERICS = Numerics("cpu", "float32", 1, True)
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1},
    "adamw": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.5},
    "sgd": {"optimizer": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 0.1},
}


@dataclass(frozen=True)
class Case:
    """An architecture with trained weights, and who leaves."""

    arch: Architecture
    leavers: Leavers
    engine: Engine

    @property
    def plan(self) -> FadePlan:
        """What fades and what is held."""
        return fade_plan(self.arch, self.leavers)


def cases(train: dict[str, Any], count: int) -> Iterator[Case]:
    """Random architectures whose output is features, and from which somebody leaves."""
    seed = found = 0
    while found < count:
        seed += 1
        rng = Random(seed)
        arch = random_architecture(rng)
        leavers = random_leavers(rng, arch)
        if structure(arch)[-1].writes.map is None and leavers:
            found += 1
            yield Case(arch, leavers, engine_of(arch, train, seed))


def engine_of(arch: Architecture, train: dict[str, Any], seed: int) -> Engine:
    """An engine in the middle of its training: moments and momentum are not zero."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(SAMPLES, *arch.input, generator=draw)
    targets = torch.randn(SAMPLES, structure(arch)[-1].writes.features, generator=draw)
    split = Split(inputs, targets)
    weights = {n: t.float() if t.is_floating_point() else t for n, t in random_tensors(arch, seed).items()}
    settings = Train(loss="mse", batch=BATCH, deterministic=True, **train)
    engine = Engine(build(arch, weights), Dataset("random", split, split), settings, (), 1, NUMERICS)
    for batch in engine.batches(0, 0):
        engine.train_batch(batch, 0, settings.lr)
    return engine


def fade(case: Case, seen: Any) -> None:
    """Run the phase as a step does; `seen` is called after every batch."""
    fading = Fading(case.engine.network.tensors(), case.plan.columns, case.plan.rows, case.plan.whole)
    phase = Fade(fading, FADE, SETTLE, case.engine.train.lr, 0.0)
    hooks = Hooks(epoch=lambda _: None, save=lambda _: None, due=lambda: False, stop=lambda: 0, batch=seen)
    run_phase(case.engine, phase, Progress(epoch=1), hooks)
    fading.hold(1.0)


def twin(
    engine: Engine, arch: Architecture, tensors: dict[str, Tensor], moments: dict[str, Tensor]
) -> Engine:
    """An engine on the same data from these weights and optimizer entries."""
    return Engine(build(arch, tensors), engine.dataset, engine.train, (), 1, NUMERICS, moments)


def by_hand(case: Case, engine: Engine) -> Iterator[dict[str, Tensor]]:
    """The same training, where every cell that fades or is held is set one by one after each batch."""
    tensors, plan, done = engine.network.tensors(), case.plan, 0
    initial = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for epoch in (1, 2, 3):
        for batch in engine.batches(epoch, 0):
            if done == FADE + SETTLE:
                return
            engine.train_batch(batch, epoch, engine.train.lr)
            done += 1
            left = (1.0 - min(done / FADE, 1.0)) ** 2
            with torch.no_grad():
                for name, row in ((name, row) for name, rows in plan.rows.items() for row in rows):
                    tensors[name][row] = initial[name][row]
                for name, row in ((n, row) for n in plan.whole for row in range(len(tensors[n]))):
                    tensors[name][row] = initial[name][row] * left
                for name, columns in plan.columns.items():
                    for row, column in product(range(len(tensors[name])), columns):
                        tensors[name][row, column] = initial[name][row, column] * left
            yield {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_cell_at_every_batch(optimizer: str) -> None:
    """20 random networks: after each batch the same bits as when every cell is set by hand."""
    forms = Counter[str]()
    for case in cases(OPTIMIZERS[optimizer], 20):
        engine = case.engine
        expected = by_hand(case, twin(engine, case.arch, engine.network.tensors(), engine.optimizer.state()))
        batches = Counter[str]()

        def compare(phase: str, *_: Any, case: Case = case, due: Any = expected, seen: Any = batches) -> None:
            seen[phase] += 1
            found, wanted = case.engine.network.tensors(), next(due)
            assert wanted.keys() == found.keys()
            different = [name for name in wanted if not torch.equal(wanted[name], found[name])]
            assert [] == different, f"batch {seen[phase]} of {case.leavers}"

        fade(case, compare)
        assert {"fade": FADE + SETTLE} == batches
        assert [] == list(expected)
        forms["columns"] += bool(case.plan.columns)
        forms["whole"] += bool(case.plan.whole)
        forms["rows"] += bool(case.plan.rows)
    assert min(forms.values()) >= 4, forms


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_rest_trains_on(optimizer: str) -> None:
    """20 random networks: of the cells that neither fade nor are held nearly all have moved."""
    moved = stayed = 0
    for case in cases(OPTIMIZERS[optimizer], 20):
        before = {name: tensor.detach().clone() for name, tensor in case.engine.network.tensors().items()}
        fade(case, lambda *_: None)
        for name, tensor in case.engine.network.tensors().items():
            if is_trained(name) and name not in case.plan.names:
                moved += int((tensor != before[name]).sum())
                stayed += int((tensor == before[name]).sum())
    assert moved > 50 * stayed


def removed(case: Case) -> tuple[Architecture, dict[str, Tensor], dict[str, Tensor]]:
    """Architecture, weights and optimizer entries once the neurons are out."""
    weights = {name: tensor.detach() for name, tensor in case.engine.network.tensors().items()}
    arch, recipe, tensors = grown(case.arch, removal(case.arch, case.leavers), weights, seed=0, parent="")
    return arch, tensors, remap_optimizer(tensor_plans(arch, recipe), case.engine.optimizer.state())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_removal_changes_nothing(optimizer: str) -> None:
    """25 random networks: outputs within 1e-6 of their size, and no prediction changes."""
    empties = 0
    for case in cases(OPTIMIZERS[optimizer], 25):
        fade(case, lambda *_: None)
        dataset = case.engine.dataset
        before = outputs_of(case.engine.network, dataset, dataset.test)
        arch, tensors, _ = removed(case)
        after = outputs_of(build(arch, tensors), dataset, dataset.test)
        size = max(1.0, float(before.abs().max()))
        assert 1e-6 * size >= float((before - after).abs().max()), case.leavers
        assert before.argmax(1).tolist() == after.argmax(1).tolist()
        empties += bool(emptied(case.arch, case.leavers))
    assert empties >= 5


def test_it_goes_on_training_after_the_removal() -> None:
    """The network without the neurons takes over the moments and trains, in every optimizer."""
    for train in OPTIMIZERS.values():
        for case in cases(train, 5):
            fade(case, lambda *_: None)
            engine = twin(case.engine, *removed(case))
            engine.optimizer.check_holds(engine.network.trained())
            for batch in engine.batches(3, 0):
                engine.train_batch(batch, 3, engine.train.lr)


def tiny_fading(**plan: Any) -> tuple[Tensor, Fading]:
    """A matrix of 2 by 3 that fades as told."""
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    given = {"columns": {}, "rows": {}, "whole": (), **plan}
    return weight, Fading({"w": weight}, **given)


def test_the_curve_by_hand() -> None:
    """A column at r = 0, ¼, ½, 1 is 1, 9/16, 1/4 and exactly 0 of what it was; beyond 1 it stays 0."""
    weight, fading = tiny_fading(columns={"w": (1,)})
    for progress, share in ((0.0, 1.0), (0.25, 9 / 16), (0.5, 0.25), (1.0, 0.0), (1.7, 0.0)):
        weight.add_(1.0)  # whatever the optimizer did
        fading.hold(progress)
        assert [2.0 * share, 5.0 * share] == weight[:, 1].tolist()
    assert [6.0, 8.0] == [weight[0, 0].item(), weight[0, 2].item()]


def test_a_fading_goes_on_from_its_initial_values() -> None:
    """Continued in the middle, the curve is that of the values at its beginning."""
    weight, fading = tiny_fading(columns={"w": (0,)}, rows={"w": (1,)})
    fading.hold(0.5)
    again = Fading({"w": weight}, {"w": (0,)}, {"w": (1,)}, (), {"w": fading.initial["w"].clone()})
    again.hold(0.5)
    assert [[0.25, 2.0, 3.0], [1.0, 5.0, 6.0]] == weight.tolist()
    again.hold(1.0)
    assert [[0.0, 2.0, 3.0], [0.0, 5.0, 6.0]] == weight.tolist()
