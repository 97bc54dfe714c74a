"""The only modules that own weights: one convolution or matrix with its norm.

Legend: B batch, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.spec.structure import Leaf as LeafView


class Leaf(nn.Module):
    """One convolution or matrix with its norm."""

    def __init__(self, view: LeafView) -> None:
        super().__init__()
        self.path = view.path
        self.conv = view.op == "conv"
        self.stride = view.stride
        self.padding = (view.kernel - 1) // 2
        self.weight = nn.Parameter(torch.empty(view.weight_shape))
        kind = nn.BatchNorm2d if self.conv else nn.BatchNorm1d
        self.norm = kind(view.writes.neurons) if view.norm == "batch" else None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, I, …] → [B, O, …]; `bias` [O] is added before the norm's place, so only without norm."""
        y = self.apply_weight(x, self.weight, bias)
        return y if self.norm is None else self.norm(y)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the leaf does with a weight [O, I, …], its own or one of more rows."""
        if self.conv:
            return F.conv2d(x, weight, bias, self.stride, self.padding)
        return F.linear(x, weight, bias)

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Canonical names and tensors."""
        yield f"{self.path}.weight", self.weight
        if self.norm is not None:
            entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            yield from ((f"{self.path}.norm.{entry}", getattr(self.norm, entry)) for entry in entries)
