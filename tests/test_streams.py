"""Importance of a stream's neurons: summed over those who read it, not over the layers that hand it on.

Legend: R readers of the stream, B samples, W neurons of the stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nhnas.compiler.build import build
from nhnas.compiler.network import Network
from nhnas.spec.model import Architecture
from nhnas.spec.verify import verify
from nhnas.trainer.importance import ImportanceMeter

WIDTH, SAMPLES = 4, 6
STEM = {"name": "stem", "op": "dense", "width": WIDTH}
HEAD = {"name": "head", "op": "dense", "width": 2}


def identity(name: str, hidden: int, **more: Any) -> dict[str, Any]:
    """A layer that adds its residual to the stream."""
    return {"name": name, "op": "dense", "shortcut": "identity", "residual": {"hidden": hidden}, **more}


def built(*net: dict[str, Any], fused: bool = False, seed: int = 0) -> Network:
    """A network in float64, training, with random weights everywhere and the stream's site in view."""
    network = build(verify(Architecture.model_validate({"input": [3], "net": list(net)})), seed=0)
    network = network.double().train().fuse(fused)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.trained().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    network.probe.sites = frozenset({"stem.width"})
    return network


def batch() -> tuple[Tensor, Tensor]:
    """[B, 3] and labels [B]."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(SAMPLES, 3, generator=generator, dtype=torch.float64)
    return x, torch.randint(2, (SAMPLES,), generator=generator)


def sensitivity(network: Network) -> np.ndarray[Any, Any]:
    """A of the stream's neurons over one batch, [W]."""
    meter, (x, y) = ImportanceMeter(), batch()
    network.probe.observer = meter.observe
    functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
    return meter.result()["stem.width"].sensitivity.sum(0)  # type: ignore[no-any-return]  # of numpy


def seen_in(network: Network) -> list[tuple[str, str, bool]]:
    """What is shown in one forward pass: sites, their readers, and whether they went through a ReLU."""
    seen: list[tuple[str, str, bool]] = []

    def observer(site: str, _values: Tensor, relu: bool, reader: str) -> None:
        seen.append((site, reader, relu))

    network.probe.observer = observer
    network(batch()[0])
    return seen


def by_scaling(network: Network) -> np.ndarray[Any, Any]:
    """A of STEM, b, an empty layer, c with a ReLU, HEAD: what each reader alone gets is scaled, [W]."""
    t, (x, y) = {name: tensor.detach() for name, tensor in network.tensors().items()}, batch()
    scales = torch.ones(3, SAMPLES, WIDTH, dtype=torch.float64, requires_grad=True)

    def residual(name: str, values: Tensor) -> Tensor:
        hidden = functional.linear(values, t[f"{name}.first.weight"], t[f"{name}.first.bias"]).relu()
        return functional.linear(hidden, t[f"{name}.second.weight"])

    stem = functional.linear(x, t["stem.weight"], t["stem.bias"])
    after_b = stem + residual("b", scales[0] * stem)
    after_c = (after_b + residual("c", scales[1] * after_b)).relu()
    out = functional.linear(scales[2] * after_c, t["head.weight"], t["head.bias"])
    (gradient,) = torch.autograd.grad(functional.cross_entropy(out, y, reduction="sum"), scales)
    return gradient.abs().sum((0, 1)).numpy()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_each_reader_counts_once(seed: int, fused: bool) -> None:
    """The sum over readers of Σ_samples |∂L/∂log of what that reader alone gets|."""
    net = (STEM, identity("b", 3), identity("empty", 0), identity("c", 2, act="relu"), HEAD)
    network = built(*net, fused=fused, seed=seed)
    np.testing.assert_allclose(sensitivity(network), by_scaling(network), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden", [0, 3])
def test_silent_layers_change_no_importance(hidden: int) -> None:
    """However many identity layers hand the stream on, as long as nothing is heard of them."""
    plain = built(STEM, HEAD)
    network = built(STEM, *(identity(f"i{n}", hidden) for n in range(5)), HEAD)
    with torch.no_grad():
        for name, tensor in network.trained().items():
            if name.endswith("second.weight"):
                tensor.zero_()
            elif not name.startswith("i"):
                tensor.copy_(plain.trained()[name])
    np.testing.assert_allclose(sensitivity(network), sensitivity(plain), rtol=1e-12, atol=0.0)


def test_what_was_rectified_is_seen_as_such() -> None:
    """The share of positive values counts where the last layer that changed the stream had a ReLU."""
    relu = {**STEM, "act": "relu"}
    between = {"name": "between", "op": "activation", "act": "relu"}
    nets = (
        (relu, identity("empty", 0), identity("b", 2), identity("c", 2, act="relu"), HEAD),
        (STEM, between, identity("b", 2), identity("c", 2), HEAD),
        (relu, identity("empty", 0), HEAD),
        (STEM, identity("empty", 0, act="relu"), identity("b", 2, act="tanh"), HEAD),
    )
    assert [
        [("b", True), ("c", False), ("", True)],
        [("b", True), ("c", False), ("", False)],
        [("", True)],
        [("b", True), ("", False)],
    ] == [[seen[1:] for seen in seen_in(built(*net))] for net in nets]


def test_two_streams_are_kept_apart() -> None:
    """A layer with a width of its own ends one stream and begins the next."""
    second = {"name": "next", "op": "dense", "width": 3}
    network = built(STEM, identity("b", 2), second, identity("c", 2), HEAD)
    network.probe.sites = frozenset({"stem.width", "next.width"})
    assert ["stem.width"] * 2 + ["next.width"] * 2 == [site for site, *_ in seen_in(network)]


def test_gradients_are_the_same_whether_anybody_looks() -> None:
    """Bit for bit, with a nested residual, whose leaves all read the stream."""
    inner = {"hidden": 3, "first": {"residual": {"hidden": 2}}}
    nested = {"name": "b", "op": "dense", "shortcut": "identity", "residual": inner}
    found = []
    for looks in (True, False):
        network, (x, y) = built(STEM, nested, HEAD), batch()
        network.probe.observer = ImportanceMeter().observe if looks else None
        functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        found.append({name: tensor.grad for name, tensor in network.trained().items()})
    for name, gradient in found[0].items():
        assert gradient is not None
        other = found[1][name]
        assert other is not None
        assert torch.equal(gradient, other), name
