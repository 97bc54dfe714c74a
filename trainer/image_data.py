"""Image sets as uint8 in memory: the well-known ones through torchvision, and folders of image files.

Importing torchvision takes longer than reading MNIST, so it is imported only where it is needed.
Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nhnas.compiler.files import one_line
from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.dataset import Dataset, Split, moments
from nhnas.trainer.image_files import Bad, first_shape, printable, read_images
from nhnas.trainer.image_stream import check_images
from nhnas.trainer.image_tree import ImageTree, list_images
from nhnas.trainer.lazy_images import LazyImages, Positions
from nhnas.trainer.residence import streaming_workers

HOW_TO_GET = (
    "with data.download: true step, run and train fetch it (others do not); or point data.root or the "
    "environment variable NHNAS_DATA at it"
)

IDX_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def mnist(root: Path, download: bool) -> Dataset:
    """MNIST: 60,000 + 10,000 images [1, 28, 28] of handwritten digits."""
    return _idx_dataset("mnist", "MNIST", root, download)


def fashion_mnist(root: Path, download: bool) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 images [1, 28, 28] of clothes."""
    return _idx_dataset("fashion_mnist", "FashionMNIST", root, download)


def cifar10(root: Path, download: bool) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 images [3, 32, 32] of ten kinds of things."""
    return _cifar_dataset("cifar10", "CIFAR10", root, download)


def cifar100(root: Path, download: bool) -> Dataset:
    """CIFAR-100: 50,000 + 10,000 images [3, 32, 32] of a hundred kinds of things."""
    return _cifar_dataset("cifar100", "CIFAR100", root, download)


def _idx_dataset(name: str, title: str, root: Path, download: bool) -> Dataset:
    """Reads the raw IDX files themselves: torchvision's class would prefer an old `processed` folder."""
    from torchvision import datasets

    source = getattr(datasets, title)
    files = [root / title / "raw" / f"{name}-ubyte" for name in IDX_FILES]
    if download and not all(path.is_file() for path in files):
        _download(name, lambda: source(root, download=True))
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise _not_found(name, missing[0])
    images, labels = datasets.mnist.read_image_file, datasets.mnist.read_label_file
    train, test = (
        Split(_read_idx(images, files[at]).unsqueeze(1), _read_idx(labels, files[at + 1])) for at in (0, 2)
    )
    return Dataset(name, train=train, test=test, classes=tuple(source.classes))


def _read_idx(read: Callable[[str], Any], path: Path) -> torch.Tensor:
    try:
        return torch.as_tensor(read(str(path)))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # torchvision's reader checks by assertions, look-ups and reshapes
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not a whole IDX file ({reason}); get it again") from error


def _cifar_dataset(name: str, title: str, root: Path, download: bool) -> Dataset:
    """torchvision unpickles these files, after it has checked their MD5 sums against the published ones."""
    from torchvision import datasets

    source = getattr(datasets, title)
    if download:
        _download(name, lambda: source(root, download=True))
    try:
        train, test = source(root, train=True), source(root, train=False)
    except RuntimeError as error:  # what torchvision raises for a file that is missing or altered
        raise _not_found(name, root / source.base_folder) from error
    return Dataset(name, train=_cifar_split(train), test=_cifar_split(test), classes=tuple(train.classes))


def _cifar_split(source: Any) -> Split:
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(source.targets, dtype=torch.int64))


def _download(name: str, get: Callable[[], object]) -> None:
    try:
        get()
    except (OSError, RuntimeError) as error:
        raise StorageError(f"data.download: {name} could not be fetched: {one_line(error)}") from error


def _not_found(name: str, looked: Path) -> InputError:
    return InputError(f"data: {name} is missing or incomplete, looked for {printable(looked)}; {HOW_TO_GET}")


def image_folder(
    root: Path, download: bool, workers: int | None = None, left: Callable[[int], Positions] = np.arange
) -> Dataset:
    """`root/train/<class>/*` and `root/test/<class>/*`: uint8 [N, 3, H, W], decoded once or when needed.

    Classes are matched by name, and numbered in the order of their names. Hidden files and folders are
    passed over; every other file must be an image. `workers` as in `streaming_workers`; where images are
    streamed, mean and std are those of the `left(N)` of the N training images that are left to train on.
    Raises InputError with one line a problem.
    """
    if download:
        raise InputError("data.download: an image_folder cannot be downloaded; set data.root instead")
    tree = list_images(root)
    streaming = streaming_workers(len(tree.files) * prod(first_shape(tree.files)), workers)
    return _decoded(tree) if streaming is None else _streamed(tree, streaming, left)


def _decoded(tree: ImageTree) -> Dataset:
    pixels, bad = read_images(tree.files)
    _refuse(tree, bad)
    images, targets, cut = torch.from_numpy(pixels), _targets(tree), _train_count(tree)
    train, test = Split(images[:cut], targets[:cut]), Split(images[cut:], targets[cut:])
    return Dataset("image_folder", train=train, test=test, classes=tuple(tree.train))


def _streamed(tree: ImageTree, workers: int, left: Callable[[int], Positions]) -> Dataset:
    cut = _train_count(tree)
    counted = np.isin(np.arange(len(tree.files)), left(cut))
    checked = check_images(tree.files, counted, workers)
    _refuse(tree, checked.problems)
    images = LazyImages(checked, _targets(tree), workers)
    train, test = (images.take(part) for part in torch.arange(len(images)).tensor_split([cut]))
    mean, std = moments(checked.histogram)
    return Dataset("image_folder", train, test, classes=tuple(tree.train), mean=mean, std=std)


def _refuse(tree: ImageTree, bad: Sequence[Bad]) -> None:
    if tree.problems or bad:
        raise InputError("\n".join([*tree.problems, *map(str, bad)]))


def _train_count(tree: ImageTree) -> int:
    return sum(map(len, tree.train.values()))


def _targets(tree: ImageTree) -> torch.Tensor:
    """The class of each file, [N]; both folders have the same classes."""
    counts = [len(paths) for by_class in (tree.train, tree.test) for paths in by_class.values()]
    return torch.arange(len(tree.train)).repeat(2).repeat_interleave(torch.tensor(counts))
