"""All that is wrong with an image folder, in one pass and without keeping a pixel; never imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.files import storing
from nhnas.trainer.image_files import bad_images, first_shape
from nhnas.trainer.image_tree import list_images


@dataclass(frozen=True)
class ImageCheck:
    """`problems`, a line each; numbers of images and classes, and the shape [C, H, W] of the first image."""

    problems: tuple[str, ...]
    train: int
    test: int
    classes: int
    shape: tuple[int, ...]


def check_image_folder(root: Path) -> ImageCheck | None:
    """A line for everything that is wrong with the folders, then for every file that training could not use.

    None where there is no folder `root`. Raises StorageError for what cannot be read.
    """
    with storing(root):
        if not root.is_dir():
            return None
    tree = list_images(root)
    problems = (*tree.problems, *map(str, bad_images(tree.files)))
    train, test = (sum(map(len, classes.values())) for classes in (tree.train, tree.test))
    return ImageCheck(problems, train, test, len(tree.train), first_shape(tree.files))
