"""Moving the kept cells of a tensor to their new places, one index map an axis.

A growing network moves thousands of small tensors, each with several moments that share their maps, so a
map is looked at once, and where what stays is one stretch, which is the rule, no index is gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nhnas.compiler.marks import IndexMap

ALL = slice(None)


@dataclass(frozen=True, slots=True)
class AxisMove:
    """One axis of `size` new indices: what is kept comes from `old` and goes to `new`.

    Each is a slice where it is one stretch, else the indices themselves, int64 [kept].
    """

    size: int
    old: slice | Tensor
    new: slice | Tensor

    def is_whole(self, old_size: int) -> bool:
        """Whether every old index stays where it is and none comes."""
        if old_size != self.size or not isinstance(self.old, slice) or not isinstance(self.new, slice):
            return False
        return self.old == self.new == slice(0, self.size)


class AxisMoves:
    """The moves of index maps, each made once; maps are told apart by identity and are kept alive."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[IndexMap, AxisMove]] = {}

    def of(self, maps: Sequence[IndexMap]) -> tuple[AxisMove, ...]:
        """The move of each map."""
        return tuple(self._of(index) for index in maps)

    def _of(self, index: IndexMap) -> AxisMove:
        found = self._made.get(id(index))
        if found is None:
            found = self._made[id(index)] = (index, _axis_move(index))
        return found[1]


def _axis_move(index: IndexMap) -> AxisMove:
    (places,) = np.nonzero(index >= 0)
    return AxisMove(index.size, _stretch(index[places]), _stretch(places))


def _stretch(indices: IndexMap) -> slice | Tensor:
    if indices.size == 0:
        return slice(0, 0)
    first = int(indices[0])
    if (indices == np.arange(first, first + indices.size)).all():
        return slice(first, first + indices.size)
    return torch.from_numpy(indices)


def moved(old: Tensor, moves: Sequence[AxisMove], fill: float) -> Tensor:
    """Kept cells of `old` at their new places, `fill` elsewhere; always a new contiguous tensor."""
    if all(move.is_whole(size) for move, size in zip(moves, old.shape, strict=True)):
        return old.clone(memory_format=torch.contiguous_format)
    block = old[tuple(move.old if isinstance(move.old, slice) else ALL for move in moves)]
    for axis, move in enumerate(moves):
        if not isinstance(move.old, slice):
            block = block.index_select(axis, move.old.to(old.device))
    for axis, move in enumerate(moves):
        if not isinstance(move.new, slice):
            shape = [move.size if a == axis else n for a, n in enumerate(block.shape)]
            block = block.new_full(shape, fill).index_copy_(axis, move.new.to(old.device), block)
    result = old.new_full([move.size for move in moves], fill)
    result[tuple(move.new if isinstance(move.new, slice) else ALL for move in moves)] = block
    return result
