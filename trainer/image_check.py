"""All that is wrong with an image folder, in one pass and without keeping a pixel; never imports torch."""

from __future__ import annotations

from pathlib import Path

from nhnas.spec.errors import InputError
from nhnas.trainer.image_files import bad_images
from nhnas.trainer.image_tree import list_images


def image_problems(root: Path) -> list[str]:
    """A line for every file that training could not use, or for what is wrong with the folders.

    Raises StorageError for a folder that cannot be read.
    """
    try:
        train, test = list_images(root)
    except InputError as error:
        return str(error).splitlines()
    files = [path for by_class in (train, test) for paths in by_class.values() for path in paths]
    return [str(bad) for bad in bad_images(files)]
