"""The evaluation form of a network: equal to the plain one, in fewer pieces, and for evaluation alone."""

from __future__ import annotations

import copy
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

import nhnas
from nhnas.compiler import merged_algebra
from nhnas.compiler.build import build
from nhnas.compiler.merged import MergedNetwork, merged
from nhnas.compiler.merged_steps import Linear, WindowMeans
from nhnas.compiler.network import Network
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Conv, Dense, Dropout
from nhnas.spec.structure import leaves, nodes
from nhnas.spec.verify import verify
from tests import tiny
from tests.laws.architectures import random_architecture
from tests.laws.case import FORMS, forms
from tests.laws.tensors import random_tensors

ARCHITECTURES = 250
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
POOL = {"name": "pool", "op": "global_avg_pool"}
HEAD = {"name": "head", "op": "dense", "width": 4}


def arch_of(size: list[int], *net: dict[str, Any]) -> Architecture:
    return verify(Architecture.model_validate({"input": size, "net": list(net)}))


def conv(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "op": "conv", "width": 5} | keys


def plain(arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float64) -> Network:
    """A network as after some training, in evaluation mode."""
    tensors = random_tensors(arch, seed)
    network = build(arch, {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()})
    network.eval()
    return network


def samples(arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, *arch.input, generator=generator, dtype=torch.float64).to(dtype)


def check_equal(network: Network, form: MergedNetwork, x: Tensor) -> None:
    """Outputs to the dtype's tolerance, each prediction one of the plain network's best; x stays as it is."""
    given = x.clone()
    with torch.no_grad():
        expected = network(x).flatten(1)
    found = form(x).flatten(1)
    assert (expected.shape, expected.dtype) == (found.shape, found.dtype)
    limit = TOLERANCES[x.dtype] * max(1.0, float(expected.abs().max()))
    assert float((expected - found).abs().max()) <= limit
    best, chosen = expected.max(1).values, expected.gather(1, found.argmax(1, keepdim=True))[:, 0]
    assert bool((best - chosen <= limit).all())
    assert torch.equal(given, x)
    assert torch.equal(found, form(x).flatten(1))


def linears(form: MergedNetwork) -> list[Linear]:
    return [step for step in form.steps if isinstance(step, Linear)]


def checked(arch: Architecture) -> MergedNetwork:
    """The form of a random network of an architecture, found equal."""
    network = plain(arch)
    form = merged(network)
    check_equal(network, form, samples(arch))
    return form


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_merged_is_equal_for_random_architectures(dtype: torch.dtype) -> None:
    """Outputs and predictions, in float64 to 1e-12 and in float32 to 1e-5, with no more calls than leaves."""
    for seed in range(ARCHITECTURES):
        arch = random_architecture(Random(seed))
        network = plain(arch, seed, dtype)
        form = merged(network)
        check_equal(network, form, samples(arch, seed, dtype))
        assert len(linears(form)) <= len(list(leaves(arch)))


def test_random_architectures_have_every_form() -> None:
    """Each form of the laws is in a tenth of them; sites of width 0, mixed kernels and dropout as well."""
    found: Counter[str] = Counter()
    for seed in range(ARCHITECTURES):
        arch = random_architecture(Random(seed))
        found.update(forms(arch, [arch], []))
        found["width 0"] += any(node.residual is not None and not node.hidden for node in nodes(arch))
        found["dropout"] += any(isinstance(layer, Dropout) for layer in arch.net)
    wanted = {*FORMS, "width 0"} - {"four edits", "emptied"}
    assert set() == {form for form in wanted if found[form] < ARCHITECTURES / 10}
    assert found["dropout"] > 10


def test_network_itself_stays_as_it_was() -> None:
    """Its tensors are neither changed nor shared."""
    arch = random_architecture(Random(3))
    network = plain(arch)
    before = {name: tensor.clone() for name, tensor in network.tensors().items()}
    form = merged(network)
    for parameter in form.parameters():
        parameter.zero_()
    assert all(torch.equal(tensor, network.tensors()[name]) for name, tensor in before.items())


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_tree_of_residuals_runs_in_the_fewest_convolutions(depth: int) -> None:
    """R residuals, 2R+1 leaves: R+1 convolutions, and no norm."""

    def residual(levels: int) -> dict[str, Any]:
        inner = {"residual": residual(levels - 1)} if levels else {}
        return {"hidden": 3, "first": inner, "second": inner}

    arch = arch_of([2, 6, 6], conv("a", act="relu", residual=residual(depth)))
    assert 2 ** (depth + 2) - 1 == len(list(leaves(arch)))
    assert 2 ** (depth + 1) == len(linears(checked(arch)))


