"""The optimizer that knows each cell's age, against a slow per-cell reference and against torch.

Shape letters: O rows (dim 0), I columns (dim 1), k kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from nhnas.spec.errors import InputError
from nhnas.trainer import optimizer_kernels, optimizer_layout
from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer
from nhnas.trainer.optimizer_ages import all_blocks, horizon, row_slabs, young_blocks
from nhnas.trainer.optimizer_kernels import Entries, Kernel, adam_kernel, sgd_kernel
from nhnas.trainer.optimizer_layout import Slot, make_layout

Array = npt.NDArray[np.float64]
Kind = Literal["adam", "adamw", "sgd"]
Shapes = Mapping[str, tuple[int, ...]]

LR = 1e-2
SHAPES: Shapes = {
    "dense.weight": (5, 7),
    "conv.weight": (4, 3, 3, 3),
    "point.weight": (9, 5, 1, 1),
    "norm.weight": (17,),
    "head.bias": (1,),
}
TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def make_parameters(
    shapes: Shapes, dtype: torch.dtype = torch.float64, seed: int = 0
) -> dict[str, Parameter]:
    """Random parameters without gradients."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Parameter(torch.randn(shape, generator=generator, dtype=dtype))
        for name, shape in shapes.items()
    }


def set_gradients(parameters: Mapping[str, Parameter], seed: int) -> None:
    """Gradients of very different sizes that depend on (seed, name) alone, in place where there is one."""
    for number, parameter in enumerate(parameters.values()):
        generator = torch.Generator().manual_seed(1000 * seed + number)
        value = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        value = (value * 10.0 ** (seed % 5 - 3)).to(parameter.dtype)
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
        parameter.grad.copy_(value)


def walk(optimizer: Optimizer, first: int, stop: int) -> None:
    """Steps `first` to `stop`, each with its own gradients and learning rate."""
    for number in range(first, stop):
        set_gradients(optimizer.parameters, number)
        optimizer.step(rate(number))


def rate(number: int) -> float:
    """A learning rate that is another one at every step."""
    return LR * (1.0 + 0.1 * (number % 7))


