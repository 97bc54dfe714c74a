"""Where the images of an image folder are: `root/train/<class>/*` and `root/test/<class>/*`; never torch."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nhnas.spec.errors import StorageError
from nhnas.trainer.image_files import Bad, is_utf8, printable

Classes = dict[str, list[Path]]
"""Name of a class → its files, in order of names."""

NOT_IMAGES = ("Thumbs.db", "desktop.ini")
"""What file managers leave behind in folders of pictures."""


@dataclass(frozen=True)
class ImageTree:
    """The files of both folders, and a line for everything that is wrong with the folders themselves.

    Without problems both have the same classes in the same order, each with a file.
    """

    train: Classes
    test: Classes
    problems: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """All of them: train before test, class after class."""
        return [path for part in (self.train, self.test) for paths in part.values() for path in paths]


def list_images(root: Path) -> ImageTree:
    """Hidden files and folders are passed over; every other file in a class's folder counts as an image.

    Problems are a folder that is missing, classes that are not the same by name or have no file, links
    that lead nowhere or in a circle. Raises StorageError for a folder that cannot be read.
    """
    problems: list[str] = []
    try:
        train, test = (_list_classes(root / which, problems) for which in ("train", "test"))
    except OSError as error:
        raise StorageError(f"{printable(error.filename)}: cannot be read: {error.strerror}") from error
    if train is not None and test is not None:
        problems += _differences(root, train, test)
    return ImageTree(train or {}, test or {}, tuple(problems))


def _list_classes(folder: Path, problems: list[str]) -> Classes | None:
    """Names in Unicode's composed form (NFC), since some systems write `é` as two characters."""
    if not folder.is_dir():
        problems.append(
            f"data: no folder {printable(folder)}; image_folder reads train/<class>/* and test/<class>/* "
            "below data.root or the environment variable NHNAS_DATA"
        )
        return None
    composed = [(unicodedata.normalize("NFC", path.name), path) for path in _folders(folder, problems)]
    classes: Classes = {}
    for name, path in sorted(composed):
        if name in classes:
            problems.append(f"{str(path)!a}: another folder of this class differs in its accents' form")
        if not is_utf8(name):
            problems.append(str(Bad(path, "is no name in UTF-8; rename the folder")))
        classes[name] = [*classes.get(name, []), *_list_files(path, problems)]
    return classes


def _folders(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The folders in a folder that are not hidden, also behind links, unless these lead back up."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            problems.append(str(Bad(path, "is a link that leads nowhere")))
        elif path.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
            problems.append(str(Bad(path, "is a link to a folder that it lies in")))
        elif path.is_dir():
            yield path


def _list_files(folder: Path, problems: list[str]) -> list[Path]:
    """All files below `folder` that are not hidden; links to folders are not followed, they may be loops."""
    found = []
    for where, inner, names in os.walk(folder, onerror=_raise):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for path in (Path(where, name) for name in inner):
            if path.is_symlink() and not Path(where).resolve().is_relative_to(path.resolve()):
                reason = (
                    "is a link to a folder, which is not followed within a class; link the class, or files"
                )
                problems.append(str(Bad(path, reason)))
        found += [Path(where, name) for name in names if not name.startswith(".") and name not in NOT_IMAGES]
    return sorted(found)


def _raise(error: OSError) -> None:
    """`os.walk` passes over what it cannot read, unless told otherwise."""
    raise error


def _differences(root: Path, train: Classes, test: Classes) -> list[str]:
    """Lines unless both have the same classes, each with a file."""
    if not train:
        return [f"{printable(root / 'train')}: no folder in it; expected one for each class"]
    lines = []
    if set(train) != set(test):
        here, there = (", ".join(printable(name) for name in sorted(names)) for names in (train, test))
        lines.append(
            f"data: {printable(root)}: train and test must have the same classes; "
            f"train has {here or 'none'}; test has {there or 'none'}"
        )
    return lines + [
        str(Bad(root / which / name, "no image in it; every class needs one, in train and in test"))
        for which, classes in (("train", train), ("test", test))
        for name, files in classes.items()
        if not files
    ]
