"""The module against a slow network of loops, and what the observer of neurons sees."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nhnas.compiler.build import build, initial_weights, load_weights
from nhnas.compiler.keyed_random import key_of, uniform
from nhnas.compiler.network import ChainNode, Network
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture
from nhnas.spec.verify import verify
from tests import reference_network
from tests.laws.architectures import random_architecture
from tests.laws.reading import slow_uniform
from tests.laws.tensors import random_tensors

NESTED = {
    "hidden": 3,
    "act": "tanh",
    "first": {"residual": {"hidden": 2}},
    "second": {"residual": {"hidden": 1}},
}
HEAD = {"name": "head", "op": "dense", "width": 2}
POOL = {"name": "pool", "op": "global_avg_pool"}
CHAINS: dict[str, tuple[list[int], list[dict[str, Any]]]] = {
    "one matrix": ([3], [HEAD]),
    "dense with norm": ([3], [HEAD | {"norm": "batch", "act": "gelu"}]),
    "nested matrices": ([3], [{"name": "a", "op": "dense", "width": 4, "residual": NESTED}, HEAD]),
    "one convolution": ([2, 5, 4], [{"name": "a", "op": "conv", "width": 3}]),
    "stride 2": ([2, 5, 4], [{"name": "a", "op": "conv", "width": 3, "stride": 2, "residual": NESTED}, POOL]),
    "kernels": (
        [2, 5, 5],
        [
            {
                "name": "a",
                "op": "conv",
                "width": 3,
                "kernel": 5,
                "shortcut": {"kernel": 1},
                "residual": {"hidden": 2, "second": {"kernel": 1}},
            }
        ],
    ),
    "no norm": (
        [2, 4, 4],
        [
            {"name": "a", "op": "conv", "width": 3, "norm": "none", "residual": NESTED, "act": "silu"},
            POOL,
            HEAD,
        ],
    ),
    "mixed norms": (
        [2, 4, 4],
        [
            {
                "name": "a",
                "op": "conv",
                "width": 3,
                "norm": "none",
                "shortcut": {"norm": "batch"},
                "residual": {"hidden": 2, "first": {"norm": "batch"}},
            }
        ],
    ),
    "no shortcut": (
        [3],
        [{"name": "a", "op": "dense", "width": 4, "shortcut": False, "residual": {"hidden": 5}}, HEAD],
    ),
    "streams": (
        [2, 4, 4],
        [
            {"name": "a", "op": "conv", "width": 3},
            {"name": "b", "op": "conv", "shortcut": "identity", "residual": {"hidden": 0}},
            {"name": "c", "op": "conv", "shortcut": "identity", "act": "relu", "residual": NESTED},
            *(POOL, {"name": "d", "op": "dense", "shortcut": "identity", "residual": NESTED}, HEAD),
        ],
    ),
    "pooling": (
        [2, 7, 6],
        [
            {"name": "p", "op": "max_pool", "kernel": 3, "stride": 2},
            {"name": "t", "op": "activation", "act": "relu"},
            {"name": "a", "op": "conv", "width": 3},
            *({"name": "q", "op": "avg_pool"}, {"name": "f", "op": "flatten"}, HEAD),
        ],
    ),
}


def arch_of(size: list[int], net: list[dict[str, Any]]) -> Architecture:
    return verify(Architecture.model_validate({"input": size, "net": net}))


def compare(arch: Architecture, seed: int) -> None:
    """Fast and slow output in both modes, dropout aside."""
    tensors = random_tensors(arch, seed)
    plain = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
    network = build(arch, tensors)
    x = torch.randn(5, *arch.input, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for training in (False, True):
        expected = reference_network.forward(arch, plain, x.numpy(), training)
        found = network.train(training)(x).detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CHAINS)
def test_module_computes_what_the_design_says(name: str) -> None:
    """Each form of the chain, in eval and in train mode, as loops over pixels compute it."""
    compare(arch_of(*CHAINS[name]), seed=len(name))


def test_module_computes_random_architectures() -> None:
    """Fifty random architectures without dropout, likewise."""
    archs = (random_architecture(Random(seed)) for seed in range(100))
    plain = [arch for arch in archs if "=0.5" not in repr(arch)]  # no dropout in it
    assert len(plain) >= 50
    for seed, arch in enumerate(plain[:50]):
        compare(arch, seed)


@pytest.mark.parametrize("op", ["conv", "dense"])
def test_observer_sees_neurons_after_activation_and_before_dropout(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything dropped the observer still sees the activated values, and `second` reads zeros."""
    size = [2, 4, 4] if op == "conv" else [2]
    layer = {"name": "a", "op": op, "width": 3, "norm": "none", "residual": {"hidden": 4, "dropout": 0.5}}
    arch = arch_of(size, [layer | {"act": "silu"}])
    network, seen, dropped = build(arch), {}, []

    def drop_all(x: Tensor, p: float, training: bool) -> Tensor:
        dropped.append((x, p, training))
        return x * 0.0

    monkeypatch.setattr(functional, "dropout2d" if op == "conv" else "dropout", drop_all)
    network.probe.observer = lambda site, values, relu, _: seen.update({site: (values, relu)})
    network.probe.sites = frozenset({"a.hidden", "a.width"})
    x = torch.randn(3, *size)
    y = network(x)
    top = cast(ChainNode, network.layers[0]).node
    assert isinstance(top.first, nn.Module)
    assert isinstance(top.leaf, nn.Module)
    assert torch.equal(torch.relu(top.first(x)), seen["a.hidden"][0])
    assert seen["a.hidden"][0] is dropped[0][0]
    assert (0.5, True) == dropped[0][1:]
    assert (True, False) == (seen["a.hidden"][1], seen["a.width"][1])
    assert torch.equal(functional.silu(top.leaf(x, top.bias)), y)
    assert y is seen["a.width"][0]


