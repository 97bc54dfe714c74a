"""Random parameters under the optimizer, which is walked step by step, grown and reloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer

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


def grown_optimizer(options: OptimizerSettings, dtype: torch.dtype = torch.float64) -> Optimizer:
    """An optimizer after 20 steps and the four growths."""
    optimizer = make_optimizer(make_parameters(SHAPES, dtype), options)
    start = 0
    for stop, axes in GROWTHS:
        walk(optimizer, start, stop)
        optimizer, start = grow(optimizer, axes, stop), stop
    walk(optimizer, start, 20)
    return optimizer


def reloaded(optimizer: Optimizer) -> Optimizer:
    """A new optimizer over new parameters of the same values and layout."""
    copies = {name: Parameter(parameter.detach().clone()) for name, parameter in optimizer.parameters.items()}
    fresh = make_optimizer(copies, optimizer.settings)
    fresh.load(optimizer.state())
    return fresh


def gradient_of(optimizer: Optimizer, name: str) -> Tensor:
    """A copy of the parameter's gradient."""
    gradient = optimizer.parameters[name].grad
    assert gradient is not None
    return gradient.clone()
