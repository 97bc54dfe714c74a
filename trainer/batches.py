"""The samples of an epoch in random order, batch by batch, ready for the network.

Order and augmentation are functions of (seed, version, epoch, sample), never of where a run stopped:
batch i of an epoch is the same whether or not the batches before it were drawn (DESIGN §3, §9).
Shapes: N samples of a split, B samples of a batch, C channels or features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nhnas.spec.config import Train
from nhnas.spec.errors import InputError
from nhnas.trainer.augment import augment as augment_images
from nhnas.trainer.augment import check_augment
from nhnas.trainer.dataset import Dataset, Samples
from nhnas.trainer.sample_random import permutation, stream


@dataclass(frozen=True, eq=False)
class Batch:
    """Batch `index` of an epoch: `inputs` float32 [B, …] normalised, `targets` [B] or [B, T], both on the
    device asked for; `samples` int64 [B], their numbers in the split, on the CPU."""

    index: int
    inputs: Tensor
    targets: Tensor
    samples: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]


def batch_count(n: int, batch: int) -> int:
    """Number of batches in an epoch of `n` samples.

    The last one holds what is left over, except a single sample, which joins the batch before it: batch
    norm refuses to normalise over one. (With `batch` 1 every batch is one sample, as asked.) Raises
    InputError for fewer than two samples.
    """
    if n < 2:
        raise InputError(f"training needs at least two samples, the training split has {n}")
    full, rest = divmod(n, batch)
    return max(1, full + (rest > 1))


def sample_order(n: int, *, seed: int, version: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the samples 0 … n-1."""
    return permutation(stream("order", seed, version, epoch), n)


def batches(
    split: Samples,
    *,
    batch: int,
    seed: int,
    version: int,
    epoch: int,
    augment: Sequence[str],
    mean: Tensor | None,
    std: Tensor | None,
    device: str | torch.device,
    start: int = 0,
) -> Iterator[Batch]:
    """The batches `start`, `start` + 1, … of an epoch, shuffled, augmented and normalised.

    The first `start` batches cost nothing, and those that follow are what an uninterrupted epoch would
    have yielded. `split` may lie on the device already (`Split.near`). Raises InputError, at once, for
    augmentations that do not fit and for fewer than two samples.
    """
    check_augment(augment, split.sample_shape)
    count = batch_count(len(split), batch)
    order = sample_order(len(split), seed=seed, version=version, epoch=epoch)
    plan = np.split(order, range(batch, count * batch, batch))[start:]
    normalise = _Normalise.of(split, mean, std, device)

    def generate() -> Iterator[Batch]:
        for at, (inputs, targets) in enumerate(split.batches(plan, device)):
            changed = augment_images(inputs, plan[at], augment, seed=seed, version=version, epoch=epoch)
            yield Batch(start + at, normalise(changed), targets, torch.from_numpy(plan[at]))

    return generate()


def first_batches(
    dataset: Dataset, train: Train, version: int, count: int, device: str | torch.device = "cpu"
) -> Iterator[Batch]:
    """The first `count` training batches of a version, not augmented: the same whenever asked for."""
    drawn = batches(
        dataset.train.near(device),
        batch=train.batch,
        seed=train.seed,
        version=version,
        epoch=0,
        augment=(),
        mean=dataset.mean,
        std=dataset.std,
        device=device,
    )
    return islice(drawn, count)


def ordered_batches(
    split: Samples, batch: int, mean: Tensor | None, std: Tensor | None, device: str | torch.device
) -> Iterator[Batch]:
    """All samples as they lie, not augmented, the last batch of any size: for evaluation."""
    normalise = _Normalise.of(split, mean, std, device)
    plan = np.split(np.arange(len(split)), range(batch, len(split), batch))
    for index, (inputs, targets) in enumerate(split.batches(plan, device)):
        yield Batch(index, normalise(inputs), targets, torch.from_numpy(plan[index]))


@dataclass(frozen=True, eq=False)
class _Normalise:
    """(x - mean) / std as x·scale - offset, with pixels counted from 0 to 255."""

    scale: Tensor
    offset: Tensor

    @classmethod
    def of(
        cls, split: Samples, mean: Tensor | None, std: Tensor | None, device: str | torch.device
    ) -> _Normalise:
        shape = (1, -1) + (1,) * (len(split.sample_shape) - 1)
        unit = 255.0 if split.dtype == torch.uint8 else 1.0
        mean = torch.zeros(1) if mean is None else mean.to("cpu", torch.float64)
        std = torch.ones(1) if std is None else std.to("cpu", torch.float64)
        scale, offset = 1 / (std * unit), mean / std
        return cls(*(part.to(device, torch.float32).reshape(shape) for part in (scale, offset)))

    def __call__(self, inputs: Tensor) -> Tensor:
        """A new float32 tensor; `inputs` stays as it is."""
        return (inputs.to(torch.float32) * self.scale).sub_(self.offset)