def test_observer_sees_nothing_in_eval_mode_or_of_other_sites() -> None:
    """Evaluation is not observed, and only the wanted sites are shown."""
    network, seen = build(arch_of(*CHAINS["nested matrices"])), []
    network.probe.observer = lambda site, *_: seen.append(site)
    network.eval()(torch.randn(4, 3))
    assert [] == seen
    network.probe.sites = frozenset({"a.first.hidden"})
    network.train()(torch.randn(4, 3))
    assert ["a.first.hidden"] == seen


def test_stream_is_seen_by_each_of_its_readers() -> None:
    """The residual of every identity layer, and at the stream's end what comes after it."""
    network, seen = build(arch_of(*CHAINS["streams"])), []
    network.probe.observer = lambda site, values, *_: seen.append((site, tuple(values.shape)))
    network.probe.sites = frozenset({"a.width"})
    network(torch.randn(6, 2, 4, 4))
    assert [("a.width", (6, 3, 4, 4))] + [("a.width", (6, 3))] * 2 == seen


def test_empty_identity_layers_are_not_seen() -> None:
    """They read nothing and hand on what they get: importance stays as it is without them."""
    stem = {"name": "stem", "op": "dense", "width": 4, "residual": {"hidden": 3}}
    empty = {"op": "dense", "shortcut": "identity", "residual": {"hidden": 0}}
    active = {"name": "last", "op": "dense", "shortcut": "identity", "act": "relu", "residual": {"hidden": 0}}
    counts = []
    for between in (0, 5):
        net = [stem, *({"name": f"e{n}", **empty} for n in range(between)), active, HEAD]
        network = build(verify(Architecture.model_validate({"input": [3], "net": net})), seed=0).train()
        seen: list[str] = []
        network.probe.observer = lambda site, *_, seen=seen: seen.append(site)
        network.probe.sites = frozenset({"stem.width", "stem.hidden"})
        network(torch.rand(2, 3))
        counts.append(seen)
    assert [["stem.hidden", "stem.width"]] * 2 == counts


def test_dropout_layer_drops_whole_channels_of_maps_and_single_features() -> None:
    """[C, H, W] loses channels, [F] features, both only in training."""
    drop = {"name": "drop", "op": "dropout", "p": 0.5}
    maps = Network(arch_of([8, 3, 3], [drop, {"name": "a", "op": "conv", "width": 1}]))
    features = Network(arch_of([64], [drop, HEAD]))
    torch.manual_seed(0)
    channels = maps.layers[0](torch.ones(4, 8, 3, 3)).flatten(2)
    assert {0.0, 2.0} == set(channels.unique().tolist())
    assert torch.equal(channels.amin(2), channels.amax(2))
    assert {0.0, 2.0} == set(features.layers[0](torch.ones(4, 64)).unique().tolist())
    assert {1.0} == set(features.eval().layers[0](torch.ones(4, 64)).unique().tolist())


@pytest.mark.parametrize(
    "name", ["train", "type", "weight", "forward", "bias", "a:b c", "first", "input", "0"]
)
def test_layers_may_be_named_after_anything(name: str) -> None:
    """Tensors are called after the layer, the module works, a rename of attributes is not needed."""
    arch = arch_of([3], [{"name": name, "op": "dense", "width": 4, "residual": {"hidden": 2}}, HEAD])
    network = build(arch)
    own = {f"{name}{x}" for x in (".weight", ".bias", ".first.weight", ".first.bias", ".second.weight")}
    assert own | {"head.weight", "head.bias"} == set(network.tensors())
    assert (5, 2) == tuple(network(torch.randn(5, 3)).shape)


