"""Samples in memory: what every source of data returns and every loop reads.

Shapes: N samples, C channels, H and W pixels, F features, T regression targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from nhnas.spec.errors import InputError

_INPUT_KINDS = {
    (torch.uint8, 4): "uint8 [N,C,H,W]",
    (torch.float32, 2): "float32 [N,F]",
    (torch.float32, 4): "float32 [N,C,H,W]",
}
_TARGET_KINDS = {(torch.int64, 1): "int64 [N] classes", (torch.float32, 2): "float32 [N,T] values"}


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one kind (training, validation, test).

    `inputs`: uint8 [N, C, H, W] pixels, float32 [N, F] features, or float32 [N, C, H, W] maps taken as
    they are. `targets`: int64 [N] classes or float32 [N, T] values.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def to(self, device: str | torch.device) -> Split:
        """The same samples in the memory of `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))

    def take(self, positions: Tensor) -> Split:
        """The samples at `positions` (int64), in that order."""
        return Split(self.inputs[positions], self.targets[positions])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test samples that fit each other; raises InputError where they do not.

    `classes`: names of the classes 0, 1, …, where they have names. `mean` and `std`: float32 [C] of the
    training samples, in units where the brightest pixel is 1; None where inputs are not normalised.
    """

    name: str
    train: Split
    test: Split
    val: Split | None = None
    classes: tuple[str, ...] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None

    def __post_init__(self) -> None:
        splits = self.splits
        for which, split in splits.items():
            _check_split(f"data set {self.name}, {which} split", split)
        for which, split in splits.items():
            _check_same_kind(f"data set {self.name}, {which} split", split, self.train)
        if self.is_classification:
            _check_classes(self)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits there are, by the names that `eval --split` uses."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {which: split for which, split in named.items() if split is not None}

    @property
    def is_classification(self) -> bool:
        """Whether targets are classes, not values."""
        return self.train.targets.dtype == torch.int64

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def outputs(self) -> int:
        """Classes (named ones, else the largest number in any split plus one) or T."""
        if not self.is_classification:
            return int(self.train.targets.shape[1])
        if self.classes is not None:
            return len(self.classes)
        return 1 + max(int(split.targets.max()) for split in self.splits.values())


def _check_split(place: str, split: Split) -> None:
    """Raises InputError unless dtypes, shapes and values are what `Split` promises."""
    inputs, targets = split.inputs, split.targets
    for what, tensor, kinds in (("inputs", inputs, _INPUT_KINDS), ("targets", targets, _TARGET_KINDS)):
        if (tensor.dtype, tensor.ndim) not in kinds:
            raise InputError(f"{place}: {what} are {_kind(tensor)}; expected {' or '.join(kinds.values())}")
    if len(inputs) != len(targets):
        raise InputError(f"{place}: {len(inputs)} inputs but {len(targets)} targets; expected as many")
    if inputs.numel() == 0 or targets.numel() == 0:
        raise InputError(f"{place}: inputs are {_kind(inputs)}, targets {_kind(targets)}; expected some")
    for what, values in (("input", inputs), ("target", targets)):
        _check_finite(f"{place}: {what}", values)


def _check_finite(place: str, values: Tensor) -> None:
    """Raises InputError naming the first sample that holds NaN or infinity."""
    if values.is_floating_point():
        bad = ~values.flatten(1).isfinite().all(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise InputError(f"{place} of sample {first} is NaN or infinite; remove or repair it")


def _check_same_kind(place: str, split: Split, train: Split) -> None:
    """Raises InputError unless a sample of `split` looks like one of `train`."""
    pairs = (("inputs", split.inputs, train.inputs), ("targets", split.targets, train.targets))
    for what, mine, first in pairs:
        if mine.dtype != first.dtype or mine.shape[1:] != first.shape[1:]:
            raise InputError(f"{place}: {what} are {_kind(mine)}, those of the train split {_kind(first)}")


def _check_classes(dataset: Dataset) -> None:
    """Raises InputError unless every class number has a name, where there are names."""
    for which, split in dataset.splits.items():
        low, high = int(split.targets.min()), int(split.targets.max())
        if low < 0 or high >= dataset.outputs:
            raise InputError(
                f"data set {dataset.name}, {which} split: classes run from {low} to {high}; "
                f"expected 0 to {dataset.outputs - 1}"
            )


def _kind(tensor: Tensor) -> str:
    """`uint8 [60000,1,28,28]`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} [{','.join(map(str, tensor.shape))}]"


def with_moments(dataset: Dataset) -> Dataset:
    """The data set with `mean` and `std` of its training pixels; unchanged where there are no pixels or
    the source gave its own."""
    if dataset.train.inputs.dtype != torch.uint8 or dataset.mean is not None:
        return dataset
    mean, std = pixel_moments(dataset.train.inputs)
    return replace(dataset, mean=mean, std=std)


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of uint8 [N, C, H, W], float32 [C], brightest pixel = 1.

    Exact integer sums over a histogram: the same on every machine and with any number of threads. The
    deviation of a constant channel is given as 1, so that dividing by it does no harm.
    """
    pairs = [_channel_moments(images[:, channel]) for channel in range(images.shape[1])]
    mean, std = zip(*pairs, strict=True)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def _channel_moments(pixels: Tensor) -> tuple[float, float]:
    counts = torch.bincount(pixels.reshape(-1), minlength=256).tolist()
    total = sum(counts)
    mean = Fraction(sum(value * count for value, count in enumerate(counts)), 255 * total)
    square = Fraction(sum(value * value * count for value, count in enumerate(counts)), 255**2 * total)
    variance = square - mean**2
    return float(mean), float(variance) ** 0.5 if variance else 1.0
