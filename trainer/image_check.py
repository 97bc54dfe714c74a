"""All that is wrong with an image folder, in one pass and without keeping a pixel; never imports torch."""

from __future__ import annotations

from pathlib import Path

from nhnas.compiler.files import storing
from nhnas.trainer.image_files import bad_images
from nhnas.trainer.image_tree import list_images


def image_problems(root: Path) -> list[str] | None:
    """A line for everything that is wrong with the folders, then for every file that training could not use.

    None where there is no folder `root`. Raises StorageError for what cannot be read.
    """
    with storing(root):
        if not root.is_dir():
            return None
    tree = list_images(root)
    return [*tree.problems, *map(str, bad_images(tree.files))]
