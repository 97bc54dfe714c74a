"""The only modules that own weights: one convolution or matrix with its norm.

Legend: B batch, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.compiler.norms import Norm, empty_norm
from nhnas.compiler.plain_attributes import set_children, set_parameter, set_plain
from nhnas.spec.structure import Leaf as LeafView

NARROW = 16
"""Inputs below which oneDNN writes past its memory in the backward pass of a strided 1x1 convolution, with
several threads and channels_last (uxlfoundation/oneDNN issue 6035): the block of channels of AVX-512."""

Place = tuple[str, nn.Module, str, str]
"""A tensor's canonical name, the module that holds it, which of torch's own dictionaries there, and its key.

The dictionary itself would not do: `torch.export` exchanges them.
"""


class Leaf(nn.Module):
    """One convolution or matrix with its norm."""

    path: str
    conv: bool
    stride: int
    padding: int
    weight: nn.Parameter
    norm: Norm | None

    def __init__(self, view: LeafView) -> None:
        super().__init__()
        set_plain(self, path=view.path, conv=view.op == "conv")
        set_plain(self, stride=view.stride, padding=(view.kernel - 1) // 2)
        set_parameter(self, "weight", nn.Parameter(torch.empty(view.weight_shape)))
        norm = empty_norm(self.conv, view.writes.neurons) if view.norm == "batch" else None
        set_children(self, norm=norm)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, I, …] → [B, O, …]; `bias` [O] is added before the norm's place, so only without norm."""
        y = self.apply_weight(x, self.weight, bias)
        return y if self.norm is None else self.norm(y)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What the leaf does with a weight [O, I, …], its own or one of more rows."""
        if not self.conv:
            return F.linear(x, weight, bias)
        return _convolved(x, weight, bias, self.stride, self.padding)

    def places(self) -> Iterator[Place]:
        """Where each tensor is, by canonical name, in the order of DESIGN §3."""
        yield f"{self.path}.weight", self, "_parameters", "weight"
        if self.norm is not None:
            for kind in ("_parameters", "_buffers"):
                entries = self.norm.__dict__[kind]
                yield from ((f"{self.path}.norm.{entry}", self.norm, kind, entry) for entry in entries)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """`conv2d`, past two faults of oneDNN in the backward pass of strided convolutions.

    The first is that of `NARROW`. The second: where a map is narrower than the stride, in bfloat16 a part
    of the weights' gradient stays what the memory was (torch 2.14.1; never in float32).
    """
    if stride > 1 and padding == 0 and weight.shape[1] < NARROW:
        return F.conv2d(x[:, :, ::stride, ::stride], weight, bias)  # the pixels that it reads
    if x.shape[3] < stride:
        return F.conv2d(x, weight, bias, (stride, 1), padding)[..., :1]  # there is but one column
    return F.conv2d(x, weight, bias, stride, padding)
