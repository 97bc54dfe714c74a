"""Moving the kept cells of a tensor to their new places, one index map an axis.

A growing network moves thousands of small tensors, each with several moments that share their maps. So a
map is looked at once, vectors go together in one gather, and where what stays of a matrix is one stretch
an axis, which is the rule, it is one copy and no index is gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nhnas.compiler.marks import NEW, IndexMap
from nhnas.compiler.tensor_kinds import by_kind


@dataclass(frozen=True, slots=True)
class AxisMove:
    """One axis of `size` new indices: `kept` of them come from `old` and go to `new`.

    Each is a slice where it is one stretch, else the indices themselves, int64 [kept]. `fresh` are the
    indices to which nothing goes (`fresh_places` the same, as a slice where it is one stretch), `has_new`
    whether one of them is marked NEW.
    """

    size: int
    kept: int
    old: slice | Tensor
    new: slice | Tensor
    fresh: IndexMap
    fresh_places: slice | Tensor
    has_new: bool


class AxisMoves:
    """The moves of index maps, each made once; maps are told apart by identity and are kept alive."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[IndexMap, AxisMove]] = {}
        self._together: dict[int, tuple[tuple[IndexMap, ...], tuple[AxisMove, ...]]] = {}

    def of(self, maps: tuple[IndexMap, ...]) -> tuple[AxisMove, ...]:
        """The move of each map."""
        found = self._together.get(id(maps))
        if found is None:
            found = self._together[id(maps)] = (maps, tuple([self.one(index) for index in maps]))
        return found[1]

    def one(self, index: IndexMap) -> AxisMove:
        """The move of one map."""
        found = self._made.get(id(index))
        if found is None:
            found = self._made[id(index)] = (index, _axis_move(index))
        return found[1]


def _axis_move(index: IndexMap) -> AxisMove:
    kept = index >= 0
    count = int(np.count_nonzero(kept))
    places: IndexMap | slice
    if bool(kept[:count].all()):  # what is new comes last: growth's own way
        places, fresh = slice(0, count), np.arange(count, index.size)
    else:
        (places,), (fresh,) = np.nonzero(kept), np.nonzero(~kept)
    return AxisMove(
        size=index.size,
        kept=count,
        old=_stretch(index[places]),
        new=places if isinstance(places, slice) else _stretch(places),
        fresh=fresh,
        fresh_places=_stretch(fresh),
        has_new=bool((index[fresh] == NEW).any()),
    )


def _stretch(indices: IndexMap) -> slice | Tensor:
    """The same indices as a slice where each is one more than the one before."""
    if indices.size == 0:
        return slice(0, 0)
    first = int(indices[0])
    if int(indices[-1]) - first == indices.size - 1 and bool((indices[1:] > indices[:-1]).all()):
        return slice(first, first + indices.size)
    return torch.from_numpy(indices.copy())  # maps are frozen, which torch warns of


def moved(old: Tensor, moves: Sequence[AxisMove], fill: float) -> Tensor:
    """Kept cells of `old` at their new places, `fill` elsewhere; always a new contiguous tensor."""
    block = old
    for axis, move in enumerate(moves):
        if not isinstance(move.old, slice):
            block = block.index_select(axis, move.old.to(block.device))
        elif move.kept != old.shape[axis]:
            block = block.narrow(axis, move.old.start, move.kept)
    sizes = [move.size for move in moves]
    if list(block.shape) == sizes and all(isinstance(move.new, slice) for move in moves):
        return block.clone(memory_format=torch.contiguous_format)
    if (margins := _margins(moves)) is not None:
        return torch.constant_pad_nd(block, margins, fill).contiguous()
    target = result = old.new_full(sizes, fill)
    for axis, move in enumerate(moves):
        if not isinstance(move.new, slice):
            shape = [move.size if a == axis else n for a, n in enumerate(block.shape)]
            block = block.new_full(shape, fill).index_copy_(axis, move.new.to(old.device), block)
        elif move.kept != move.size:
            target = target.narrow(axis, move.new.start, move.kept)
    target.copy_(block)
    return result


def _margins(moves: Sequence[AxisMove]) -> list[int] | None:
    """New cells before and after what is kept, last axis first, where it is one stretch in each axis."""
    margins = list[int]()
    for move in reversed(moves):
        if not isinstance(move.new, slice):
            return None
        margins += (move.new.start, move.size - move.new.stop)
    return margins


def moved_vectors(
    olds: Sequence[Tensor], maps: Sequence[IndexMap], ones: Sequence[bool] | None = None
) -> list[Tensor]:
    """`moved` for vectors, all at once; new cells are 1 where `ones` says so, else 0.

    Each result is contiguous and new, but those of one kind lie in one piece of memory.
    """
    result = list[Tensor](olds)
    for places in by_kind(olds):
        fills = [ones is not None and ones[i] for i in places]
        found = _gathered([olds[i] for i in places], [maps[i] for i in places], fills)
        for place, tensor in zip(places, found, strict=True):
            result[place] = tensor
    return result


def _gathered(olds: list[Tensor], maps: list[IndexMap], ones: list[bool]) -> Sequence[Tensor]:
    """One gather from all old cells laid end to end, with a 0 and a 1 behind them for the new ones."""
    ends = np.cumsum([old.shape[0] for old in olds])
    sizes = [index.size for index in maps]
    starts = np.repeat(np.concatenate([[0], ends[:-1]]), sizes)
    index = np.concatenate(maps)
    index = np.where(index < 0, ends[-1] + np.repeat(ones, sizes), index + starts)
    cells = torch.cat([*olds, torch.tensor([0, 1], dtype=olds[0].dtype, device=olds[0].device)])
    return torch.split(cells.index_select(0, torch.from_numpy(index).to(cells.device)), sizes)
