"""Applying a recipe: weights, norm statistics, optimizer moments and ages follow the architecture.

Legend: O outputs, I inputs (features), k kernel size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nhnas.compiler.axis_moves import AxisMoves, moved
from nhnas.compiler.keyed_random import key_of, uniform
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
    shared = moves or AxisMoves()
    return {name: _weight(plan, old, like, (seed, parent), shared) for name, plan in plans.items()}


def remap_optimizer(
    plans: Mapping[str, TensorPlan], old: Mapping[str, Tensor], moves: AxisMoves | None = None
) -> dict[str, Tensor]:
    """The optimizer's entries `<tensor>:<field>` of the new network; newcomers have moment and age 0.

    Tensors that start anew have no entry: the optimizer begins them afresh.
    """
    fields: dict[str, list[str]] = {}
    for key in old:
        name, _, field = key.rpartition(":")
        fields.setdefault(name, []).append(field)
    result, shared = {}, moves or AxisMoves()
    for plan in plans.values():
        for field in fields.get(plan.source or "", ()) if plan.trained and plan.source else ():
            key = f"{plan.name}:{field}"
            result[key] = _moved(old[f"{plan.source}:{field}"], _field_maps(plan, field), 0, shared)
    return result


def _field_maps(plan: TensorPlan, field: str) -> tuple[IndexMap, ...]:
    if field == AGE_ROWS:
        return plan.maps[:1]
    return plan.maps[1:2] if field == AGE_COLUMNS else plan.maps


def _moved(old: Tensor, maps: tuple[IndexMap, ...], fill: float, moves: AxisMoves) -> Tensor:
    return moved(old, moves.of(maps), fill)


def _weight(
    plan: TensorPlan, old: Mapping[str, Tensor], like: Tensor, key: tuple[int, str], moves: AxisMoves
) -> Tensor:
    if not plan.maps:
        kept = None if plan.source is None else old[plan.source].clone()
        return torch.zeros((), dtype=torch.int64, device=like.device) if kept is None else kept
    if plan.source is not None:
        result = _moved(old[plan.source], plan.maps, 1.0 if plan.fill == "one" else 0.0, moves)
    else:
        shape = [index.size for index in plan.maps]
        result = torch.full(shape, 1.0 if plan.fill == "one" else 0.0, dtype=like.dtype, device=like.device)
    if plan.fill == "random":
        _draw(result, plan, key)
    elif plan.name.endswith(".norm.weight"):
        result[torch.from_numpy(plan.maps[0] == QUIET).to(result.device)] = 0.0
    return result


def _draw(result: Tensor, plan: TensorPlan, key: tuple[int, str]) -> None:
    """Fill the RANDOM cells (and identities) of a weight or a bias in place; QUIET rows are 0.

    Only new rows are drawn; a column that a leaf was born with occurs beside new rows alone, since
    the leaf's rows were all new at its birth.
    """
    rows = plan.maps[0]
    (new,) = np.nonzero(rows < 0)
    if new.size == 0:
        return
    width = int(np.prod([index.size for index in plan.maps[1:]], dtype=np.int64))
    values = uniform(key_of(*key, plan.name), new, np.arange(width, dtype=np.int64)) * plan.bound
    values = values.reshape(new.size, *(index.size for index in plan.maps[1:]))
    for axis, index in enumerate(plan.maps[1:], start=1):
        shape = [-1 if a == axis else 1 for a in range(values.ndim)]
        values = np.where((index == NEW).reshape(shape), 0.0, values)
    _set_identity(values, rows[new], plan.maps)
    values[rows[new] == QUIET] = 0.0
    target = torch.from_numpy(new).to(result.device)
    result[target] = torch.from_numpy(values).to(result.device, result.dtype)


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