def assert_same(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> None:
    """The same names and the same bits."""
    assert list(expected) == list(actual)
    assert [] == [name for name in expected if not torch.equal(expected[name], actual[name])]


class Reference:
    """One tensor under Adam, cell by cell, in float64: every cell carries its own moments and its own age."""

    def __init__(self, value: Array, options: OptimizerSettings) -> None:
        self.options = options
        self.value = value.copy()
        self.first, self.second = np.zeros_like(value), np.zeros_like(value)
        self.age = np.zeros(value.shape, dtype=np.int64)

    def step(self, gradient: Array, lr: float) -> None:
        for cell in np.ndindex(self.value.shape):
            self._step_cell(cell, float(gradient[cell]), lr)

    def _step_cell(self, cell: tuple[int, ...], gradient: float, lr: float) -> None:
        (b1, b2), decay = self.options.betas, self.options.weight_decay
        if self.age[cell] + 1 < self.options.warmup:
            lr *= ((self.age[cell] + 1) / self.options.warmup) ** 2
        if self.options.kind == "adamw":
            self.value[cell] -= lr * decay * self.value[cell]
        else:
            gradient += decay * self.value[cell]
        self.age[cell] += 1
        self.first[cell] = b1 * self.first[cell] + (1 - b1) * gradient
        self.second[cell] = b2 * self.second[cell] + (1 - b2) * gradient**2
        first = self.first[cell] / (1 - b1 ** self.age[cell])
        second = self.second[cell] / (1 - b2 ** self.age[cell])
        self.value[cell] -= lr * first / (np.sqrt(second) + self.options.eps)

    def grow(self, axis: int, at: list[int], newcomers: Array) -> None:
        """Insert new rows or columns before the positions `at` of the old array."""
        self.value = np.insert(self.value, at, newcomers, axis)
        self.first = np.insert(self.first, at, 0.0, axis)
        self.second = np.insert(self.second, at, 0.0, axis)
        self.age = np.insert(self.age, at, 0, axis)


def insert(old: Tensor, axis: int, at: list[int], new: Tensor | int = 0) -> Tensor:
    """`np.insert` for tensors."""
    value = new if isinstance(new, int) else new.numpy()
    return torch.from_numpy(np.insert(old.detach().numpy(), at, value, axis))


def grow(optimizer: Optimizer, axes: Mapping[str, Mapping[int, list[int]]], seed: int) -> Optimizer:
    """What the compiler does: new tensors with newcomers of moment 0 and age 0, and a new optimizer."""
    state = optimizer.state()
    parameters = {name: parameter.detach() for name, parameter in optimizer.parameters.items()}
    for name, changes in axes.items():
        for axis, at in changes.items():
            parameters[name] = insert(parameters[name], axis, at, newcomers(parameters[name], axis, at, seed))
            for moment in (key for key in state if key.startswith(f"{name}:") and ":age." not in key):
                state[moment] = insert(state[moment], axis, at)
            age = f"{name}:age.{('rows', 'columns')[axis]}"
            if age in state:
                state[age] = insert(state[age], 0, at)
    grown = make_optimizer({name: Parameter(p) for name, p in parameters.items()}, optimizer.settings)
    grown.load(state)
    return grown


def newcomers(old: Tensor, axis: int, at: list[int], seed: int) -> Tensor:
    """Values of the new rows or columns, the same for the reference and for the optimizer."""
    generator = torch.Generator().manual_seed(seed)
    shape = [len(at) if dim == axis else size for dim, size in enumerate(old.shape)]
    return torch.randn(shape, generator=generator, dtype=old.dtype)


GROWTHS: list[tuple[int, dict[str, dict[int, list[int]]]]] = [
    (4, {"dense.weight": {1: [7, 7]}, "conv.weight": {0: [4, 4]}, "norm.weight": {0: [17, 17]}}),
    (9, {"dense.weight": {0: [5], 1: [0, 3]}, "conv.weight": {0: [1], 1: [3, 3]}, "norm.weight": {0: [5]}}),
    (10, {"conv.weight": {1: [0]}, "point.weight": {1: [5, 5, 5]}}),
    (16, {"dense.weight": {0: [6, 6]}, "conv.weight": {0: [7], 1: [6]}, "point.weight": {0: [2]}}),
]


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize(
    ("small", "warmup"), [(0, 0.0), (0, 4.5), (40, 0.0), (40, 7.0), (2048, 0.0), (2048, 4.5)]
)
def test_follows_the_per_cell_reference_while_rows_and_columns_grow(
    kind: Kind, decay: float, layout: str, small: int, warmup: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters and moments equal those of a per-cell Adam through four growths at different steps.

    `small` decides which tensors are handled in slabs and blocks and which are sorted cell by cell; with
    a `warmup` every cell has a rate of its own.
    """
    monkeypatch.setattr(optimizer_layout, "SMALL", small)
    options = OptimizerSettings(kind, LR, betas=(0.8, 0.95), weight_decay=decay, warmup=warmup)
    optimizer = make_optimizer(make_parameters(SHAPES), options)
    references = {n: Reference(p.detach().numpy(), options) for n, p in optimizer.parameters.items()}
    start = 0
    for stop, axes in [*GROWTHS, (25, {})]:
        change_layout(optimizer, layout)
        for number in range(start, stop):
            walk(optimizer, number, number + 1)
            for name, parameter in optimizer.parameters.items():
                assert parameter.grad is not None
                references[name].step(parameter.grad.numpy(), rate(number))
        assert_follows(references, optimizer)
        for name, changes in axes.items():
            for axis, at in changes.items():
                old = torch.from_numpy(references[name].value)
                references[name].grow(axis, at, newcomers(old, axis, at, stop).numpy())
        optimizer, start = grow(optimizer, axes, stop), stop


def change_layout(optimizer: Optimizer, layout: str) -> None:
    """Move the parameters' memory, as `module.to(memory_format=...)` does."""
    for parameter in optimizer.parameters.values():
        if layout == "channels_last" and parameter.dim() == 4:
            parameter.data = parameter.detach().contiguous(memory_format=torch.channels_last)
        if layout == "transposed" and parameter.dim() >= 2:
            parameter.data = parameter.detach().transpose(0, 1).contiguous().transpose(0, 1)


def assert_follows(references: Mapping[str, Reference], optimizer: Optimizer) -> None:
    """Values, moments and ages agree with the references."""
    state = optimizer.state()
    for name, reference in references.items():
        close(reference.value, optimizer.parameters[name].detach().numpy())
        close(reference.first, state[f"{name}:exp_avg"].numpy())
        close(reference.second, state[f"{name}:exp_avg_sq"].numpy())
        rows = state[f"{name}:age.rows"].numpy()
        columns = state.get(f"{name}:age.columns")
        age = rows if columns is None else np.minimum(rows[:, None], columns.numpy()[None])
        cells = reference.age.reshape(*age.shape, -1)
        assert np.array_equal(np.broadcast_to(age[..., None], cells.shape), cells)


def close(expected: Array, actual: Array) -> None:
    """Equal but for the rounding of float64."""
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-14)


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


def reloaded(optimizer: Optimizer) -> Optimizer:
    """A new optimizer over new parameters of the same values and layout."""
    copies = {name: Parameter(parameter.detach().clone()) for name, parameter in optimizer.parameters.items()}
    fresh = make_optimizer(copies, optimizer.settings)
    fresh.load(optimizer.state())
    return fresh


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


def gradient_of(optimizer: Optimizer, name: str) -> Tensor:
    """A copy of the parameter's gradient."""
    gradient = optimizer.parameters[name].grad
    assert gradient is not None
    return gradient.clone()


def step_torch(optimizer: torch.optim.Optimizer, number: int) -> None:
    """One step at the learning rate of that step."""
    optimizer.param_groups[0]["lr"] = rate(number)
    optimizer.step()


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("small", "warmup"), [(0, 0.0), (0, 30.0), (2048, 0.0), (2048, 30.0)])
def test_saving_and_loading_at_any_step_changes_no_bit(
    kind: Kind, dtype: torch.dtype, small: int, warmup: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grown optimizer that is saved and loaded goes on with the same bits, past the horizon of ages too."""
    monkeypatch.setattr(optimizer_layout, "SMALL", small)
    options = OptimizerSettings(kind, LR, betas=(0.3, 0.4), weight_decay=0.01, warmup=warmup)
    straight, stopped = (grown_optimizer(options, dtype) for _ in range(2))
    for number in range(20, 70):
        walk(straight, number, number + 1)
        walk(stopped, number, number + 1)
        if number % 3 == 0:
            stopped = reloaded(stopped)
    assert_same(straight.parameters, stopped.parameters)
    assert_same(straight.state(), stopped.state())


def grown_optimizer(options: OptimizerSettings, dtype: torch.dtype = torch.float64) -> Optimizer:
    """An optimizer after 20 steps and the four growths."""
    optimizer = make_optimizer(make_parameters(SHAPES, dtype), options)
    start = 0
    for stop, axes in GROWTHS:
        walk(optimizer, start, stop)
        optimizer, start = grow(optimizer, axes, stop), stop
    walk(optimizer, start, 20)
    return optimizer


def test_state_is_a_copy_with_the_documented_keys() -> None:
    """`state` returns contiguous copies, named and shaped as documented, that later steps leave alone."""
    conv = make_parameters({"c.weight": (2, 3, 3, 3)})["c.weight"]
    conv.data = conv.detach().contiguous(memory_format=torch.channels_last)
    optimizer = make_optimizer(
        {"c.weight": conv, **make_parameters({"b": (4,)})}, OptimizerSettings("adam", LR)
    )
    walk(optimizer, 0, 2)
    state = optimizer.state()
    kept = {key: value.clone() for key, value in state.items()}
    walk(optimizer, 2, 4)
    assert_same(kept, state)
    assert all(value.is_contiguous() and not value.requires_grad for value in state.values())
    assert {
        "c.weight:exp_avg": (2, 3, 3, 3),
        "c.weight:exp_avg_sq": (2, 3, 3, 3),
        "c.weight:age.rows": (2,),
        "c.weight:age.columns": (3,),
        "b:exp_avg": (4,),
        "b:exp_avg_sq": (4,),
        "b:age.rows": (4,),
    } == {key: tuple(value.shape) for key, value in state.items()}
    assert {2} == set(state["b:age.rows"].tolist() + state["c.weight:age.columns"].tolist())


def test_sgd_state_holds_momentum_only() -> None:
    """SGD has no ages."""
    optimizer = make_optimizer(make_parameters({"w": (2, 3)}), OptimizerSettings("sgd", LR))
    assert ["w:momentum"] == list(optimizer.state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"w:exp_avg": torch.zeros(2, 4, dtype=torch.float64)},
            "optimizer state: w:exp_avg: expected float64 [2, 3], found float64 [2, 4]",
        ),
        (
            {"w:exp_avg_sq": torch.zeros(2, 3)},
            "optimizer state: w:exp_avg_sq: expected float64 [2, 3], found float32 [2, 3]",
        ),
        (
            {"w:age.rows": torch.zeros(3, dtype=torch.int64)},
            "optimizer state: w:age.rows: expected int64 [2], found int64 [3]",
        ),
        (
            {"w:age.columns": torch.tensor([1, -1, 0])},
            "optimizer state: w:age.columns: expected ages of 0 and more, found a negative one",
        ),
        ({"w:age.rows": None}, "optimizer state: w:age.rows: missing, expected int64 [2]"),
        ({"v:exp_avg": torch.zeros(2)}, "optimizer state: v:exp_avg: float32 [2] belongs to no parameter"),
    ],
)
def test_load_refuses_what_does_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    """A missing, unknown or misshapen tensor is refused by name, and nothing has been taken over."""
    optimizer = make_optimizer(make_parameters({"w": (2, 3)}), OptimizerSettings("adam", LR))
    walk(optimizer, 0, 3)
    before = optimizer.state()
    other = {key: value + 1 for key, value in before.items()} | change
    with pytest.raises(InputError) as caught:
        optimizer.load({key: value for key, value in other.items() if value is not None})
    assert message == str(caught.value)
    assert_same(before, optimizer.state())


def test_a_parameter_without_gradient_is_skipped() -> None:
    """Neither the value nor the moments nor the ages of a parameter without gradient move."""
    optimizer = make_optimizer(make_parameters({"a": (3, 2), "b": (4,)}), OptimizerSettings("adam", LR))
    walk(optimizer, 0, 2)
    before, value = optimizer.state(), optimizer.parameters["a"].detach().clone()
    set_gradients(optimizer.parameters, 2)
    optimizer.parameters["a"].grad = None
    optimizer.step(LR)
    after = optimizer.state()
    assert torch.equal(value, optimizer.parameters["a"])
    assert_same(
        {k: v for k, v in before.items() if k[0] == "a"}, {k: v for k, v in after.items() if k[0] == "a"}
    )
    assert [3] * 4 == after["b:age.rows"].tolist()


def test_zero_grad_keeps_the_gradients_in_place() -> None:
    """Gradients become zero without being replaced, and those that are missing stay missing."""
    optimizer = make_optimizer(make_parameters({"a": (3,), "b": (4,)}), OptimizerSettings("adam", LR))
    gradient = torch.ones(3, dtype=torch.float64)
    optimizer.parameters["a"].grad = gradient
    optimizer.zero_grad()
    assert gradient is optimizer.parameters["a"].grad
    assert [0.0] * 3 == gradient.tolist()
    assert optimizer.parameters["b"].grad is None


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("small", [0, 2048])
def test_replaced_gradients_and_edited_weights_are_seen(
    kind: Kind, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New gradient tensors (also in another memory order) and weights changed from outside count."""
    monkeypatch.setattr(optimizer_layout, "SMALL", small)
    plain, odd = (grown_optimizer(OptimizerSettings(kind, LR)) for _ in range(2))
    for number in range(20, 26):
        walk(plain, number, number + 1)
        for parameter in odd.parameters.values():
            parameter.grad = None
        set_gradients(odd.parameters, number)
        for parameter in odd.parameters.values():
            assert parameter.grad is not None
            order = tuple(reversed(range(parameter.dim())))
            parameter.grad = parameter.grad.permute(order).contiguous().permute(order)
        odd.step(rate(number))
        for optimizer in (plain, odd):
            for parameter in optimizer.parameters.values():
                parameter.data.mul_(0.5)
    assert_same(plain.parameters, odd.parameters)


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


def test_empty_tensors_are_carried_along() -> None:
    """A tensor without cells costs nothing, and the ages of its rows advance."""
    optimizer = make_optimizer(make_parameters({"w": (3, 0), "v": (0, 2)}), OptimizerSettings("adam", LR))
    walk(optimizer, 0, 2)
    assert [2, 2, 2] == optimizer.state()["w:age.rows"].tolist()
    assert [2, 2] == optimizer.state()["v:age.columns"].tolist()


def test_check_holds_finds_a_replaced_parameter() -> None:
    """A parameter that the module replaced, lost or gained is reported by name."""
    parameters = make_parameters({"a": (3,), "b": (4,)})
    optimizer = make_optimizer(parameters, OptimizerSettings("adam", LR))
    optimizer.check_holds(parameters)
    other = Parameter(torch.zeros(4))
    for wrong in ({**parameters, "b": other}, {"a": parameters["a"]}, {**parameters, "b2": other}):
        with pytest.raises(RuntimeError, match=r"'b2?'"):
            optimizer.check_holds(wrong)


def test_impossible_settings_are_refused() -> None:
    """A beta of 1, an unknown kind and a parameter under two names are refused."""
    with pytest.raises(InputError, match=r"train\.betas: expected two numbers in \[0, 1\)"):
        OptimizerSettings("adam", LR, betas=(0.9, 1.0))
    settings_of_unknown_kind = replace(OptimizerSettings("adam", LR), kind="lion")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected adam, adamw or sgd, found lion"):
        make_optimizer({}, settings_of_unknown_kind)
    parameter = Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="two names"):
        make_optimizer({"a": parameter, "b": parameter}, OptimizerSettings("adam", LR))


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


