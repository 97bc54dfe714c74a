"""Applying a recipe: weights, norm statistics, optimizer moments and ages follow the architecture.

Legend: O outputs, I inputs (features), k kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nhnas.compiler.axis_moves import AxisMoves, moved, moved_vectors
from nhnas.compiler.keyed_random import Draw, key_of, uniforms
from nhnas.compiler.marks import IDENTITY, NEW, QUIET, IndexMap
from nhnas.compiler.tensor_plan import TensorPlan

AGE_ROWS, AGE_COLUMNS = "age.rows", "age.columns"


def remap_weights(
    plans: Mapping[str, TensorPlan],
    old: Mapping[str, Tensor],
    *,
    seed: int,
    parent: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    moves: AxisMoves | None = None,
) -> dict[str, Tensor]:
    """Every tensor of the new network.

    A random value is a function of `seed`, `parent` (the snapshot grown from), the tensor's name and
    the cell's final row and column alone. `dtype` and `device` serve a network without old tensors; `moves`
    may be shared with `remap_optimizer`.
    """
    like = next(
        (t for t in old.values() if t.is_floating_point()), torch.empty(0, dtype=dtype, device=device)
    )
    shared, vectors = moves or AxisMoves(), _vectors(plans, old)
    found = {name: _weight(plan, old, vectors.get(name), like, shared) for name, plan in plans.items()}
    _draw(
        [(plan, found[name]) for name, plan in plans.items() if plan.fill == "random"], seed, parent, shared
    )
    return found


def _vectors(plans: Mapping[str, TensorPlan], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every vector that was there before, with its kept cells."""
    kept = [plan for plan in plans.values() if plan.source is not None and len(plan.maps) == 1]
    olds = [old[plan.source] for plan in kept if plan.source is not None]
    found = moved_vectors(olds, [plan.maps[0] for plan in kept], [plan.fill == "one" for plan in kept])
    return {plan.name: tensor for plan, tensor in zip(kept, found, strict=True)}


def remap_optimizer(
    plans: Mapping[str, TensorPlan], old: Mapping[str, Tensor], moves: AxisMoves | None = None
) -> dict[str, Tensor]:
    """The optimizer's entries `<tensor>:<field>` of the new network; newcomers have moment and age 0.

    Tensors that start anew have no entry: the optimizer begins them afresh. No memory is shared with `old`.
    """
    heirs = {plan.source: plan for plan in plans.values() if plan.trained and plan.source is not None}
    result, shared = dict[str, Tensor](), moves or AxisMoves()
    vectors: list[tuple[str, Tensor, IndexMap]] = []
    for key, entry in old.items():
        name, _, field = key.rpartition(":")
        if (plan := heirs.get(name)) is None:
            continue
        maps, new_key = _field_maps(plan, field), f"{plan.name}:{field}"
        if len(maps) == 1:
            vectors.append((new_key, entry, maps[0]))
        else:
            result[new_key] = _moved(entry, maps, 0, shared)
    keys, olds, indices = zip(*vectors, strict=True) if vectors else ((), (), ())
    result.update(zip(keys, moved_vectors(olds, indices), strict=True))
    return result


def _field_maps(plan: TensorPlan, field: str) -> tuple[IndexMap, ...]:
    if field == AGE_ROWS:
        return plan.maps[:1]
    return plan.maps[1:2] if field == AGE_COLUMNS else plan.maps


def _moved(old: Tensor, maps: tuple[IndexMap, ...], fill: float, moves: AxisMoves) -> Tensor:
    return moved(old, moves.of(maps), fill)


def _weight(
    plan: TensorPlan, old: Mapping[str, Tensor], vector: Tensor | None, like: Tensor, moves: AxisMoves
) -> Tensor:
    """One tensor, not yet drawn; `vector` is what is kept of it, where it is one that was there before."""
    if not plan.maps:
        kept = None if plan.source is None else old[plan.source].clone()
        return torch.zeros((), dtype=torch.int64, device=like.device) if kept is None else kept
    result = _kept(plan, old, vector, like, moves)
    if plan.source is None and plan.name.endswith(".norm.weight"):
        result[torch.from_numpy(plan.maps[0] == QUIET).to(result.device)] = 0.0
    return result


def _kept(
    plan: TensorPlan, old: Mapping[str, Tensor], vector: Tensor | None, like: Tensor, moves: AxisMoves
) -> Tensor:
    """A tensor with its kept cells in their places; new ones have the plan's constant."""
    fill = 1.0 if plan.fill == "one" else 0.0
    if vector is not None:
        return vector
    if plan.source is not None:
        return _moved(old[plan.source], plan.maps, fill, moves)
    shape = [index.size for index in plan.maps]
    return torch.full(shape, fill, dtype=like.dtype, device=like.device)


def _draw(tensors: Sequence[tuple[TensorPlan, Tensor]], seed: int, parent: str, moves: AxisMoves) -> None:
    """Fill the RANDOM cells (and identities) of weights and biases in place; QUIET rows are 0.

    Only new rows are drawn; a column that a leaf was born with occurs beside new rows alone, since
    the leaf's rows were all new at its birth.
    """
    new = [(plan, result) for plan, result in tensors if moves.one(plan.maps[0]).fresh.size]
    draws = (
        Draw(key_of(seed, parent, plan.name), moves.one(plan.maps[0]).fresh, math.prod(result.shape[1:]))
        for plan, result in new
    )
    for (plan, result), values in zip(new, uniforms(draws), strict=True):
        values *= plan.bound
        _place(result, plan, values, moves)


def _place(result: Tensor, plan: TensorPlan, values: np.ndarray, moves: AxisMoves) -> None:
    """Put the values of new rows [new, columns] into a tensor, where they are not fixed by a mark."""
    rows, *others = moves.of(plan.maps)
    marks = plan.maps[0][rows.fresh]
    values = values.reshape(rows.fresh.size, *result.shape[1:])
    for axis, move in enumerate(others, start=1):
        if move.has_new:
            values[(slice(None),) * axis + (plan.maps[axis] == NEW,)] = 0.0
    if (marks != NEW).any():
        _set_identity(values, marks, plan.maps)
        values[marks == QUIET] = 0.0
    drawn, target = torch.from_numpy(values), rows.fresh_places
    if isinstance(target, slice):
        result[target].copy_(drawn)
    else:
        result[target.to(result.device)] = drawn.to(result.device, result.dtype)


def _set_identity(values: np.ndarray, rows: IndexMap, maps: tuple[IndexMap, ...]) -> None:
    """Cells between an identity row and an identity column: 1 in the middle on the diagonal, else 0."""
    if len(maps) < 2 or not (maps[1] <= IDENTITY).any():
        return
    born = (rows <= IDENTITY)[:, None] & (maps[1] <= IDENTITY)[None, :]
    ones = born & (rows[:, None] == maps[1][None, :])
    values[born] = 0.0
    if len(maps) == 2:
        values[ones] = 1.0
    else:
        values[ones, len(maps[2]) // 2, len(maps[3]) // 2] = 1.0
