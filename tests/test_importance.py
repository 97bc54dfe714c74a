"""Importance against per-sample autograd, and the meter's book-keeping."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nhnas.trainer import importance as module
from nhnas.trainer.importance import ImportanceMeter, importance, scale

# B samples, I inputs, H hidden neurons, O outputs

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class TwoSites(nn.Module):
    """first → act → dropout-free second, the sites `a.hidden` and `a.width` observed on the way."""

    def __init__(self, conv: bool, act: str, hidden: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.act = conv, act
        self.first: nn.Module = nn.Conv2d(2, hidden, 3, padding=1) if conv else nn.Linear(5, hidden)
        self.second: nn.Module = nn.Conv2d(hidden, 4, 3, padding=1) if conv else nn.Linear(hidden, 4)
        self.head = nn.Linear(4, 3)

    def sites(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Activations of both sites and the output [B, 3]."""
        hidden = ACTIVATIONS[self.act](self.first(x))
        width = self.second(hidden)
        return hidden, width, self.head(width.mean((2, 3)) if self.conv else width)

    def measured(self, x: Tensor, meter: ImportanceMeter) -> Tensor:
        """The output; the meter sees both sites."""
        hidden, width, output = self.sites(x)
        meter.observe("a.hidden", hidden, relu=self.act == "relu")
        meter.observe("a.width", width, relu=False)
        return output


def batches(conv: bool, seed: int, sizes: tuple[int, ...] = (6, 3)) -> list[tuple[Tensor, Tensor]]:
    """Random inputs and classes, the last batch smaller."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 4, 5) if conv else (5,)
    return [
        (torch.randn(n, *shape, generator=generator), torch.randint(0, 3, (n,), generator=generator))
        for n in sizes
    ]


def train_on(net: TwoSites, data: list[tuple[Tensor, Tensor]], meter: ImportanceMeter) -> None:
    """Ordinary backward passes of the mean loss."""
    for x, y in data:
        torch.autograd.backward(nn.functional.cross_entropy(net.measured(x, meter), y))


def reference(
    net: TwoSites, data: list[tuple[Tensor, Tensor]], index: int
) -> tuple[list[float], list[float]]:
    """A and B of a site (0 hidden, 1 width) from single samples, neurons and positions."""
    sensitivity: dict[int, float] = {}
    positive: dict[int, int] = {}
    count = 0
    for x, y in data:
        for i in range(len(x)):
            *sites, output = net.sites(x[i : i + 1])
            loss = nn.functional.cross_entropy(output, y[i : i + 1], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, sites[index])
            sigma = sites[index][0].detach().reshape(sites[index].shape[1], -1)
            gradient = gradient[0].reshape(sigma.shape)
            count += sigma.shape[1]
            for j in range(sigma.shape[0]):
                terms = [float(s) * float(g) for s, g in zip(sigma[j], gradient[j], strict=True)]
                sensitivity[j] = sensitivity.get(j, 0.0) + abs(sum(terms))
                positive[j] = positive.get(j, 0) + sum(float(s) > 0 for s in sigma[j])
    relu = index == 0 and net.act == "relu"
    shares = [positive[j] / count if relu else 0.0 for j in sorted(positive)]
    return [sensitivity[j] for j in sorted(sensitivity)], shares


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("act", list(ACTIVATIONS))
@pytest.mark.parametrize("conv", [False, True], ids=["dense", "conv"])
def test_a_and_b_are_those_of_single_samples(
    conv: bool, act: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summed over batches of 6 and 3, both sites agree with per-sample gradients, in blocks or not."""
    net = TwoSites(conv, act, 2 + seed, seed).double()
    data = [(x.double(), y) for x, y in batches(conv, seed)]
    monkeypatch.setattr(module, "CACHED", [1, 200, 10**6][seed])
    meter = ImportanceMeter()
    train_on(net, data, meter)
    for index, site in enumerate(("a.hidden", "a.width")):
        sensitivity, positive = reference(net, data, index)
        assert sensitivity == pytest.approx(meter.result()[site].sensitivity[0].tolist(), rel=1e-9)
        assert positive == meter.result()[site].positive[0].tolist()