def test_identity_streams_stay_additions() -> None:
    """Two convolutions for each layer of the stream, as it has leaves."""
    layer = {"op": "conv", "shortcut": "identity", "residual": {"hidden": 3}}
    arch = arch_of(
        [2, 6, 6], conv("a", act="relu"), {"name": "b"} | layer, {"name": "c", "act": "silu"} | layer
    )
    assert 5 == len(linears(checked(arch)))


def test_linear_layers_in_a_row_are_one_matrix() -> None:
    """Also through dropout, and where the second has neurons of its own; an activation ends the row."""
    dense = {"op": "dense", "width": 4}
    drop = {"name": "drop", "op": "dropout", "p": 0.5}
    row = [{"name": name} | dense for name in "abc"]
    assert [(4, 3)] == [tuple(step.weight.shape) for step in linears(checked(arch_of([3], *row, drop, HEAD)))]
    nested = {"name": "d", "residual": {"hidden": 2}} | dense
    assert 2 == len(linears(checked(arch_of([3], row[0], nested))))
    assert 2 == len(linears(checked(arch_of([3], row[0] | {"act": "relu"}, row[1]))))


def test_narrow_layer_between_wide_ones_stays() -> None:
    """One matrix of 600 by 600 would cost more than the two it replaces."""
    net = [{"name": "a", "op": "dense", "width": 8}, {"name": "b", "op": "dense", "width": 600}]
    assert [(8, 600), (600, 8)] == [
        tuple(step.weight.shape) for step in linears(checked(arch_of([600], *net)))
    ]


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolution_joins_the_linear_one_before_it(stride: int) -> None:
    """Strides multiply; exact, since a kernel of one pixel never meets the padding."""
    arch = arch_of([2, 7, 6], conv("a", width=8, stride=2), conv("b", kernel=1, stride=stride))
    [step] = linears(checked(arch))
    assert ((5, 2, 3, 3), 2 * stride) == (tuple(step.weight.shape), step.stride)


def test_wider_kernel_does_not_join_what_is_before_it() -> None:
    """Its padding is zero, where the bias of a pointwise convolution before it would not be."""
    assert 2 == len(linears(checked(arch_of([2, 6, 6], conv("a", kernel=1), conv("b")))))


def test_kernel_is_padded_where_that_costs_less_than_a_call() -> None:
    """A 1×1 shortcut runs within the 3×3 kernel of `first` on a small map, beside it on a large one."""
    layer = conv("a", width=16, stride=2, act="relu", shortcut={"kernel": 1}, residual={"hidden": 16})
    kernels = {}
    for size in (2, 32):
        form = checked(arch_of([2 if size == 2 else 16, size, size], layer))
        kernels[size] = sorted(step.weight.shape[2] for step in linears(form))
    assert {2: [3, 3], 32: [1, 3, 3]} == kernels


@pytest.mark.parametrize("size", [[2, 1, 1], [2, 5, 4], [2, 8, 8]])
@pytest.mark.parametrize("keys", [{"kernel": 5}, {"stride": 2}, {"stride": 3, "kernel": 5}, {"kernel": 1}])
def test_averaged_map_is_not_computed(size: list[int], keys: dict[str, Any]) -> None:
    """The mean of a convolution is a matrix times means of its input, also with neurons and a head behind."""
    layer = conv("a", width=20, residual={"hidden": 3}) | keys
    form = checked(arch_of(size, layer, POOL, HEAD))
    assert {True} == {step.weight.shape[0] in (3, 4) for step in linears(form)}
    assert any(isinstance(step, WindowMeans) for step in form.steps)


def test_activated_map_is_computed() -> None:
    """A mean of an activation is not the activation of a mean."""
    arch = arch_of([2, 6, 6], conv("a", act="relu"), POOL, HEAD)
    assert not any(isinstance(step, WindowMeans) for step in checked(arch).steps)