AGES = st.lists(st.integers(0, 4), min_size=1, max_size=8)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(rows=AGES, columns=AGES)
def test_slabs_and_blocks_cover_every_cell_with_its_age(rows: list[int], columns: list[int]) -> None:
    """Slabs overwritten by young blocks, and all blocks alone, paint every cell with min(row, column)."""
    expected = np.minimum.outer(rows, columns)
    painted = np.full(expected.shape, -1)
    for span, age in row_slabs(rows, columns):
        painted[slice(*span)] = age
    for block in young_blocks(rows, columns):
        cells = painted[slice(*block.rows), slice(*block.columns)]
        assert (cells > block.age).all(), "a block must be needed"
        cells[:] = block.age
    assert np.array_equal(expected, painted)
    whole = np.full(expected.shape, -1)
    for block in all_blocks(rows, columns):
        whole[slice(*block.rows), slice(*block.columns)] = block.age
    assert np.array_equal(expected, whole)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.0), (0.95, 0.9), (0.9, 0.99999)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_the_horizon_on_the_corrections_are_one(
    betas: tuple[float, float], dtype: type[np.float32] | type[np.float64]
) -> None:
    """At the horizon both bias corrections round to 1, and at two thirds of it one of them does not."""
    age = horizon(betas, float(np.finfo(dtype).eps))
    assert [1.0, 1.0] == [float(dtype(1.0 - beta**age)) for beta in betas]
    if max(betas) > 0.5:
        assert 1.0 > min(float(dtype(1.0 - beta ** (2 * age // 3))) for beta in betas)


@pytest.mark.parametrize(
    ("rows", "columns", "count"),
    [
        ([5, 5, 1, 0], [5, 5, 5], 3),  # a slab for each age of rows
        ([5, 5, 5, 5], [5, 5, 1], 2),  # a slab and a pack
        ([5, 5, 1, 0], [0, 0, 0], 1),  # rows cannot be older than all their columns
        ([5000, 5000, 4000, 3000], [5000, 4000, 5000], 1),  # beyond the horizon all are alike
    ],
)
def test_cells_are_handed_over_in_as_few_pieces_as_ages_allow(
    rows: list[int], columns: list[int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of kernel entries follows the ages in sight, so that a long search does not slow down."""
    monkeypatch.setattr(optimizer_layout, "SMALL", 0)
    parameter = Parameter(torch.zeros(4, 3))
    parameter.grad = torch.zeros(4, 3)
    slot = Slot(parameter, [torch.zeros(4, 3)], torch.tensor(rows), torch.tensor(columns))
    (group,) = make_layout([slot], (0.3, 0.4)).groups
    (entries,) = group.entries.values()
    assert count == len(entries.parameters)


def test_moved_memory_is_seen() -> None:
    """Parameters whose memory is replaced between two steps, as by `module.to`, go on with the same bits."""
    plain, moved = (grown_optimizer(OptimizerSettings("adam", LR)) for _ in range(2))
    for number in range(20, 26):
        walk(plain, number, number + 1)
        walk(moved, number, number + 1)
        for parameter in moved.parameters.values():
            parameter.data = parameter.detach().clone()
            assert parameter.grad is not None
            parameter.grad.data = parameter.grad.detach().clone()
    assert_same(plain.parameters, moved.parameters)


def test_no_gradient_anywhere_is_no_step() -> None:
    """A step without any gradient changes nothing and does not fail."""
    optimizer = make_optimizer(make_parameters({"a": (3,)}), OptimizerSettings("adam", LR))
    optimizer.step(LR)
    assert [0, 0, 0] == optimizer.state()["a:age.rows"].tolist()


def test_lr_of_the_settings_is_the_default() -> None:
    """A step without a learning rate takes the one of the settings."""
    with_default, explicit = (
        make_optimizer(make_parameters({"a": (3,)}), OptimizerSettings("sgd", LR)) for _ in range(2)
    )
    for optimizer in (with_default, explicit):
        set_gradients(optimizer.parameters, 0)
    with_default.step()
    explicit.step(LR)
    assert_same(explicit.parameters, with_default.parameters)


def test_a_warm_up_longer_than_the_horizon_of_ages_goes_on() -> None:
    """Small betas forget ages after 42 steps; over 80 rates still rise, for each cell by its own age."""
    options = OptimizerSettings("adam", LR, betas=(0.3, 0.4), warmup=80.0)
    optimizer = make_optimizer(make_parameters({"w": (3, 2)}), options)
    reference = Reference(optimizer.parameters["w"].detach().numpy(), options)
    for number in range(90):
        if number == 10:
            old = torch.from_numpy(reference.value)
            reference.grow(0, [3], newcomers(old, 0, [3], 1).numpy())
            optimizer = grow(optimizer, {"w": {0: [3]}}, 1)
        walk(optimizer, number, number + 1)
        reference.step(gradient_of(optimizer, "w").numpy(), rate(number))
    assert_follows({"w": reference}, optimizer)
