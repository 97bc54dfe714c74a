"""The optimizer that knows each cell's age, against a slow per-cell reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import Parameter

from nhnas.trainer import optimizer_layout
from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer
from nhnas.trainer.optimizer_ages import all_blocks, horizon, row_slabs, young_blocks
from nhnas.trainer.optimizer_layout import Slot, make_layout
from tests.reference_optimizer import Reference, assert_follows
from tests.walked_optimizer import (
    GROWTHS,
    LR,
    SHAPES,
    Kind,
    gradient_of,
    grow,
    make_parameters,
    newcomers,
    rate,
    walk,
)


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
