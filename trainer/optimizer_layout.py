"""How parameters, gradients and moments are handed to a kernel that knows one age a piece.

Rows of one age lie together in memory: such a slab is passed as it is, as a flat view. Young columns
that cross older rows do not: their cells are gathered into one pack for each age, where their moments
stay, and the updated parameters are copied back. So the extra work is in proportion to the young
columns; their cells in the slabs are computed for an age that is not theirs, and overwritten.

The pieces are a function of ages and layout alone, never of the history: an optimizer that was saved
and loaded goes on with the same pieces, hence with the same bits.

Shape letters: O rows (dim 0), I columns (dim 1), N cells of a piece.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from nhnas.trainer.optimizer_ages import Block, Span, all_blocks, horizon, merged, row_slabs, young_blocks
from nhnas.trainer.optimizer_kernels import Entries, Kernel, copy_all


@dataclass
class Slot:
    """One parameter [O, I, ...] with its moments (same shape) and the ages of its rows and columns."""

    parameter: torch.nn.Parameter
    moments: list[Tensor]
    rows: Tensor  # int64 [O]
    columns: Tensor | None  # int64 [I]; None for vectors and scalars


@dataclass
class Copies:
    """Pairs of views to copy, the first into the second or back."""

    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)

    def add(self, first: Tensor, second: Tensor) -> None:
        self.first.append(first)
        self.second.append(second)

    def forward(self) -> None:
        copy_all(self.second, self.first)

    def backward(self) -> None:
        copy_all(self.first, self.second)


@dataclass(frozen=True)
class Group:
    """The pieces of all parameters on one device and of one dtype."""

    entries: Entries
    parameters: Copies  # cells of young columns <-> pack
    gradients: Copies  # the same for gradients, and gradients whose memory order differs
    moments: Copies

    def step(self, kernel: Kernel, lr: float) -> None:
        self.parameters.forward()
        self.gradients.forward()
        kernel(self.entries, lr)
        self.parameters.backward()


@dataclass
class Layout:
    """Everything one step needs, valid for `limit` steps while parameters and gradients stay in place."""

    slots: list[Slot]
    gradients: list[Tensor | None]
    addresses: list[int]
    groups: list[Group]
    limit: float
    steps: int = 0

    def fits(self, parameters: Sequence[torch.nn.Parameter]) -> bool:
        """Whether the next step may use these views."""
        return (
            self.steps < self.limit
            and all(p.grad is g for p, g in zip(parameters, self.gradients, strict=True))
            and self.addresses == [p.data_ptr() for p in parameters]
        )

    def step(self, kernel: Kernel, lr: float) -> None:
        for group in self.groups:
            group.step(kernel, lr)
        self.steps += 1

    def close(self) -> None:
        """Write moments and ages back into the slots; the layout must not be used any more."""
        for group in self.groups:
            group.moments.backward()
        for slot in self.slots:
            slot.rows += self.steps
            if slot.columns is not None:
                slot.columns += self.steps


def make_layout(slots: Sequence[Slot], betas: tuple[float, float] | None) -> Layout:
    """Lay out the slots that have a gradient; `betas` None means that ages make no difference."""
    live = [slot for slot in slots if slot.parameter.grad is not None]
    builders = []
    for _, members in groupby(sorted(live, key=_kind), key=_kind):
        group = list(members)
        builder = _GroupBuilder(_horizon(betas, group[0].parameter.dtype))
        for slot in group:
            builder.add(slot)
        builders.append(builder)
    return Layout(
        slots=live,
        gradients=[slot.parameter.grad for slot in slots],
        addresses=[slot.parameter.data_ptr() for slot in slots],
        groups=[builder.finish() for builder in builders if builder.ages or builder.young],
        limit=min((builder.steps_to_horizon() for builder in builders), default=math.inf),
    )


class _GroupBuilder:
    """Collects the pieces of one group."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.pieces: list[list[Tensor]] = []  # parameter, gradient, moments: flat [N] each
        self.ages: list[int] = []
        self.young: dict[int, list[list[Tensor]]] = defaultdict(list)  # by age, strided views
        self.parameters, self.gradients, self.moments = Copies(), Copies(), Copies()

    def add(self, slot: Slot) -> None:
        if slot.parameter.numel() == 0:
            return
        rows = slot.rows.tolist()
        columns = [] if slot.columns is None else slot.columns.tolist()
        oldest = max(*rows, *columns, 0)
        rows, columns = (merged(ages, self.horizon, oldest) for ages in (rows, columns))
        tensors = self._tensors(slot)
        if rows_are_dense(slot.parameter):
            self._add_slabs(tensors, row_slabs(rows, columns))
            self._add_blocks(tensors, young_blocks(rows, columns))
        else:
            self._add_blocks(tensors, all_blocks(rows, columns))

    def steps_to_horizon(self) -> float:
        """Steps until a group of cells joins those that count as equally old."""
        ages = [age for age in (*self.ages, *self.young) if age < self.horizon]
        return self.horizon - max(ages) if ages else math.inf

    def finish(self) -> Group:
        for age in sorted(self.young, reverse=True):
            self._pack(age, self.young[age])
        parameters, gradients, *moments = (list(column) for column in zip(*self.pieces, strict=True))
        counter = torch.tensor(self.ages, dtype=torch.float32, device=parameters[0].device)
        entries = Entries(parameters, gradients, tuple(moments), list(counter.unbind()), counter)
        return Group(entries, self.parameters, self.gradients, self.moments)

    def _tensors(self, slot: Slot) -> list[Tensor]:
        parameter = slot.parameter.detach()
        gradient = slot.parameter.grad
        assert gradient is not None  # make_layout keeps live slots only
        slot.moments = [_in_order_of(parameter, moment) for moment in slot.moments]
        return [parameter, gradient.detach(), *slot.moments]

    def _add_slabs(self, tensors: list[Tensor], slabs: Iterable[tuple[Span, int]]) -> None:
        parameter, gradient, *moments = tensors
        if not _same_order(parameter, gradient):
            ordered = torch.empty_like(parameter)
            self.gradients.add(gradient, ordered)
            gradient = ordered
        flat = [_flat(tensor) for tensor in (parameter, gradient, *moments)]
        row = parameter[0].numel() if parameter.dim() else 1
        for (start, stop), age in slabs:
            self.pieces.append([tensor[start * row : stop * row] for tensor in flat])
            self.ages.append(age)

    def _add_blocks(self, tensors: list[Tensor], blocks: Iterable[Block]) -> None:
        for block in blocks:
            self.young[block.age].append([_cells(tensor, block) for tensor in tensors])

    def _pack(self, age: int, blocks: list[list[Tensor]]) -> None:
        size = sum(block[0].numel() for block in blocks)
        piece = [torch.empty(size, dtype=like.dtype, device=like.device) for like in blocks[0]]
        start = 0
        for block in blocks:
            stop = start + block[0].numel()
            packed = [_shaped_like(block[0], flat[start:stop]) for flat in piece]
            self.parameters.add(block[0], packed[0])
            self.gradients.add(block[1], packed[1])
            for cells, pack in zip(block[2:], packed[2:], strict=True):
                self.moments.add(cells, pack)
                pack.copy_(cells)
            start = stop
        self.pieces.append(piece)
        self.ages.append(age)


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


def _kind(slot: Slot) -> str:
    return f"{slot.parameter.device} {slot.parameter.dtype}"


def _flat(tensor: Tensor) -> Tensor:
    return tensor.as_strided((tensor.numel(),), (1,))


def _cells(tensor: Tensor, block: Block) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    rows = tensor[slice(*block.rows)]
    return rows if tensor.dim() == 1 else rows[:, slice(*block.columns)]


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