def test_empty_identity_layer_computes_nothing() -> None:
    """It hands on the very tensor that it got and owns no parameter."""
    empty = {"name": "b", "op": "dense", "shortcut": "identity", "residual": {"hidden": 0}}
    arch = arch_of([3], [empty, HEAD])
    network, x = build(arch), torch.randn(2, 3)
    assert network.layers[0](x) is x
    assert {"head.weight", "head.bias"} == set(network.trained())


def test_every_parameter_gets_a_gradient() -> None:
    """Nothing is built that the output does not depend on."""
    for seed in range(20):
        arch = random_architecture(Random(seed))
        network = build(arch, random_tensors(arch, seed))
        x = torch.randn(6, *arch.input, dtype=torch.float64)
        (network(x) ** 3).sum().backward()
        assert all(p.grad is not None for p in network.trained().values())


def test_untrained_weights_are_like_torch_draws_them() -> None:
    """U(-1/√fan_in, 1/√fan_in) with the kernel in fan_in; norms 1, 0, 0, 1; a counter at 0."""
    weights = initial_weights(arch_of([8, 4, 4], [{"name": "a", "op": "conv", "width": 50}]), seed=3)
    bound = 1 / np.sqrt(8 * 9)
    assert 0.99 * bound < float(weights["a.weight"].abs().max()) <= bound
    assert abs(float(weights["a.weight"].std()) - bound / np.sqrt(3)) < 0.03 * bound
    entries = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for entry, fill in entries.items():
        assert [fill] * 50 == weights[f"a.norm.{entry}"].tolist()
    assert 0 == int(weights["a.norm.num_batches_tracked"])


def test_identity_leaf_starts_as_the_identity() -> None:
    """Untrained, `init: identity` without norm computes x, its bias being 0."""
    for size, op in (([3, 4, 4], "conv"), ([3], "dense")):
        layer = {"name": "a", "op": op, "width": 3, "norm": "none", "shortcut": {"init": "identity"}}
        network = build(arch_of(size, [layer]))
        x = torch.randn(2, *size)
        assert torch.equal(x, network(x))


def test_weights_of_another_architecture_are_refused() -> None:
    """A missing, an unknown and a misshapen tensor are each named."""
    arch = arch_of([3], [HEAD])
    network, weights = build(arch), initial_weights(arch)
    with pytest.raises(InputError, match=r"head\.bias is missing"):
        load_weights(network, {"head.weight": weights["head.weight"]})
    with pytest.raises(InputError, match=r"tail\.bias belongs to no part"):
        load_weights(network, weights | {"tail.bias": torch.zeros(2)})
    with pytest.raises(InputError, match=r"head\.bias has two shapes: \[2\] in the arch.*, \[3\] in"):
        load_weights(network, weights | {"head.bias": torch.zeros(3)})


def test_module_owns_its_tensors() -> None:
    """Changing what it was built from does not change it, and each build stands alone."""
    arch = arch_of([3], [HEAD])
    weights = initial_weights(arch)
    network = build(arch, weights)
    weights["head.weight"].zero_()
    assert bool((network.tensors()["head.weight"] != 0).all())
    assert isinstance(network.tensors()["head.weight"], nn.Parameter)


def test_keyed_numbers_are_uniform_and_independent() -> None:
    """Mean, variance, tenths, neighbours in rows and columns of 90,000 numbers are as chance has them."""
    values = uniform(key_of("uniform"), np.arange(300), np.arange(300))
    assert float(values.min()) >= -1.0
    assert float(values.max()) < 1.0
    assert abs(values.mean()) < 5 / np.sqrt(3 * values.size)
    assert abs(values.var() - 1 / 3) < 5 * np.sqrt(4 / 45 / values.size)
    counts = np.histogram(values, bins=10, range=(-1, 1))[0]
    assert ((counts - values.size / 10) ** 2 / (values.size / 10)).sum() < 33.7  # 9 degrees, p = 1e-4
    for first, second in ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1])):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)
    other = uniform(key_of("another"), np.arange(300), np.arange(300))
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(values.size)
    assert values.size == np.unique(values).size


def test_keyed_numbers_depend_on_their_own_place_alone() -> None:
    """A cell has the same value in whatever company it is drawn, and is what whole numbers give."""
    key = key_of(7, "parent", "a.weight")
    full = uniform(key, np.arange(6), np.arange(5))
    assert np.array_equal(full[[4, 1]][:, [3, 0]], uniform(key, np.array([4, 1]), np.array([3, 0])))
    for row in range(6):
        for column in range(5):
            assert slow_uniform((7, "parent", "a.weight"), row, column) == full[row, column]


def test_key_parts_do_not_run_together() -> None:
    """("ab", "c") and ("a", "bc") are different keys."""
    assert key_of("ab", "c") != key_of("a", "bc")
