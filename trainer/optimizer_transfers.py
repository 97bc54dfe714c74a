"""Moving cells between the tensors they belong to and packs in which cells of one age lie together.

Shape letters: N cells of all tensors together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from nhnas.trainer.optimizer_kernels import copy_all


class Transfer(Protocol):
    """`forward` fills the pack from the tensors, `backward` the tensors from the pack."""

    def forward(self) -> None: ...

    def backward(self) -> None: ...


@dataclass(frozen=True)
class Copies:
    """View by view: for large blocks, whose inner dimensions are contiguous."""

    tensors: list[Tensor] = field(default_factory=list)
    packs: list[Tensor] = field(default_factory=list)

    def add(self, tensor: Tensor, pack: Tensor) -> None:
        self.tensors.append(tensor)
        self.packs.append(pack)

    def forward(self) -> None:
        copy_all(self.packs, self.tensors)

    def backward(self) -> None:
        copy_all(self.tensors, self.packs)


class Permutation:
    """All at once, cell by cell: for many small flat tensors, where one call a view would cost more.

    `pack` [N] holds the cells of `tensors`, laid end to end, in the given order.
    """

    def __init__(self, tensors: list[Tensor], order: Tensor) -> None:
        self.pack = torch.empty(len(order), dtype=tensors[0].dtype, device=tensors[0].device)
        self._tensors = tensors
        self._joined = torch.empty_like(self.pack)
        self._parts = list(torch.split(self._joined, [tensor.numel() for tensor in tensors]))
        self._order, self._inverse = order, order.argsort()

    def forward(self) -> None:
        torch.cat(self._tensors, out=self._joined)
        torch.index_select(self._joined, 0, self._order, out=self.pack)

    def backward(self) -> None:
        torch.index_select(self.pack, 0, self._inverse, out=self._joined)
        copy_all(self._tensors, self._parts)
