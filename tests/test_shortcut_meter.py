"""How much of a node's output its shortcut gives, against a slow network with loops."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from nhnas.compiler.build import build
from nhnas.spec.model import Architecture
from nhnas.spec.verify import verify
from nhnas.trainer.flatness import FlatnessSettings
from nhnas.trainer.phases import Fit
from nhnas.trainer.shortcut_meter import ShortcutMeter
from tests.laws.architectures import random_architecture
from tests.laws.exactness import without_dropout
from tests.laws.tensors import random_tensors
from tests.reference_network import Array, SlowNetwork
from tests.shortcut_nets import chain, summed


@dataclass(frozen=True)
class Recorder(SlowNetwork):
    """The slow network, which notes what every leaf and every node gives."""

    from_leaf: dict[str, list[Array]] = field(default_factory=dict)
    from_node: dict[str, list[Array]] = field(default_factory=dict)

    def leaf(self, path: str, *given: Any) -> Array:
        """One leaf."""
        self.from_leaf.setdefault(path, []).append(super().leaf(path, *given))
        return self.from_leaf[path][-1]

    def node(self, node: Any, path: str, *given: Any) -> Array:
        """One node."""
        self.from_node.setdefault(path, []).append(super().node(node, path, *given))
        return self.from_node[path][-1]


def deviation(values: Array) -> float:
    """Standard deviation; 0 for what differs from a constant by rounding alone."""
    root_mean_square = float(np.sqrt((values**2).mean()))
    return float(values.std()) if values.std() > 1e-6 * root_mean_square else 0.0


def slow_share(leaf: list[Array], output: list[Array]) -> float:
    """Channel by channel, over all batches, samples and positions."""
    largest = 0.0
    for channel in range(leaf[0].shape[1]):
        ours, whole = (
            deviation(np.concatenate([y[:, channel].ravel() for y in ys])) for ys in (leaf, output)
        )
        ratio = 0.0 if ours == 0.0 else ours / whole if whole else float("inf")
        largest = max(largest, ratio)
    return largest


def cases_with(found: Any, count: int) -> list[tuple[int, Architecture]]:
    """The first `count` random architectures, with their seeds, in which `found` finds something."""
    every = ((seed, random_architecture(Random(seed))) for seed in range(10_000))
    picked = (case for case in every if found(case[1]))
    return [next(picked) for _ in range(count)]


def test_shares_of_random_networks() -> None:
    """60 random networks, three batches each: the shares are those of a slow network with loops."""
    forms = {"conv": 0, "no norm": 0, "nested": 0, "second": 0}
    for seed, arch in cases_with(summed, 60):
        tensors, meter = random_tensors(arch, seed), ShortcutMeter()
        network = build(arch, tensors)
        without_dropout(network.train())
        network.probe.comparer = meter.observe
        slow = Recorder({name: t.numpy().copy() for name, t in tensors.items()}, training=True)
        for number, samples in enumerate((6, 4, 5)):
            draw = torch.Generator().manual_seed(100 * seed + number)
            x = torch.randn(samples, *arch.input, generator=draw, dtype=torch.float64)
            network(x)
            y = x.numpy()
            for layer in arch.net:
                y = slow.layer(layer, y)
        expected = {
            node.path: slow_share(slow.from_leaf[node.path], slow.from_node[node.path])
            for node in summed(arch)
        }
        assert pytest.approx(expected, rel=1e-8) == meter.shares(), f"seed {seed}"
        for node in summed(arch):
            forms["conv"] += node.leaf is not None and node.leaf.op == "conv"
            forms["no norm"] += node.leaf is not None and node.leaf.norm == "none"
            forms["nested"] += "." in node.path
            forms["second"] += node.path.endswith("second")
    assert min(forms.values()) >= 10, forms


def test_constant_channels() -> None:
    """0/0 is 0, however large the constant; a varying leaf that the residual cancels has an endless share."""
    varying = torch.tensor([[1.0], [2.0], [4.0]])
    for constant in (0.0, 1e6 / 3.0):
        meter = ShortcutMeter()
        still = torch.full((3, 1), constant)
        for _ in range(3):
            meter.observe("still", still, still)
            meter.observe("silent", still, still + varying)
            meter.observe("cancelled", varying, still)
        assert {"still": 0.0, "silent": 0.0, "cancelled": float("inf")} == meter.shares()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_waves_on_a_large_offset(dtype: torch.dtype) -> None:
    """Squares do not swallow them: the share in float32 or bfloat16 is that of the values as they came."""
    draw, meter, batches = torch.Generator().manual_seed(1), ShortcutMeter(), []
    for _ in range(4):
        leaf, output = (torch.randn(8, 3, 5, 5, generator=draw) * scale + 300 for scale in (3.0, 9.0))
        batches.append((leaf.to(dtype), output.to(dtype)))
        meter.observe("a", *batches[-1])
    leaves_seen, outputs_seen = ([y.double().numpy() for y in ys] for ys in zip(*batches, strict=True))
    assert pytest.approx(slow_share(leaves_seen, outputs_seen), rel=1e-4) == meter.shares()["a"]


def test_a_meter_goes_on_from_its_state() -> None:
    """Half the batches, a new meter, the other half: bit for bit the sums of one meter; reset forgets."""
    draw = torch.Generator().manual_seed(3)
    batches = [torch.randn(2, 4, 3, generator=draw).unbind(0) for _ in range(6)]
    whole, first, second = ShortcutMeter(), ShortcutMeter(), ShortcutMeter()
    for number, (leaf, output) in enumerate(batches):
        whole.observe("a.first", leaf, output)
        if number == 3:
            second.load(first.state())
        (first if number < 3 else second).observe("a.first", leaf, output)
    assert torch.equal(whole.state()["a.first"], second.state()["a.first"])
    assert torch.float64 == whole.state()["a.first"].dtype
    whole.reset()
    assert ({}, {}) == (whole.shares(), whole.state())


@pytest.mark.parametrize(
    ("arch", "training", "expected"),
    [
        (chain(), True, {"a"}),
        (chain(), False, set()),
        (chain(shortcut=False), True, set()),
        (chain(residual={"hidden": 0}), True, set()),
        (chain(residual={"hidden": 2, "second": {"residual": {"hidden": 1}}}), True, {"a", "a.second"}),
    ],
)
def test_where_shortcuts_are_measured(arch: Architecture, training: bool, expected: set[str]) -> None:
    """In training, at nodes that add neurons to a leaf."""
    network, meter = build(arch).train(training), ShortcutMeter()
    network.probe.comparer = meter.observe
    network(torch.randn(3, 1, 4, 4))
    assert expected == meter.shares().keys()


def test_identity_shortcuts_are_no_leaves() -> None:
    """A stream passes unmeasured."""
    arch = verify(Architecture.model_validate({"input": [2], "net": [
        {"name": "a", "op": "dense", "shortcut": "identity", "residual": {"hidden": 2}},
        {"name": "head", "op": "dense", "width": 2},
    ]}))  # fmt: skip
    network, meter = build(arch).train(), ShortcutMeter()
    network.probe.comparer = meter.observe
    network(torch.randn(3, 2))
    assert {} == meter.shares()


def test_what_counts_is_the_last_complete_epoch() -> None:
    """A part of an epoch adds nothing; without the setting nothing is looked at, nothing in the state."""
    settings = FlatnessSettings(batches_per_epoch=2, min_epochs=1, max_epochs=9)
    network = build(chain()).train()
    plain = Fit(network, frozenset(), settings, 0.1, 0.0)
    assert [None] == [network.probe.comparer]
    assert {"meter", "complete_epoch"} == set(plain.state()[1])
    phase, expected = Fit(network, frozenset(), settings, 0.1, 0.0, shortcuts=True), ShortcutMeter()
    for epoch, complete in enumerate((True, True, False)):
        comparer = network.probe.comparer
        assert comparer is not None
        for batch in range(2):
            draw = torch.Generator().manual_seed(10 * epoch + batch)
            leaf, output = torch.randn(2, 4, 2, generator=draw).unbind(0)
            comparer("a", leaf, output)
            if epoch == 1:
                expected.observe("a", leaf, output)
        phase.after_epoch(complete)
    assert expected.shares() == phase.shares()
    again = Fit(network, frozenset(), settings, 0.1, 0.0, shortcuts=True)
    again.load(*phase.state())
    assert expected.shares() == again.shares()
    again.close()
    assert (network.probe.comparer, network.probe.observer) == (None, None)
