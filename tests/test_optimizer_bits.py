"""The optimizer gives the bits of torch's own, where nothing grew and where neurons came."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch.nn import Parameter

from nhnas.trainer import optimizer_kernels, optimizer_layout
from nhnas.trainer.optimizer import OptimizerSettings, make_optimizer
from nhnas.trainer.optimizer_kernels import Entries, Kernel, adam_kernel, sgd_kernel
from tests.walked_optimizer import (
    LR,
    SHAPES,
    Kind,
    assert_same,
    gradient_of,
    grow,
    make_parameters,
    rate,
    reloaded,
    set_gradients,
    walk,
)

TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("kind", "nesterov"), [("adam", False), ("adamw", False), ("sgd", False), ("sgd", True)]
)
def test_same_bits_as_torch_where_nothing_grew(
    kind: Kind, nesterov: bool, decay: float, dtype: torch.dtype
) -> None:
    """300 steps give the bits of `torch.optim` with fused=True, through a save and a load in the middle."""
    shapes = {**SHAPES, "tail.weight": (33, 31), "large.weight": (24, 40, 3, 3), "one.scalar": ()}
    options = OptimizerSettings(kind, LR, weight_decay=decay, nesterov=nesterov)
    ours = make_optimizer(make_parameters(shapes, dtype), options)
    theirs = make_parameters(shapes, dtype)
    reference = torch_optimizer(kind, theirs, decay, nesterov)
    for number in range(300):
        walk(ours, number, number + 1)
        set_gradients(theirs, number)
        reference.param_groups[0]["lr"] = rate(number)
        reference.step()
        if number == 150:
            ours = reloaded(ours)
    assert_same(theirs, ours.parameters)
    keys = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq", "momentum": "momentum_buffer"}
    for key, value in ours.state().items():
        name, what = key.split(":")
        if what in keys:
            assert torch.equal(reference.state[theirs[name]][keys[what]], value), key


def torch_optimizer(
    kind: Kind, parameters: Mapping[str, Parameter], decay: float, nesterov: bool = False
) -> torch.optim.Optimizer:
    """The torch variant that ours builds on."""
    extra = {"momentum": 0.9, "nesterov": nesterov} if kind == "sgd" else {}
    factory: Callable[..., torch.optim.Optimizer] = TORCH[kind]
    return factory(parameters.values(), LR, weight_decay=decay, fused=True, **extra)


def test_sgd_without_momentum_equals_torch() -> None:
    """Momentum 0 gives torch's bits too, and an infinite gradient does not turn into NaN later."""
    parameters, theirs = make_parameters({"a": (3, 5)}), make_parameters({"a": (3, 5)})
    ours = make_optimizer(parameters, OptimizerSettings("sgd", LR, momentum=0.0))
    reference = torch.optim.SGD(theirs.values(), LR, fused=True)
    for number in range(5):
        walk(ours, number, number + 1)
        set_gradients(theirs, number)
        reference.param_groups[0]["lr"] = rate(number)
        reference.step()
    assert_same(theirs, parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("small", [0, 2048])
def test_new_neurons_learn_as_under_a_fresh_adam_and_old_ones_go_on(
    dtype: torch.dtype, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newcomers follow a fresh torch Adam, old cells a torch Adam that never saw the growth, bit for bit."""
    # Whole vector registers only (sizes of 16): torch computes what is left over in double.
    monkeypatch.setattr(optimizer_layout, "SMALL", small)
    old_shape, rows, columns = (16, 8), 16, 8
    parameters = make_parameters({"w": old_shape}, dtype)
    untouched = make_parameters({"w": old_shape}, dtype)["w"]
    ours = make_optimizer(parameters, OptimizerSettings("adam", LR))
    reference = torch.optim.Adam([untouched], LR, fused=True)
    for number in range(20):
        walk(ours, number, number + 1)
        untouched.grad = gradient_of(ours, "w")
        step_torch(reference, number)
    ours = grow(ours, {"w": {0: [16] * rows, 1: [8] * columns}}, 0)
    new_rows = Parameter(ours.parameters["w"].detach()[16:].clone())
    new_columns = Parameter(ours.parameters["w"].detach()[:16, 8:].clone())
    fresh = torch.optim.Adam([new_rows, new_columns], LR, fused=True)
    for number in range(20, 50):
        walk(ours, number, number + 1)
        gradient = gradient_of(ours, "w")
        untouched.grad, new_rows.grad = gradient[:16, :8].contiguous(), gradient[16:].contiguous()
        new_columns.grad = gradient[:16, 8:].contiguous()
        step_torch(reference, number)
        step_torch(fresh, number)
    now = ours.parameters["w"].detach()
    assert torch.equal(untouched.detach(), now[:16, :8])
    assert torch.equal(new_rows.detach(), now[16:])
    assert torch.equal(new_columns.detach(), now[:16, 8:])


def step_torch(optimizer: torch.optim.Optimizer, number: int) -> None:
    """One step at the learning rate of that step."""
    optimizer.param_groups[0]["lr"] = rate(number)
    optimizer.step()


def test_training_a_module_steps_what_backward_fills() -> None:
    """In an ordinary loop over a module the parameters are those of the same loop with torch's Adam."""
    results = []
    for ours in (True, False):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2))
        inputs = torch.randn(11, 5)
        named = dict(module.named_parameters())
        optimizer = make_optimizer(named, OptimizerSettings("adam", LR))
        reference = torch.optim.Adam(module.parameters(), LR, fused=True)
        for _ in range(10):
            optimizer.zero_grad()
            module(inputs).square().mean().backward()
            if ours:
                optimizer.step(LR)
            else:
                reference.step()
        results.append(named)
    assert_same(*results)


