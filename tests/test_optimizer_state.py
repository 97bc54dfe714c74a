"""The optimizer's state: what it holds, how it is saved and loaded, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nhnas.spec.errors import InputError
from nhnas.trainer import optimizer_layout
from nhnas.trainer.optimizer import OptimizerSettings, make_optimizer
from tests.walked_optimizer import LR, Kind, assert_same, grown_optimizer, make_parameters, reloaded, walk


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


def test_a_parameter_of_any_name_is_loaded() -> None:
    """Also of a layer whose name ends like the key of an age."""
    parameters = {"by:age.weight": (2, 3), "by:age.bias": (2,)}
    optimizer = make_optimizer(make_parameters(parameters), OptimizerSettings("adam", LR))
    walk(optimizer, 0, 3)
    other = make_optimizer(make_parameters(parameters), OptimizerSettings("adam", LR))
    other.load(optimizer.state())
    assert_same(optimizer.state(), other.state())
