"""From the key `data` of a spec to samples: the built-in sets by name, others by dotted path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nhnas.spec.config import Data
from nhnas.spec.data_findings import IMAGE_FOLDER, shape_text
from nhnas.spec.errors import InputError
from nhnas.trainer import image_data, toy_data
from nhnas.trainer.augment import check_augment
from nhnas.trainer.data_root import data_root
from nhnas.trainer.dataset import Dataset, Split, with_moments
from nhnas.trainer.factory import dataset_from_factory
from nhnas.trainer.lazy_images import LazyImages, Positions
from nhnas.trainer.residence import settled
from nhnas.trainer.sample_random import permutation, stream

__all__ = ["Dataset", "LazyImages", "Split", "check_fits", "load_dataset"]

TOYS: dict[str, Callable[[int], Dataset]] = {
    "spirals": toy_data.spirals,
    "regression2d": toy_data.regression2d,
}
"""Name → function of the seed."""

IMAGES: dict[str, Callable[[Path, bool], Dataset]] = {
    "mnist": image_data.mnist,
    "fashion_mnist": image_data.fashion_mnist,
    "cifar10": image_data.cifar10,
    "cifar100": image_data.cifar100,
    IMAGE_FOLDER: image_data.image_folder,
}
"""Name → function of the root folder and of whether it may download."""


def load_dataset(data: Data, *, seed: int, folder: Path, allow_import: bool = False) -> Dataset:
    """The data set that `data` describes, with its held-out part and its moments.

    `seed` (`train.seed`) draws the toy sets and what `data.val` holds out. `folder` is the spec's: a
    relative `data.root` starts there, and a dotted path is imported from there alone, unless
    `allow_import`. `mean` and `std` are those of the samples that are left to train on. Raises
    InputError for what is unknown, missing or does not fit, StorageError for what cannot be read.
    """
    loaded = settled(hold_out(_load(data, seed, folder, allow_import), data.val, seed), data.workers)
    check_augment(data.augment, loaded.train.sample_shape)
    return with_moments(loaded)


def _load(data: Data, seed: int, folder: Path, allow_import: bool) -> Dataset:
    root = data_root(data, folder)
    if data.dataset in TOYS:
        return TOYS[data.dataset](seed)
    if data.dataset == IMAGE_FOLDER:
        left = partial(_left, data.val, seed)
        return image_data.image_folder(root, data.download, data.workers, left)
    if data.dataset in IMAGES:
        return IMAGES[data.dataset](root, data.download)
    if ":" in data.dataset:
        return dataset_from_factory(data.dataset, root=root, folder=folder, allow_import=allow_import)
    known = [*TOYS, *IMAGES]
    hint = "".join(f" did you mean {name}?" for name in get_close_matches(data.dataset, known, 1))
    raise InputError(
        f"data.dataset: unknown {data.dataset};{hint} built in are {', '.join(known)}; "
        "others are written package.module:function"
    )


def hold_out(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """The data set with `fraction` of its training samples moved to `val`, chosen by the seed.

    At least one sample is held out and two are left. With 0 nothing changes. Raises InputError where
    the source brought a validation split of its own, or has too few samples.
    """
    if fraction == 0:
        return dataset
    if dataset.val is not None:
        raise InputError(f"data.val: {dataset.name} has a validation split of its own; remove data.val")
    n = len(dataset.train)
    if n < 3:
        raise InputError(f"data.val: {dataset.name} has only {n} training samples; nothing can be held out")
    val, train = map(torch.from_numpy, _parted(n, fraction, seed))
    return replace(dataset, train=dataset.train.take(train), val=dataset.train.take(val))


def _parted(n: int, fraction: float, seed: int) -> tuple[Positions, Positions]:
    """Which of `n` samples are held out, and which are left."""
    held = min(max(1, round(n * fraction)), n - 2)
    order = permutation(stream("val", seed), n)
    return np.sort(order[:held]), np.sort(order[held:])


def _left(fraction: float, seed: int, n: int) -> Positions:
    """Which of `n` training samples are trained on; too few are refused by `hold_out`, later."""
    return _parted(n, fraction, seed)[1] if fraction and n >= 3 else np.arange(n)


def check_fits(
    dataset: Dataset,
    arch_input: tuple[int, ...],
    outputs: int,
    loss: str,
    output_map: tuple[int, int] | None = None,
) -> None:
    """Raises InputError, one line a problem, unless the network can be trained on the data.

    `arch_input` is the spec's `input`, `outputs` its last width, `loss` its `train.loss`, `output_map` height
    and width of what the last layer writes, where that is maps.
    """
    problems, given = [], shape_text(dataset.input_shape)
    if arch_input != dataset.input_shape:
        problems.append(
            f"input: spec says {shape_text(arch_input)}, {dataset.name} gives {given}; write input: {given}"
        )
    wanted = "cross_entropy" if dataset.is_classification else "mse"
    what = "classes" if dataset.is_classification else "values"
    if output_map is not None:
        problems.append(
            f"net: the last layer writes maps {shape_text((outputs, *output_map))}, {dataset.name} has "
            f"{dataset.outputs} {what}; add global_avg_pool or flatten, and a dense layer of width "
            f"{dataset.outputs}"
        )
    elif outputs != dataset.outputs:
        problems.append(
            f"net: the last layer has width {outputs}, {dataset.name} has {dataset.outputs} {what}; "
            f"write width: {dataset.outputs}"
        )
    if loss != wanted:
        problems.append(
            f"train.loss: spec says {loss}, {dataset.name} has {what} as targets; write loss: {wanted}"
        )
    if problems:
        raise InputError("\n".join(problems))
