"""Data sets: training, validation and test samples that fit each other.

Shapes: N samples, C channels, H and W pixels, F features, T regression targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nhnas.spec.errors import InputError
from nhnas.trainer.image_files import is_utf8
from nhnas.trainer.samples import Samples, Split

__all__ = ["Dataset", "Samples", "Split", "moments", "pixel_moments", "with_moments"]

_INPUT_KINDS = {
    (torch.uint8, 4): "uint8 [N,C,H,W]",
    (torch.float32, 2): "float32 [N,F]",
    (torch.float32, 4): "float32 [N,C,H,W]",
}
_TARGET_KINDS = {(torch.int64, 1): "int64 [N] classes", (torch.float32, 2): "float32 [N,T] values"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test samples that fit each other; raises InputError where they do not.

    `classes`: names of the classes 0, 1, …, where they have names. `mean` and `std`: float32 [C] of the
    training samples, in units where the brightest pixel is 1; None where inputs are not normalised.
    """

    name: str
    train: Samples
    test: Samples
    val: Samples | None = None
    classes: tuple[str, ...] | None = None
    mean: Tensor | None = None
    std: Tensor | None = None

    def __post_init__(self) -> None:
        splits = self.splits
        for which, split in splits.items():
            _check_split(f"data set {self.name}, {which} split", split)
        for which, split in splits.items():
            _check_same_kind(f"data set {self.name}, {which} split", split, self.train)
        object.__setattr__(self, "classes", _names(self))
        _check_moments(self)
        if self.is_classification:
            _check_classes(self)

    @property
    def splits(self) -> dict[str, Samples]:
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
        return self.train.sample_shape

    @property
    def outputs(self) -> int:
        """Classes (named ones, else the largest number in any split plus one) or T."""
        if not self.is_classification:
            return int(self.train.targets.shape[1])
        if self.classes is not None:
            return len(self.classes)
        return 1 + max(int(split.targets.max()) for split in self.splits.values())


def _check_split(place: str, split: Samples) -> None:
    """Raises InputError unless dtypes, shapes and values are what `Split` promises."""
    inputs, targets = _inputs_kind(split), _Kind.of(split.targets)
    for what, kind, kinds in (("inputs", inputs, _INPUT_KINDS), ("targets", targets, _TARGET_KINDS)):
        if (kind.dtype, len(kind.shape)) not in kinds:
            raise InputError(f"{place}: {what} are {kind}; expected {' or '.join(kinds.values())}")
    if inputs.shape[0] != targets.shape[0]:
        raise InputError(
            f"{place}: {inputs.shape[0]} inputs but {targets.shape[0]} targets; expected as many"
        )
    if 0 in inputs.shape or 0 in targets.shape:
        raise InputError(f"{place}: inputs are {inputs}, targets {targets}; expected some")
    if inputs.dtype.is_floating_point:
        _check_finite(f"{place}: input", split.inputs)
    _check_finite(f"{place}: target", split.targets)


def _check_finite(place: str, values: Tensor) -> None:
    """Raises InputError naming the first sample that holds NaN or infinity."""
    if values.is_floating_point():
        bad = ~values.flatten(1).isfinite().all(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise InputError(f"{place} of sample {first} is NaN or infinite; remove or repair it")


def _check_same_kind(place: str, split: Samples, train: Samples) -> None:
    """Raises InputError unless a sample of `split` looks like one of `train`."""
    pairs = (
        ("inputs", _inputs_kind(split), _inputs_kind(train)),
        ("targets", _Kind.of(split.targets), _Kind.of(train.targets)),
    )
    for what, mine, first in pairs:
        if mine.dtype != first.dtype or mine.shape[1:] != first.shape[1:]:
            raise InputError(f"{place}: {what} are {mine}, those of the train split {first}")


def _check_classes(dataset: Dataset) -> None:
    """Raises InputError unless every class number has a name, where there are names."""
    for which, split in dataset.splits.items():
        low, high = int(split.targets.min()), int(split.targets.max())
        if low < 0 or high >= dataset.outputs:
            raise InputError(
                f"data set {dataset.name}, {which} split: classes run from {low} to {high}; "
                f"expected 0 to {dataset.outputs - 1}"
            )


def _names(dataset: Dataset) -> tuple[str, ...] | None:
    """Names of classes, also from a list or an array; InputError unless a file can hold each, once."""
    names: Any = dataset.classes  # a person's own function made them
    if names is None:
        return None
    if not isinstance(names, tuple | list | np.ndarray):  # a set would have another order each time
        raise InputError(
            f"data set {dataset.name}: classes is {type(names).__name__}; expected a tuple of names, or None"
        )
    seen: set[str] = set()
    for name in names:
        place = f"data set {dataset.name}: classes: {name!a} ({type(name).__name__})"
        if not isinstance(name, str):
            raise InputError(f"{place}: expected a text, such as {str(name)!a}")
        if name in seen:
            raise InputError(f"{place}: is there twice; every class needs a name of its own")
        if not is_utf8(name):
            raise InputError(f"{place}: cannot be written as UTF-8; give it another name")
        seen.add(name)
    return tuple(map(str, names))


def _check_moments(dataset: Dataset) -> None:
    """Raises InputError unless `mean` and `std` can be used, or neither is there."""
    channels, place = dataset.input_shape[0], f"data set {dataset.name}"
    if (dataset.mean is None) != (dataset.std is None):
        raise InputError(f"{place}: mean and std go together; one of them is None")
    given: dict[str, Any] = {"mean": dataset.mean, "std": dataset.std}  # a person's own function made them
    for what, values in given.items():
        if values is None:
            continue
        found = str(_Kind.of(values)) if isinstance(values, Tensor) else type(values).__name__
        if found != (expected := f"float32 [{channels}]"):
            raise InputError(f"{place}: {what} is {found}; expected a tensor {expected}")
        if not values.isfinite().all() or (what == "std" and not (values > 0).all()):
            wanted = "finite numbers above 0" if what == "std" else "finite numbers"
            raise InputError(f"{place}: {what} is {values.tolist()}; expected {wanted}")


@dataclass(frozen=True)
class _Kind:
    """What messages call `uint8 [60000,1,28,28]`."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> _Kind:
        return cls(tensor.dtype, tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} [{','.join(map(str, self.shape))}]"


def _inputs_kind(split: Samples) -> _Kind:
    return _Kind(split.dtype, (len(split), *split.sample_shape))


def with_moments(dataset: Dataset) -> Dataset:
    """The data set with `mean` and `std` of its training pixels; unchanged where there are no pixels or
    the source gave its own."""
    if dataset.train.dtype != torch.uint8 or dataset.mean is not None:
        return dataset
    mean, std = moments(dataset.train.histogram())
    return replace(dataset, mean=mean, std=std)


def moments(histogram: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, float32 [C], brightest pixel = 1, from [C, 256].

    Sums of whole numbers: the same on every machine, with any number of threads, in any order. The
    deviation of a constant channel is given as 1, so that dividing by it does no harm.
    """
    mean, std = zip(*(_channel_moments(counts) for counts in histogram.tolist()), strict=True)
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """`moments` of uint8 [N, C, H, W]."""
    return moments(Split(images, torch.arange(len(images))).histogram())


def _channel_moments(counts: list[int]) -> tuple[float, float]:
    total = sum(counts)
    mean = Fraction(sum(value * count for value, count in enumerate(counts)), 255 * total)
    square = Fraction(sum(value * value * count for value, count in enumerate(counts)), 255**2 * total)
    variance = square - mean**2
    return float(mean), float(variance) ** 0.5 if variance else 1.0