def test_bfloat16_and_mixed_dtypes_step_together() -> None:
    """Parameters of several dtypes are stepped in one call, each in its own dtype."""
    parameters = {
        **make_parameters({"a": (3, 4)}, torch.float32),
        **make_parameters({"b": (5,)}, torch.bfloat16),
        **make_parameters({"c": (2, 2)}, torch.float64),
    }
    theirs = {name: Parameter(parameter.detach().clone()) for name, parameter in parameters.items()}
    ours, reference = (
        make_optimizer(parameters, OptimizerSettings("adam", LR)),
        torch_optimizer("adam", theirs, 0.0),
    )
    for number in range(5):
        walk(ours, number, number + 1)
        set_gradients(theirs, number)
        step_torch(reference, number)
    assert_same(theirs, parameters)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "sgd without momentum"])
@pytest.mark.parametrize("fused", [True, False])
def test_public_interface_of_torch_gives_the_same_update(
    kind: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way through torch's public functions gives the same bits fused, and nearly the same unfused."""
    pieces = [random_entries() for _ in range(2)]
    direct, public = (kernel_of(kind, direct) for direct in (True, False))
    for _ in range(3):
        direct(pieces[0], LR)
    if not fused:
        monkeypatch.setattr(optimizer_kernels, "FUSED_DEVICES", ())
    for _ in range(3):
        public(pieces[1], LR)
    for expected, actual in zip(pieces[0].parameters, pieces[1].parameters, strict=True):
        assert torch.equal(expected, actual) if fused else torch.allclose(expected, actual, rtol=1e-12)


def kernel_of(kind: str, direct: bool) -> Kernel:
    """A kernel with weight decay."""
    if kind.startswith("sgd"):
        return sgd_kernel(0.9 if kind == "sgd" else 0.0, 0.1, direct=direct)
    return adam_kernel((0.9, 0.999), 1e-8, 0.1, decoupled=kind == "adamw", direct=direct)


def random_entries() -> Entries:
    """Two pieces of ages 3 and 0."""
    parameters, gradients, first, second = (
        list(make_parameters({"a": (5,), "b": (19,)}, seed=seed).values()) for seed in range(4)
    )
    for tensor in (*parameters, *gradients, *first, *second):
        tensor.requires_grad_(False)
    counter = torch.tensor([3.0, 0.0])
    return Entries(
        [*parameters], [*gradients], ([*first], [t.square() for t in second]), list(counter.unbind()), counter
    )
