"""The optimizer beside a module: gradients missing or replaced, memory moved, settings refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import Parameter

from nhnas.spec.errors import InputError
from nhnas.trainer import optimizer_layout
from nhnas.trainer.optimizer import OptimizerSettings, make_optimizer
from tests.walked_optimizer import (
    LR,
    Kind,
    assert_same,
    grown_optimizer,
    make_parameters,
    rate,
    set_gradients,
    walk,
)


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
