"""How parameters, gradients and moments are handed to a kernel that knows one age a piece.

Rows of one age lie together in memory: such a slab is passed as it is, as a flat view. Young columns
that cross older rows do not: their cells are gathered into one pack for each age, where their moments
stay, and the updated parameters are copied back. So the extra work is in proportion to the young
columns; their cells in the slabs are computed for an age that is not theirs, and overwritten. Small
tensors of several ages (norms, biases) are gathered whole, all together: a call for each of their
slabs would cost more than their cells.

The pieces are a function of ages and layout alone, never of the history: an optimizer that was saved
and loaded goes on with the same pieces, hence with the same bits.

Shape letters: O rows (dim 0), I columns (dim 1), N cells of a piece.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import torch
from torch import Tensor

from nhnas.trainer.optimizer_ages import (
    Block,
    Span,
    all_blocks,
    horizon,
    merged,
    row_slabs,
    runs,
    young_blocks,
)
from nhnas.trainer.optimizer_kernels import Entries, Kernel, add_all
from nhnas.trainer.optimizer_transfers import Copies, Permutation, Transfer
from nhnas.trainer.schedules import warmed_up

SMALL = 2048  # cells; above, a call for each slab and block costs less than moving every cell by index


@dataclass
class Slot:
    """One parameter [O, I, ...] with its moments (same shape) and the ages of its rows and columns."""

    parameter: torch.nn.Parameter
    moments: list[Tensor]
    rows: Tensor  # int64 [O]
    columns: Tensor | None  # int64 [I]; None for vectors and scalars


@dataclass(frozen=True)
class Group:
    """The pieces of all parameters on one device and of one dtype.

    `entries` by age, as it was when they were laid out, of those that warm up; all others under None.
    """

    entries: Mapping[int | None, Entries]
    parameters: Sequence[Transfer]
    gradients: Sequence[Transfer]
    moments: Sequence[Transfer]

    def step(self, kernel: Kernel, lr: float, warmup: float, steps: int) -> None:
        """One step, `steps` after they were laid out; who is younger than `warmup` steps learns slower."""
        for transfer in (*self.gradients, *self.parameters):
            transfer.forward()
        for age, entries in self.entries.items():
            kernel(entries, lr if age is None else warmed_up(lr, age + steps, warmup))
        for transfer in self.parameters:
            transfer.backward()


@dataclass
class Layout:
    """Everything one step needs, valid for `limit` steps while parameters and gradients stay in place."""

    slots: list[Slot]
    gradients: list[Tensor | None]
    addresses: list[int]
    groups: list[Group]
    limit: float
    warmup: float = 0.0
    steps: int = 0

    def fits(self, parameters: Sequence[torch.nn.Parameter]) -> bool:
        """Whether the next step may use these views."""
        return (
            self.steps < self.limit
            and all(p.grad is g for p, g in zip(parameters, self.gradients, strict=True))
            and self.addresses == _addresses(parameters, self.gradients)
        )

    def step(self, kernel: Kernel, lr: float) -> None:
        for group in self.groups:
            group.step(kernel, lr, self.warmup, self.steps)
        self.steps += 1

    def close(self) -> None:
        """Write moments and ages back into the slots; the layout must not be used any more."""
        for group in self.groups:
            for transfer in group.moments:
                transfer.backward()
        add_all(
            [ages for slot in self.slots for ages in (slot.rows, slot.columns) if ages is not None],
            self.steps,
        )


def make_layout(slots: Sequence[Slot], betas: tuple[float, float] | None, warmup: float = 0.0) -> Layout:
    """Lay out the slots that have a gradient; `betas` None means that ages make no difference.

    `warmup`: steps over which newcomers learn slower (`trainer.schedules.warmed_up`, by age).
    """
    live = [slot for slot in slots if slot.parameter.grad is not None]
    builders = []
    for _, members in groupby(sorted(live, key=_kind), key=_kind):
        group = list(members)
        builder = _GroupBuilder(_horizon(betas, group[0].parameter.dtype), warmup)
        for slot in group:
            builder.add(slot)
        builders.append(builder)
    gradients = [slot.parameter.grad for slot in slots]
    return Layout(
        slots=live,
        gradients=gradients,
        addresses=_addresses([slot.parameter for slot in slots], gradients),
        groups=[builder.finish() for builder in builders if not builder.is_empty()],
        limit=min((builder.steps_to_change() for builder in builders), default=math.inf),
        warmup=warmup,
    )


class _GroupBuilder:
    """Collects the pieces of one group; tensors come by kind: parameter, gradient, each moment."""

    def __init__(self, horizon: int, warmup: float) -> None:
        self.horizon, self.warmup = max(horizon, math.ceil(warmup)), warmup
        self.pieces: list[Sequence[Tensor]] = []  # flat [N] each
        self.ages: list[int] = []
        self.young: dict[int, list[list[Tensor]]] = defaultdict(list)  # by age, strided views
        self.small: list[list[Tensor]] = []  # flat
        self.small_ages: list[Tensor] = []  # of every cell, in the order of memory
        self.transfers = defaultdict[int, list[Transfer]](list)  # by kind
        self.reordered = Copies()  # gradients whose memory order differs from the parameter's

    def add(self, slot: Slot) -> None:
        if slot.parameter.numel() == 0:
            return
        rows, columns = self._merged_ages(slot)
        tensors = self._tensors(slot)
        slabs, blocks = row_slabs(rows, columns), young_blocks(rows, columns)
        if not rows_are_dense(slot.parameter):
            self._add_blocks(tensors, all_blocks(rows, columns))
        elif slot.parameter.numel() <= SMALL and len(slabs) + len(blocks) > 1:
            self.small.append(self._flat(tensors))
            self.small_ages.append(_cell_ages(slot.parameter, rows, columns))
        else:
            self._add_slabs(self._flat(tensors), slabs)
            self._add_blocks(tensors, blocks)

    def finish(self) -> Group:
        self._pack_young()
        self._pack_small()
        parameters, gradients, *others = (self.transfers[kind] for kind in range(len(self.pieces[0])))
        moments = list(chain(*others))
        for transfer in moments:
            transfer.forward()
        ways = [age if age + 1 < self.warmup else None for age in self.ages]
        entries = {way: self._entries([at for at, own in enumerate(ways) if own == way]) for way in set(ways)}
        return Group(entries, parameters, [self.reordered, *gradients], moments)

    def _entries(self, chosen: Sequence[int]) -> Entries:
        lists = [list(tensors) for tensors in zip(*(self.pieces[at] for at in chosen), strict=True)]
        ages = [self.ages[at] for at in chosen]
        counter = torch.tensor(ages, dtype=torch.float32, device=lists[0][0].device)
        return Entries(lists[0], lists[1], tuple(lists[2:]), list(counter.unbind()), counter)

    def is_empty(self) -> bool:
        return not (self.pieces or self.young or self.small)

    def steps_to_change(self) -> float:
        """Steps until cells join those that count as equally old; call it after `finish`."""
        ends = (self.horizon, math.ceil(self.warmup) - 1)
        return min((end - age for end in ends for age in self.ages if age < end), default=math.inf)

    def _merged_ages(self, slot: Slot) -> tuple[list[int], list[int]]:
        rows: list[int] = slot.rows.tolist()
        columns: list[int] = [] if slot.columns is None else slot.columns.tolist()
        oldest = max(*rows, *columns, 0)
        return merged(rows, self.horizon, oldest), merged(columns, self.horizon, oldest)

    def _tensors(self, slot: Slot) -> list[Tensor]:
        parameter = slot.parameter.detach()
        gradient = slot.parameter.grad
        assert gradient is not None  # make_layout keeps live slots only
        slot.moments = [_in_order_of(parameter, moment) for moment in slot.moments]
        return [parameter, gradient.detach(), *slot.moments]

    def _flat(self, tensors: list[Tensor]) -> list[Tensor]:
        parameter, gradient, *moments = tensors
        if not _same_order(parameter, gradient):
            ordered = torch.empty_like(parameter)
            self.reordered.add(gradient, ordered)
            gradient = ordered
        return [_flat(tensor) for tensor in (parameter, gradient, *moments)]

    def _add_slabs(self, flat: list[Tensor], slabs: list[tuple[Span, int]]) -> None:
        row = flat[0].numel() // slabs[-1][0][1]
        for (start, stop), age in slabs:
            self._add_piece([tensor[start * row : stop * row] for tensor in flat], age)

    def _add_blocks(self, tensors: list[Tensor], blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.young[block.age].append([_cells(tensor, block) for tensor in tensors])

    def _add_piece(self, piece: Sequence[Tensor], age: int) -> None:
        self.pieces.append(piece)
        self.ages.append(age)

    def _pack_young(self) -> None:
        """One pack an age, in the order of the ages."""
        copies = defaultdict[int, Copies](Copies)
        for age, blocks in sorted(self.young.items(), reverse=True):
            sizes = [block[0].numel() for block in blocks]
            piece = [torch.empty(sum(sizes), dtype=t.dtype, device=t.device) for t in blocks[0]]
            for kind, pack in enumerate(piece):
                for block, part in zip(blocks, torch.split(pack, sizes), strict=True):
                    copies[kind].add(block[kind], _shaped_like(block[0], part))
            self._add_piece(piece, age)
        for kind, transfer in copies.items():
            self.transfers[kind].append(transfer)

    def _pack_small(self) -> None:
        """The cells of all small tensors, sorted by age."""
        if not self.small:
            return
        ages, order = torch.cat(self.small_ages).sort(descending=True, stable=True)
        order = order.to(self.small[0][0].device)
        packs = [Permutation(list(tensors), order) for tensors in zip(*self.small, strict=True)]
        for (start, stop), age in runs(ages.tolist()):
            self._add_piece([permutation.pack[start:stop] for permutation in packs], age)
        for kind, permutation in enumerate(packs):
            self.transfers[kind].append(permutation)


def rows_are_dense(tensor: Tensor) -> bool:
    """Whether row follows row in memory without gaps: contiguous and channels-last, but not transposed."""
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return tensor.dim() == 0 or tensor.shape[0] == 1 or tensor.stride(0) * tensor.shape[0] == expected


def _horizon(betas: tuple[float, float] | None, dtype: torch.dtype) -> int:
    # The kernels compute in float32 at least.
    return 0 if betas is None else horizon(betas, min(torch.finfo(dtype).eps, 2.0**-23))


def _addresses(parameters: Iterable[Tensor], gradients: Iterable[Tensor | None]) -> list[int]:
    # A tensor may stay the same object and get other memory (`tensor.data = ...`).
    return [tensor.data_ptr() for tensor in (*parameters, *gradients) if tensor is not None]


def _kind(slot: Slot) -> str:
    return f"{slot.parameter.device} {slot.parameter.dtype}"


def _flat(tensor: Tensor) -> Tensor:
    return tensor.as_strided((tensor.numel(),), (1,))


def _cells(tensor: Tensor, block: Block) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    rows = tensor[slice(*block.rows)]
    return rows if tensor.dim() == 1 else rows[:, slice(*block.columns)]


def _cell_ages(parameter: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """The age of every cell, int64 [N], in the order of the parameter's memory."""
    ages = torch.tensor(rows)
    if columns:
        ages = torch.minimum(ages[:, None], torch.tensor(columns))
    spread = ages.view(*ages.shape, *[1] * (parameter.dim() - ages.dim())).expand(parameter.shape)
    return _flat(torch.empty_like(parameter, dtype=torch.int64, device="cpu").copy_(spread))


def _shaped_like(block: Tensor, flat: Tensor) -> Tensor:
    """View flat [N] with the block's shape and its order in memory, which makes the copies fast."""
    order = sorted(range(block.dim()), key=block.stride, reverse=True)
    view = flat.view([block.shape[dim] for dim in order])
    return view.permute([order.index(dim) for dim in range(block.dim())])


def _same_order(a: Tensor, b: Tensor) -> bool:
    """Whether both lay their cells down in the same order; the stride of a single entry means nothing."""
    strides = zip(a.stride(), b.stride(), a.shape, strict=True)
    return all(left == right for left, right, size in strides if size != 1)


def _in_order_of(parameter: Tensor, moment: Tensor) -> Tensor:
    return moment if _same_order(parameter, moment) else torch.empty_like(parameter).copy_(moment)
