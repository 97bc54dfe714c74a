"""Leaves that run as one do what each would do alone: outputs, gradients, statistics, 20 optimizer steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from nhnas.compiler.build import build
from nhnas.compiler.network import Network
from nhnas.spec.model import Architecture
from nhnas.trainer.optimizer import OptimizerSettings, make_optimizer
from tests.laws.architectures import random_architecture

B = 16


def check_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """AssertionError where a tensor is off by more than 1e-12 of its largest entry, at least of 1."""
    for one, other in zip(found, expected, strict=True):
        largest = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12 * largest)


def check_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """`check_close`, by name."""
    assert list(found) == list(expected)
    check_close(list(found.values()), list(expected.values()))


def two_forms(arch: Architecture, seed: int) -> tuple[Network, Network]:
    """The same network twice in float64, plain and fused, with statistics and norms of no round numbers."""
    plain = build(arch, seed=seed, dtype=torch.float64).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in plain.tensors().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64), alpha=0.2)
            else:
                tensor.add_(int(torch.randint(9, (), generator=generator)))
    return plain, copy.deepcopy(plain).fuse(True)


def inputs(arch: Architecture, seed: int) -> Tensor:
    """[B, *input]."""
    return torch.randn(B, *arch.input, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def passed(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output and gradient of the input; every parameter gets its gradient."""
    own = x.clone().requires_grad_()
    torch.manual_seed(0)  # dropout
    y = network(own)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    (y * weights + y.square()).mean().backward()
    assert own.grad is not None
    return y.detach(), own.grad


def gradients(network: Network) -> dict[str, Tensor]:
    """By canonical name; of neurons that nobody reads there may be none."""
    return {name: p.grad for name, p in network.trained().items() if p.grad is not None}


@pytest.mark.parametrize("seed", range(120))
def test_any_architecture_computes_the_same(seed: int) -> None:
    """Forward and backward, statistics and counters, over everything that the design knows."""
    arch = random_architecture(Random(seed))
    plain, fused = two_forms(arch, seed)
    check_close(passed(fused, inputs(arch, seed)), passed(plain, inputs(arch, seed)))
    check_same(gradients(fused), gradients(plain))
    check_same(fused.tensors(), plain.tensors())


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("seed", range(10))
def test_twenty_steps_end_in_the_same(seed: int, kind: Any) -> None:
    """Weights, moments and ages of both, under the same canonical names.

    Adam divides a gradient by its own size, so that one of nothing but rounding would move a weight by
    the whole rate; an eps far above rounding keeps such noise small.
    """
    arch = random_architecture(Random(1000 + seed))
    ends = []
    for network in two_forms(arch, seed):
        optimizer = make_optimizer(network.trained(), OptimizerSettings(kind, 1e-3, eps=1e-2))
        for step in range(20):
            optimizer.zero_grad()
            passed(network, inputs(arch, step))
            optimizer.step()
        ends.append({**network.tensors(), **optimizer.state()})
    check_same(*ends)


def test_calls_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tree of R residuals there are R+1 convolutions instead of 2R+1; evaluation stays as it was."""
    arch = nested()
    plain, fused = two_forms(arch, 0)
    calls: list[tuple[int, ...]] = []
    original = torch.nn.functional.conv2d

    def counting(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        calls.append(tuple(weight.shape))
        return original(x, weight, *rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", counting)
    counts = []
    for network, training in ((plain, True), (fused, True), (fused, False)):
        calls.clear()
        network.train(training)(inputs(arch, 0))
        counts.append(len(calls))
    assert [7, 4, 7] == counts


def test_what_looks_at_neurons_sees_the_same() -> None:
    """Observers of sites and of shortcuts are told the same, in the same order."""
    arch = nested()
    told: list[list[tuple[str, Tensor]]] = []
    for network in two_forms(arch, 3):
        seen: list[tuple[str, Tensor]] = []
        network.probe.sites = frozenset({"a.hidden", "a.first.hidden", "a.second.hidden"})
        network.probe.observer = lambda site, values, *_, seen=seen: seen.append((site, values))
        network.probe.comparer = lambda path, leaf, own, seen=seen: seen.extend([(path, leaf), (path, own)])
        network(inputs(arch, 3))
        told.append(seen)
    assert [name for name, _ in told[0]] == [name for name, _ in told[1]]
    assert 9 == len(told[0])
    check_close([values for _, values in told[1]], [values for _, values in told[0]])


def test_a_network_that_moves_stays_whole() -> None:
    """Copied, made double, laid out anew: what runs as one is still the network's own tensors."""
    arch = nested()
    network = build(arch, seed=1).fuse(True).train()
    moved = copy.deepcopy(network).double().to(memory_format=torch.channels_last)
    expected = copy.deepcopy(network).double().fuse(False)
    x = inputs(arch, 1)
    check_close(passed(moved, x), passed(expected, x))
    check_same(moved.tensors(), expected.tensors())
    check_same(gradients(moved), gradients(expected))


def nested() -> Architecture:
    """Three residuals: one in `first`, one in `second`; 1×1 shortcuts would not run with 3×3 leaves."""
    inner = {"hidden": 3}
    residual = {"hidden": 4, "first": {"residual": inner}, "second": {"residual": inner}}
    return Architecture.model_validate(
        {"input": (2, 5, 5), "net": ({"name": "a", "op": "conv", "width": 6, "residual": residual},)}
    )
