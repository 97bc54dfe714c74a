"""An engine trains as the spec says: against torch's own optimizers, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch.nn import Parameter

from nhnas.compiler.build import build
from nhnas.spec.config import Train
from nhnas.spec.model import Architecture
from nhnas.trainer.batches import Batch, batches
from nhnas.trainer.dataset import Dataset, Split, with_moments
from nhnas.trainer.engine import Engine, optimizer_settings, warmup_batches
from nhnas.trainer.loop import Hooks, Progress, run_phase
from nhnas.trainer.numerics import Numerics
from nhnas.trainer.phases import Follow
from nhnas.trainer.schedules import scheduled

Made = Callable[[Iterable[Parameter]], torch.optim.Optimizer]

NUMERICS = Numerics("cpu", "float32", 1, True)
LR = 0.05


def arch_of(size: tuple[int, ...], *net: dict[str, Any]) -> Architecture:
    """A chain of these layers."""
    return Architecture.model_validate({"input": size, "net": net})


ARCH = arch_of(
    (2,), {"name": "a", "op": "dense", "width": 6, "act": "tanh"}, {"name": "head", "op": "dense", "width": 3}
)


def engine(train: Train, arch: Architecture = ARCH, version: int = 1) -> Engine:
    """Ten points in three classes."""
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(10, 2, generator=draw), torch.arange(10) % 3)
    return Engine(build(arch), Dataset("points", split, split), train, (), version, NUMERICS)


@pytest.mark.parametrize(
    ("keys", "made"),
    [
        (
            {"optimizer": "adam", "betas": (0.5, 0.6), "weight_decay": 0.3},
            lambda p: torch.optim.Adam(p, LR, (0.5, 0.6), weight_decay=0.3),
        ),
        (
            {"optimizer": "adamw", "betas": (0.6, 0.5), "weight_decay": 0.3},
            lambda p: torch.optim.AdamW(p, LR, (0.6, 0.5), weight_decay=0.3),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.3},
            lambda p: torch.optim.SGD(p, LR, 0.5, weight_decay=0.3),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.5, "nesterov": True},
            lambda p: torch.optim.SGD(p, LR, 0.5, nesterov=True),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.0, "label_smoothing": 0.4},
            lambda p: torch.optim.SGD(p, LR),
        ),
    ],
)
def test_weights_move_as_under_the_optimizer_that_the_spec_names(keys: dict[str, Any], made: Made) -> None:
    """Two epochs with settings that are no defaults: losses and weights are those of torch's own."""
    trained, expected = engine(Train(batch=4, **keys)), build(ARCH)
    theirs, smoothing = made(expected.parameters()), keys.get("label_smoothing", 0.0)
    for epoch in (0, 1):
        for batch in trained.batches(epoch, 0):
            theirs.zero_grad()
            loss = F.cross_entropy(expected(batch.inputs), batch.targets, label_smoothing=smoothing)
            torch.autograd.backward(loss)
            theirs.step()
            assert loss.item() == pytest.approx(trained.train_batch(batch, epoch, LR).loss, rel=1e-5)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(tensor, trained.network.tensors()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("who", "own", "common"), [("newcomers", 7.5, 0.0), ("all", 0.0, 7.5)])
def test_either_newcomers_warm_up_or_all(who: Any, own: float, common: float) -> None:
    """`warmup` counts epochs: by each neuron's own age, or by the batches of a phase."""
    train = Train(warmup=1.5, warmup_for=who)
    assert (own, common) == (optimizer_settings(train, 5).warmup, warmup_batches(train, 5))


def test_its_batches_are_those_of_seed_version_and_epoch() -> None:
    """Augmented as the spec says, normalised as the data set says, from any batch on."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10, 1, 6, 6), generator=draw, dtype=torch.uint8)
    split = Split(images, torch.arange(10) % 3)
    data, names = with_moments(Dataset("images", split, split)), ("crop", "flip")
    arch = arch_of((1, 6, 6), {"name": "flat", "op": "flatten"}, {"name": "head", "op": "dense", "width": 3})
    trained = Engine(build(arch), data, Train(batch=4, seed=5), names, 3, NUMERICS)
    given: Any = {"mean": data.mean, "std": data.std, "device": "cpu", "start": 1}
    expected = batches(split, batch=4, seed=5, version=3, epoch=2, augment=names, **given)
    for one, other in zip(expected, trained.batches(2, 1), strict=True):
        assert one.index == other.index
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.samples, other.samples)


RESIDUAL = arch_of(
    (2,),
    {"name": "a", "op": "dense", "width": 4, "residual": {"hidden": 16, "dropout": 0.5}},
    {"name": "head", "op": "dense", "width": 3},
)
LAYER = arch_of(
    (2,),
    {"name": "a", "op": "dense", "width": 16},
    {"name": "drop", "op": "dropout", "p": 0.5},
    {"name": "head", "op": "dense", "width": 3},
)


@pytest.mark.parametrize("arch", [RESIDUAL, LAYER], ids=["residual", "layer"])
def test_dropout_follows_from_seed_version_epoch_and_batch(arch: Architecture) -> None:
    """Whatever was drawn before; another of the four draws other neurons."""
    losses = []
    for seed, version, epoch, index in ((0, 1, 0, 0), (7, 1, 0, 0), (0, 2, 0, 0), (0, 1, 1, 0), (0, 1, 0, 1)):
        trained = engine(Train(batch=10, seed=seed), arch, version)
        inputs, targets = trained.dataset.train.inputs, trained.dataset.train.targets
        batch = Batch(index, inputs, targets, torch.arange(10))
        found = []
        for before in (1, 2):
            torch.manual_seed(before)
            found.append(trained.train_batch(batch, epoch, 0.0).loss)
        assert found[0] == found[1]
        losses.append(found[0])
    assert 5 == len(set(losses))


def test_the_record_of_an_epoch_is_of_its_samples_and_of_its_last_rate() -> None:
    """Batches of 4, 4 and 2 count by their samples; the rate is that of the last one."""
    train = Train(lr=0.1, batch=4, schedule="cosine", warmup=0.0)
    trained, losses, records = engine(train), list[float](), list[dict[str, Any]]()
    hooks = Hooks(
        epoch=records.append,
        save=lambda _: None,
        due=lambda: False,
        stop=lambda: 0,
        batch=lambda _phase, _batch, _count, loss: losses.append(loss),
    )
    run_phase(trained, Follow(trained.network, train, 6, 0.0), Progress(), hooks)
    means = [(4 * a + 4 * b + 2 * c) / 10 for a, b, c in (losses[:3], losses[3:])]
    assert means == pytest.approx([record["loss"] for record in records])
    rates = [scheduled("cosine", 0.1, done, 6, 0.0) for done in (2, 5)]
    assert rates == pytest.approx([record["lr"] for record in records])
