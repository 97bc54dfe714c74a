"""The steps of a merged network: small modules that read values by key and write others.

Legend: B batch, I inputs, O outputs, k kernel, C channels; maps are [B, C, H, W], features [B, F].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.compiler.merged_graph import Applied, Means
from nhnas.compiler.network import ACTIVATIONS, weightless
from nhnas.spec.model import Act

Values = dict[str, Tensor]


class Step(nn.Module):
    """Reads the values `reads` and sets `writes`, in the values that `forward` is given."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Linear(Step):
    """One convolution or matrix over all its sources together; its outputs are parts of sums."""

    def __init__(
        self,
        reads: Sequence[str],
        writes: Sequence[tuple[str, int]],
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
    ) -> None:
        super().__init__()
        self.reads, self.writes = tuple(reads), tuple(key for key, _ in writes)
        self.sizes, self.stride = [size for _, size in writes], stride
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, values: Values) -> None:
        """[B, ΣI, …] → [B, ΣO, …], which is then split."""
        read = [values[key] for key in self.reads]
        x = read[0] if len(read) == 1 else torch.cat(read, 1)
        if self.weight.dim() == 4:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.weight.shape[2] // 2)
        else:
            y = F.linear(x, self.weight, self.bias)
        parts = [y] if len(self.writes) == 1 else torch.split(y, self.sizes, 1)
        values.update(zip(self.writes, parts, strict=True))


class Total(Step):
    """`act` of the sum of `parts` and of `streams`: values that go on to be read by others.

    `owned`: the first part is a tensor of its own, which may be written over.
    """

    def __init__(
        self, key: str, parts: Sequence[str], streams: Sequence[str], owned: bool, act: Act | None
    ) -> None:
        super().__init__()
        self.reads, self.writes = (*parts, *streams), (key,)
        self.owned, self.act = owned, act

    def forward(self, values: Values) -> None:
        """Parts and streams are [B, O, …], and so is their sum."""
        total, owned = values[self.reads[0]], self.owned
        for key in self.reads[1:]:
            other = values[key]
            same = owned and total.dtype == other.dtype  # under autocast a stream may be wider
            total = total.add_(other) if same else total + other
            owned = True
        if self.act == "relu" and owned:
            total = total.relu_()
        elif self.act is not None:
            total = ACTIVATIONS[self.act](total)
        values[self.writes[0]] = total


class Apply(Step):
    """A layer without weights."""

    def __init__(self, key: str, value: Applied) -> None:
        super().__init__()
        self.reads, self.writes = (value.source,), (key,)
        self.layer = weightless(value.layer, maps=False)  # dropout, to which that would matter, is gone

    def forward(self, values: Values) -> None:
        """What the layer makes of its source."""
        values[self.writes[0]] = self.layer(values[self.reads[0]])


class WindowMeans(Step):
    """[B, C, H, W] → [B, k·k·C]: mean over the outputs of a convolution of what each of its cells meets."""

    windows: Tensor

    def __init__(self, key: str, value: Means, size: tuple[int, ...]) -> None:
        super().__init__()
        self.reads, self.writes = (value.source,), (key,)
        rows, columns = (_window(length, value.kernel, value.stride) for length in size)
        self.register_buffer("windows", torch.einsum("ia,jb->abij", rows, columns).flatten(2).flatten(0, 1))

    def forward(self, values: Values) -> None:
        """Windows [k·k, H·W] times each sample [H·W, C]; the other way round takes 4 times as long."""
        pixels = values[self.reads[0]].flatten(2).mT
        values[self.writes[0]] = torch.bmm(self.windows.expand(len(pixels), -1, -1), pixels).flatten(1)


def _window(length: int, kernel: int, stride: int) -> Tensor:
    """[length, k]: 1/outputs where an output's cell meets that pixel, padding (k-1)/2."""
    outputs = (length - 1) // stride + 1
    middle = torch.arange(length)[:, None] - torch.arange(kernel) + kernel // 2
    meets = (middle >= 0) & (middle % stride == 0) & (middle < outputs * stride)
    return meets.double() / outputs