def test_means_of_a_vast_kernel_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix that takes them has k·k by H·W cells: it is not made beyond a bound."""
    arch = arch_of([2, 4, 4], conv("a"), POOL, HEAD)
    for bound, taken in ((9 * 16, True), (9 * 16 - 1, False)):
        monkeypatch.setattr(merged_algebra, "WINDOWS", bound)
        assert taken == any(isinstance(step, WindowMeans) for step in checked(arch).steps)


def test_stream_that_is_averaged_keeps_its_additions() -> None:
    """The mean of an identity is the mean of what it reads."""
    layer = {"name": "b", "op": "conv", "shortcut": "identity", "residual": {"hidden": 3}}
    checked(arch_of([2, 6, 6], conv("a", act="relu"), layer, POOL, HEAD))


@pytest.mark.parametrize("last", [{"name": "drop", "op": "dropout", "p": 0.5}, None])
def test_layers_that_do_nothing_may_be_first_or_last(last: dict[str, Any] | None) -> None:
    """Dropout and empty identities leave no step; the output is what came before them."""
    empty = {"name": "e", "op": "dense", "shortcut": "identity", "residual": {"hidden": 0}}
    arch = arch_of([3], empty, HEAD, *([last] if last else []), empty | {"name": "f"})
    assert 1 == len(linears(checked(arch)))


def test_activation_does_not_write_over_the_input() -> None:
    """A stream that begins at the data adds to it and is activated in memory of its own."""
    layer = {"name": "b", "op": "dense", "shortcut": "identity", "act": "relu", "residual": {"hidden": 0}}
    checked(arch_of([3], layer, HEAD))
    checked(arch_of([3], layer | {"residual": {"hidden": 2}}, HEAD))


def test_memory_format_of_the_input_does_not_matter() -> None:
    """Channels-last weights on the CPU take inputs of both formats, contiguous ones compute the same."""
    arch = arch_of([3, 6, 6], conv("a", act="relu", residual={"hidden": 3}), conv("b"))
    network, x = plain(arch), samples(arch)
    form = merged(network)
    last = torch.channels_last
    assert all(step.weight.is_contiguous(memory_format=last) for step in linears(form))
    contiguous = copy.deepcopy(form).to(memory_format=torch.contiguous_format)
    for module in (form, contiguous):
        check_equal(network, module, x)
        check_equal(network, module, x.to(memory_format=last))
    assert contiguous(x).is_contiguous()


def test_autocast_is_as_near_as_the_plain_network() -> None:
    """In bfloat16 the merged form is no further from float32 than twice what the plain one is, and 1%."""
    for seed in range(20):
        arch = random_architecture(Random(seed))
        network, x = plain(arch, seed, torch.float32), samples(arch, seed, torch.float32)
        form = merged(network)
        with torch.no_grad():
            exact = network(x)
            with torch.autocast("cpu", torch.bfloat16):
                usual, found = (float((m(x).float() - exact).abs().max()) for m in (network, form))
        assert found <= 2 * usual + 0.01 * max(1.0, float(exact.abs().max()))


def test_training_mode_is_refused() -> None:
    """Neither is a training network merged, nor does a merged one train; evaluation mode is no change."""
    arch = arch_of([3], HEAD)
    network = plain(arch)
    form = merged(network)
    assert form.eval() is form
    with pytest.raises(InputError, match=r"evaluation only; train the network it was made of"):
        form.train()
    assert not form.training
    with pytest.raises(InputError, match=r"call network\.eval\(\) first"):
        merged(network.train())


def test_gradients_are_off() -> None:
    """Neither a parameter nor the output asks for one, even where the input does."""
    arch = arch_of([3, 6, 6], conv("a", residual={"hidden": 3}), POOL, HEAD)
    form = merged(plain(arch))
    assert {False} == {parameter.requires_grad for parameter in form.parameters()}
    assert not form(samples(arch).requires_grad_()).requires_grad


def test_samples_of_another_shape_are_refused() -> None:
    """The means are those of one size of map, so no other is taken."""
    form = merged(plain(arch_of([3, 6, 6], conv("a"), POOL, HEAD)))
    with pytest.raises(InputError, match=r"expected samples of shape \[3, 6, 6\], not \[3, 6, 5\]"):
        form(torch.zeros(2, 3, 6, 5, dtype=torch.float64))


def test_load_model_gives_the_merged_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `merged`, the same function of the same weights; `fresh` holds for it too."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path)
    tiny.step(spec)
    network, form = nhnas.load_model(spec), nhnas.load_model(spec, merged=True)
    assert isinstance(form, MergedNetwork)
    x = samples(network.arch, dtype=torch.float32)
    check_equal(network, form, x)
    check_equal(nhnas.load_model(spec, fresh=True), nhnas.load_model(spec, fresh=True, merged=True), x)


def test_every_leaf_is_computed_once() -> None:
    """Where no layer is linear, the cells of all weights are those of the leaves, and padding."""
    for seed in range(60):
        arch = random_architecture(Random(seed))
        net = [
            layer.model_copy(update={"act": "tanh"}) if isinstance(layer, Conv | Dense) else layer
            for layer in arch.net
        ]
        arch = arch.model_copy(update={"net": tuple(net)})
        cells = sum(int((step.weight != 0).sum()) for step in linears(checked(arch)))
        assert sum(torch.Size(leaf.weight_shape).numel() for leaf in leaves(arch)) == cells
