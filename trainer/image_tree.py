"""Where the images of an image folder are: `root/train/<class>/*` and `root/test/<class>/*`; never torch."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.image_files import Bad, printable

Tree = dict[str, list[Path]]
"""Name of a class → its files, in order of names."""

NOT_IMAGES = ("Thumbs.db", "desktop.ini")
"""What file managers leave behind in folders of pictures."""


def list_images(root: Path) -> tuple[Tree, Tree]:
    """The files of the train and the test folder, with the same classes in the same order.

    Hidden files and folders are passed over; every other file counts as an image. Raises InputError for
    a folder that is missing, classes that are not the same by name, and classes without a file;
    StorageError for a folder that cannot be read.
    """
    try:
        train, test = _list_classes(root / "train"), _list_classes(root / "test")
    except OSError as error:
        raise StorageError(f"{printable(error.filename)}: cannot be read: {error.strerror}") from error
    _check_same_classes(root, train, test)
    return train, test


def _list_classes(folder: Path) -> Tree:
    """Names in Unicode's composed form (NFC), since some systems write `é` as two characters."""
    if not folder.is_dir():
        raise InputError(
            f"data: no folder {printable(folder)}; image_folder reads train/<class>/* and test/<class>/* "
            "below data.root or the environment variable NHNAS_DATA"
        )
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    composed = sorted((unicodedata.normalize("NFC", name), name) for name in names)
    return {name: _list_files(folder / on_disk) for name, on_disk in composed}


def _list_files(folder: Path) -> list[Path]:
    """All files below `folder` that are not hidden; links to folders are not followed, they may be loops."""
    found = []
    for where, inner, names in os.walk(folder, onerror=_raise):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(where, name) for name in names if not name.startswith(".") and name not in NOT_IMAGES]
    return sorted(found)


def _raise(error: OSError) -> None:
    """`os.walk` passes over what it cannot read, unless told otherwise."""
    raise error


def _check_same_classes(root: Path, train: Tree, test: Tree) -> None:
    """Raises InputError unless both have the same classes, each with a file."""
    if not train:
        raise InputError(f"{printable(root / 'train')}: no folder in it; expected one for each class")
    if set(train) != set(test):
        here, there = (", ".join(printable(name) for name in sorted(names)) for names in (train, test))
        raise InputError(
            f"data: {printable(root)}: train and test must have the same classes; "
            f"train has {here or 'none'}; test has {there or 'none'}"
        )
    empty = [
        Bad(root / which / name, "no image in it; every class needs one, in train and in test")
        for which, classes in (("train", train), ("test", test))
        for name, files in classes.items()
        if not files
    ]
    if empty:
        raise InputError("\n".join(map(str, empty)))
