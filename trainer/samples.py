"""Samples of one kind: in memory, or (`lazy_images`) wherever their files are.

Shapes: N samples, B of them in a batch, C channels, H and W pixels, F features, T regression targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nhnas.trainer.gather import gathered
from nhnas.trainer.memory_room import fits_device


class Samples(Protocol):
    """Samples of one kind (training, validation, test): a `Split` in memory, or `LazyImages`."""

    @property
    def inputs(self) -> Tensor:
        """[N, …]; of `LazyImages` all are read for it."""
        ...

    @property
    def targets(self) -> Tensor:
        """int64 [N] classes or float32 [N, T] values."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) or (F,)."""
        ...

    def __len__(self) -> int: ...

    def near(self, device: str | torch.device) -> Samples:
        """The same samples where batches on `device` are made fastest."""
        ...

    def take(self, positions: Tensor) -> Samples:
        """The samples at `positions` (int64), in that order."""
        ...

    def batches(
        self, plan: Sequence[NDArray[np.int64]], device: str | torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of the positions [B] of each entry of `plan`, on `device`: pixels as bytes."""
        ...

    def histogram(self) -> NDArray[np.int64]:
        """How many pixels of each channel have each value, [C, 256]; of uint8 inputs."""
        ...


@dataclass(frozen=True, eq=False)
class Split:
    """Samples in memory.

    `inputs`: uint8 [N, C, H, W] pixels, float32 [N, F] features, or float32 [N, C, H, W] maps taken as
    they are. `targets`: int64 [N] classes or float32 [N, T] values.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs."""
        return self.inputs.dtype

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) or (F,)."""
        return tuple(self.inputs.shape[1:])

    def to(self, device: str | torch.device) -> Split:
        """The same samples in the memory of `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))

    def near(self, device: str | torch.device) -> Split:
        """The same samples where batches on `device` are made fastest: in its memory, if they fit there.

        A GPU is given them once, for as long as the split lives.
        """
        device = torch.device(device)
        if device.type != "cuda":
            return self.to(device)
        if self not in _ON_DEVICE and fits_device(self.inputs.nbytes, device):
            _ON_DEVICE[self] = self.to(device)
        return _ON_DEVICE.get(self, self)

    def take(self, positions: Tensor) -> Split:
        """The samples at `positions` (int64), in that order."""
        return Split(self.inputs[positions], self.targets[positions])

    def batches(
        self, plan: Sequence[NDArray[np.int64]], device: str | torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of the positions [B] of each entry of `plan`, on `device`: pixels as bytes."""
        for positions in plan:
            yield gathered(self.inputs, positions, device), gathered(self.targets, positions, device)

    def histogram(self) -> NDArray[np.int64]:
        """How many pixels of each channel have each value, [C, 256]; of uint8 inputs."""
        channels = [self.inputs[:, channel].reshape(-1) for channel in range(self.inputs.shape[1])]
        return np.stack([torch.bincount(pixels, minlength=256).cpu().numpy() for pixels in channels])


_ON_DEVICE: WeakKeyDictionary[Split, Split] = WeakKeyDictionary()
"""Splits in the computer's memory → the same on the GPU; each growth of a network asks again."""
