"""Image sets as uint8 in memory: the well-known ones through torchvision, and folders of image files.

Importing torchvision takes longer than reading MNIST, so it is imported only where it is needed.
Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.image_files import Bad, printable, read_images

HOW_TO_GET = "set data.download: true, or point data.root or the environment variable NHNAS_DATA at it"

NOT_IMAGES = ("Thumbs.db", "desktop.ini")
"""What file managers leave behind in folders of pictures."""


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
    from torchvision import datasets  # type: ignore[import-untyped]
    from torchvision.datasets import mnist as idx

    raw = root / title / "raw"

    def read(which: str) -> Split:
        images = _read_idx(idx.read_image_file, raw / f"{which}-images-idx3-ubyte")
        labels = _read_idx(idx.read_label_file, raw / f"{which}-labels-idx1-ubyte")
        return Split(images.unsqueeze(1), labels)

    source = getattr(datasets, title)
    wanted = [raw / f"{which}-{kind}-ubyte" for which in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    if download and not all(path.is_file() for path in wanted):
        _download(name, lambda: source(root, download=True))
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise _not_found(name, missing[0])
    return Dataset(name, train=read("train"), test=read("t10k"), classes=tuple(source.classes))


def _read_idx(read: Callable[[str], Any], path: Path) -> torch.Tensor:
    try:
        return torch.as_tensor(read(str(path)))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # torchvision's reader checks by assertions, look-ups and reshapes
        raise InputError(f"{path}: not a whole IDX file ({error or type(error).__name__}); get it again") from error


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
        raise StorageError(f"data.download: {name} could not be fetched: {error}") from error


def _not_found(name: str, looked: Path) -> InputError:
    return InputError(f"data: {name} is missing or incomplete, looked for {printable(looked)}; {HOW_TO_GET}")


def image_folder(root: Path, download: bool) -> Dataset:
    """`root/train/<class>/*` and `root/test/<class>/*`, decoded once to uint8 [N, 3, H, W].

    Classes are matched by name, and numbered in the order of their names. Hidden files and folders are
    passed over; every other file must be an image. Raises InputError with one line a problem.
    """
    if download:
        raise InputError("data.download: an image_folder cannot be downloaded; put it at data.root, remove download")
    files = {which: _list_classes(root / which) for which in ("train", "test")}
    _check_same_classes(root, files["train"], files["test"])
    classes = tuple(files["train"])
    splits, bad = {}, []
    for which, by_class in files.items():
        paths = [path for name in classes for path in by_class[name]]
        pixels, wrong = read_images(paths)
        bad += wrong
        counts = torch.tensor([len(by_class[name]) for name in classes])
        splits[which] = pixels, torch.arange(len(classes)).repeat_interleave(counts)
    if bad:
        raise InputError("\n".join(map(str, bad)))
    return Dataset(
        "image_folder",
        classes=classes,
        **{which: Split(torch.from_numpy(pixels), targets) for which, (pixels, targets) in splits.items()},
    )


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """Name of each class → its files, both sorted; names in Unicode's composed form (NFC), since some
    systems write `é` as two characters."""
    if not folder.is_dir():
        raise InputError(
            f"data: no folder {printable(folder)}; image_folder reads train/<class>/* and test/<class>/* "
            "below data.root or the environment variable NHNAS_DATA"
        )
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {unicodedata.normalize("NFC", name): _list_files(folder / name) for name in names}


def _list_files(folder: Path) -> list[Path]:
    """All files below `folder` that are not hidden; links to folders are not followed, they may be loops."""
    found = []
    for where, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(where, name) for name in names if not name.startswith(".") and name not in NOT_IMAGES]
    return sorted(found)


def _check_same_classes(root: Path, train: dict[str, list[Path]], test: dict[str, list[Path]]) -> None:
    """Raises InputError unless both have the same classes, each with a file."""
    if not train:
        raise InputError(f"{printable(root / 'train')}: no folder in it; expected one for each class")
    if set(train) != set(test):
        here, there = (", ".join(printable(name) for name in sorted(names)) for names in (train, test))
        raise InputError(
            f"data: {printable(root)}: train and test must have the same classes;\n  train: {here}\n  test: {there}"
        )
    empty = [
        Bad(root / which / name, "no image in it; every class needs one, in train and in test")
        for which, classes in (("train", train), ("test", test))
        for name, files in classes.items()
        if not files
    ]
    if empty:
        raise InputError("\n".join(map(str, empty)))
