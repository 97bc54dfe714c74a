"""Images that are read when they are needed, by processes of their own: for sets that memory does not hold.

Shapes: N images, B of them in a batch, K in a chunk, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.gather import gathered, page_locked
from nhnas.trainer.shared_arrays import filled_arrays

Positions = NDArray[np.int64]

CHUNK = 32
"""Images that are looked at as one task where there is no batch; fewer are read without a worker."""
SHARE = 128
"""Most images of a batch that a worker reads at a time. All workers share a batch, so that the first comes
soon, and each part of it costs the trainer a third of a millisecond."""
AHEAD = 2
"""Batches that may be read before they are asked for."""


@dataclass(frozen=True, eq=False)
class LazyImages:
    """Samples whose images are read from wherever they are, each time that they are needed.

    `read` gives the image at a position from 0 on: uint8 [C, H, W], a tensor or an array, all of one size,
    and each time the same: augmentation is nhnas's part. It is called in forked processes: a file or a
    connection that it needs is opened there, in `read` itself. `targets`: int64 [N] classes or float32
    [N, T] values, one for each position.

        source = torchvision.datasets.ImageFolder(root / "train", transform=PILToTensor())
        LazyImages(lambda position: source[position][0], torch.tensor(source.targets))

    `workers`: so many processes read; 0: this one. None: the key `data.workers` decides, and where that is
    absent and there is room, all go into memory. `shape`: (C, H, W), else that of the first image. `chosen`:
    the positions of these samples, where not all are among them.
    """

    read: Callable[[int], Any]
    targets: Tensor
    workers: int | None = None
    shape: tuple[int, ...] | None = None
    chosen: Positions | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs."""
        return torch.uint8

    @cached_property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W)."""
        if self.shape is not None:
            return self.shape
        first = self._position(0)
        image = _read(self.read, first)
        if image.dtype != np.uint8 or image.ndim != 3:
            raise InputError(f"data.dataset: image {first} is {_kind(image)}; expected uint8 [C,H,W]")
        return image.shape

    @property
    def inputs(self) -> Tensor:
        """All of them, read now: uint8 [N, C, H, W]."""
        images = torch.empty((len(self), *self.sample_shape), dtype=torch.uint8)
        done = 0
        for chunk in self._chunks(self._plan()):
            images[done : done + len(chunk)] = torch.from_numpy(chunk)
            done += len(chunk)
        return images

    def take(self, positions: Tensor) -> LazyImages:
        """The samples at `positions` (int64), in that order; none is read."""
        chosen = positions.numpy() if self.chosen is None else self.chosen[positions.numpy()]
        return replace(self, targets=self.targets[positions], shape=self.sample_shape, chosen=chosen)

    def near(self, _device: str | torch.device) -> LazyImages:
        """These: they have no place but where they are read from."""
        return self

    def batches(
        self, plan: Sequence[Positions], device: str | torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of the positions [B] of each entry of `plan`, on `device`: pixels as bytes.

        Raises InputError for an image that is not like the others, and what `read` and `ordered_map` raise.
        """
        chunks = self._chunks(plan)
        for positions in plan:
            images = page_locked((len(positions), *self.sample_shape), torch.uint8, device)
            done = 0
            while done < len(positions):
                chunk = next(chunks)
                images[done : done + len(chunk)] = torch.from_numpy(chunk)
                done += len(chunk)
            yield images.to(device, non_blocking=True), gathered(self.targets, positions, device)

    def histogram(self) -> NDArray[np.int64]:
        """How many pixels of each channel have each value, [C, 256]; reads all images."""
        plan, shape = self._plan(), (self.sample_shape[0], 256)

        def count(task: int, counts: NDArray[np.int64]) -> None:
            counts[:] = sum(pixel_counts(self._image(position)) for position in plan[task])

        parts = filled_arrays(count, len(plan), shape, np.int64, workers=self._processes, ahead=AHEAD)
        total = np.zeros(shape, np.int64)
        for part, _ in parts:
            total += part
        return total

    @property
    def _processes(self) -> int:
        return self.workers or 0

    def _plan(self) -> list[Positions]:
        """All positions, in their order."""
        return _cut(np.arange(len(self)), CHUNK)

    def _chunks(self, plan: Sequence[Positions]) -> Iterator[NDArray[np.uint8]]:
        """The images [K, C, H, W] of the entries of `plan`, in parts; each until the next is asked for."""
        if not plan:
            return
        workers = self._processes if sum(map(len, plan)) > CHUNK else 0  # to start one takes as long
        batch, hands = max(map(len, plan)), max(1, workers)
        size = min(SHARE, ceil(batch / hands))
        parts = [part for positions in plan for part in _cut(positions, size)]

        def fill(task: int, images: NDArray[np.uint8]) -> None:
            for row, position in enumerate(parts[task]):
                images[row] = self._image(position)

        shape, ahead = (size, *self.sample_shape), ceil(AHEAD * batch / (size * hands))
        filled = filled_arrays(fill, len(parts), shape, np.uint8, workers=workers, ahead=ahead)
        for part, (images, _) in zip(parts, filled, strict=True):
            yield images[: len(part)]

    def _position(self, at: int) -> int:
        return int(at if self.chosen is None else self.chosen[at])

    def _image(self, at: int) -> NDArray[np.uint8]:
        """The image of one sample; raises InputError unless it is like the first one."""
        position = self._position(at)
        image = _read(self.read, position)
        if image.dtype != np.uint8 or image.shape != self.sample_shape:
            wanted = f"uint8 [{','.join(map(str, self.sample_shape))}]"
            raise InputError(f"data.dataset: image {position} is {_kind(image)}, the first one {wanted}")
        return image


def pixel_counts(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of each channel of an image [C, H, W] have each value, [C, 256]."""
    return np.stack([np.bincount(channel.reshape(-1), minlength=256) for channel in image])


def _cut(positions: Positions, size: int) -> list[Positions]:
    return np.split(positions, range(size, len(positions), size))


def _read(read: Callable[[int], Any], position: int) -> NDArray[Any]:
    """What a function of anybody's gives, as an array; whatever it raises becomes one line."""
    try:
        image = read(position)
        return image.numpy() if isinstance(image, Tensor) else np.asarray(image)
    except (InputError, StorageError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"data.dataset: image {position} cannot be read: {reason} "
            "(--debug with data.workers: 0 shows where)"
        ) from error


def _kind(image: NDArray[Any]) -> str:
    return f"{image.dtype} [{','.join(map(str, image.shape))}]"