@pytest.mark.parametrize("cached", [1, 200, 10**6])
def test_where_maps_are_large_every_fourth_sample_is_counted(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B is the share among samples 0, 4, … of each batch, in blocks or not; A is of all samples."""
    net, data = TwoSites(True, "relu", 3, 0).double(), [(x.double(), y) for x, y in batches(True, 0)]
    monkeypatch.setattr(module, "CACHED", cached)
    meter = ImportanceMeter(counted=1)
    train_on(net, data, meter)
    sensitivity, _ = reference(net, data, 0)
    _, shares = reference(net, [(x[::4], y[::4]) for x, y in data], 0)
    measured = meter.result()["a.hidden"]
    assert sensitivity == pytest.approx(measured.sensitivity[0].tolist(), rel=1e-9)
    assert shares == measured.positive[0].tolist()


def test_a_batch_of_small_maps_is_counted_whole() -> None:
    """Below twice the activations that are counted at least, all count; from there on every second."""
    sigma = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], requires_grad=True)
    whole, half = ImportanceMeter(counted=3), ImportanceMeter(counted=2)
    for meter in (whole, half):
        observed = sigma * 1
        meter.observe("a.hidden", observed, relu=True)
        torch.autograd.backward(observed.sum())
    assert [0.5] == whole.result()["a.hidden"].positive[0].tolist()
    assert [1.0] == half.result()["a.hidden"].positive[0].tolist()


def test_channels_last_is_measured_alike() -> None:
    """The memory format changes nothing but the last bits."""
    plain, other = ImportanceMeter(), ImportanceMeter()
    net, data = TwoSites(True, "relu", 4, 0), batches(True, 0)
    train_on(net, data, plain)
    train_on(net, [(x.to(memory_format=torch.channels_last), y) for x, y in data], other)
    for site, measured in plain.result().items():
        assert measured.sensitivity[0].tolist() == pytest.approx(
            other.result()[site].sensitivity[0].tolist(), rel=1e-4
        )
        assert measured.positive[0].tolist() == other.result()[site].positive[0].tolist()


def test_bfloat16_activations_are_summed_wider() -> None:
    """A hundred thousand equal products are counted and added without the loss that bfloat16 has."""
    sigma = torch.ones(1, 2, 320, 320, dtype=torch.bfloat16, requires_grad=True)
    meter = ImportanceMeter()
    meter.observe("a.hidden", sigma * 1, relu=True)
    observed = sigma * 1
    meter.observe("a.hidden", observed, relu=True)
    torch.autograd.backward(observed.float().sum())
    assert [320.0 * 320.0] * 2 == meter.result()["a.hidden"].sensitivity[0].tolist()
    assert [1.0, 1.0] == meter.result()["a.hidden"].positive[0].tolist()


def test_a_site_with_several_readers_adds_up() -> None:
    """Each reader has its own Σ_samples |…| and its own share; a reader may be seen more than once."""
    x = torch.tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    meter = ImportanceMeter()
    first = x.relu()
    second = (first - 2.0).relu()
    meter.observe("s.width", first, relu=True)
    meter.observe("s.width", second, relu=True)
    meter.observe("s.width", second, relu=True, reader="b")
    meter.observe("s.width", second, relu=False, reader="c")
    torch.autograd.backward(second.sum() / 2)  # a mean over B = 2 of the sum over neurons
    # first: [[1, 0], [3, 4]] with gradient [[0, 0], [1, 1]]; second: [[0, 0], [1, 2]] with ones
    measured = meter.result()["s.width"]
    assert [3.0 + 1.0, 4.0 + 2.0] == measured.sensitivity[0].tolist()
    assert [(2 + 1) / 4, (1 + 1) / 4] == measured.positive[0].tolist()
    assert [[1.0, 2.0]] * 2 == measured.sensitivity[1:].tolist()
    assert [[1 / 2, 1 / 2], [0.0, 0.0]] == measured.positive[1:].tolist()


def test_no_gradient_no_measurement() -> None:
    """Evaluation, and a forward pass that is never followed by its backward pass, leave no trace."""
    net, data, meter = TwoSites(False, "relu", 3, 0), batches(False, 0), ImportanceMeter()
    with torch.no_grad():
        net.measured(data[0][0], meter)
    net.measured(data[0][0], meter)
    assert {} == meter.result()


def test_the_gradient_itself_is_left_alone() -> None:
    """Weights get bitwise the same gradients with and without the meter."""
    data = batches(True, 1)
    plain, measured = TwoSites(True, "relu", 3, 1), TwoSites(True, "relu", 3, 1)
    for x, y in data:
        torch.autograd.backward(nn.functional.cross_entropy(plain.sites(x)[2], y))
    train_on(measured, data, ImportanceMeter())
    for one, other in zip(plain.parameters(), measured.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_a_loaded_state_goes_on_exactly() -> None:
    """Saved between two batches and loaded, the sums end bitwise the same."""
    net, data = TwoSites(True, "relu", 3, 2), batches(True, 2, (4, 4, 2))
    whole, first, second = ImportanceMeter(), ImportanceMeter(), ImportanceMeter()
    train_on(net, data, whole)
    train_on(net, data[:1], first)
    saved = first.state()
    train_on(net, data[1:], first)  # what is saved does not change with the meter
    second.load(saved)
    train_on(net, data[1:], second)
    assert whole.state().keys() == second.state().keys()
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_readers_add_up_in_the_same_order_after_a_load() -> None:
    """A state comes back sorted by name; last digits are those of a meter that went on without it."""
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole, loaded = ImportanceMeter(), ImportanceMeter()
    for reader in ("z", "b", "m", ""):
        seen = x.relu() + len(reader)
        whole.observe("s.width", seen, relu=True, reader=reader)
        seen.square().mean().backward()  # type: ignore[no-untyped-call]
    loaded.load(dict(sorted(whole.state().items())))
    mine, other = whole.result()["s.width"], loaded.result()["s.width"]
    assert mine.sensitivity.tolist() == other.sensitivity.tolist()
    assert mine.positive.tolist() == other.positive.tolist()


def test_reset_forgets() -> None:
    """After a reset nothing is measured."""
    meter = ImportanceMeter()
    train_on(TwoSites(False, "relu", 3, 0), batches(False, 0), meter)
    meter.reset()
    assert ({}, {}) == (meter.result(), meter.state())


def test_importance_falls_to_nothing_where_a_neuron_is_always_on() -> None:
    """I = A·(1-B³³): all of A at B = 0, none at B = 1, and in between as written."""
    values = importance(np.array([[2.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 0.98]]))
    assert [2.0, 0.0, 3.0 * (1.0 - 0.98**33)] == pytest.approx(values.tolist())


def test_a_reader_that_sees_no_relu_takes_nothing_from_the_others() -> None:
    """Σ_readers A·(1-B³³): always on before one ReLU, the neuron counts where it is read without."""
    assert [5.0] == importance(np.array([[2.0], [5.0]]), np.array([[1.0], [0.0]])).tolist()


def test_scaled_importances_have_mean_one_over_the_removable_neurons() -> None:
    """Only removable sites come back, in order, divided by the mean over their neurons together."""
    scaled = scale({"a": np.array([1.0, 2.0]), "b": np.array([100.0]), "c": np.array([3.0, 6.0])}, {"c", "a"})
    assert {"a": [1 / 3, 2 / 3], "c": [1.0, 2.0]} == {s: pytest.approx(v.tolist()) for s, v in scaled.items()}
    assert ["a", "c"] == list(scaled)


def test_importances_of_nothing_and_of_zeros_can_be_scaled() -> None:
    """Neither no removable neuron nor importances that are all 0 divide by zero."""
    assert {} == scale({"a": np.array([1.0])}, set())
    assert [0.0, 0.0] == scale({"a": np.zeros(2)}, {"a"})["a"].tolist()
