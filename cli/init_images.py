"""What `nhnas init … --root FOLDER` takes from a folder of images; never imports torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nhnas.spec.config import Data, Search, Train
from nhnas.spec.data_findings import IMAGE_FOLDER, shape_text
from nhnas.spec.errors import InputError
from nhnas.spec.new_document import new_document
from nhnas.spec.shown import shown
from nhnas.spec.stages import near_linear
from nhnas.trainer.image_files import first_shape
from nhnas.trainer.image_tree import list_images


@dataclass(frozen=True)
class Images:
    """Shape [C, H, W] and number of classes, and how a spec names the folder."""

    shape: tuple[int, int, int]
    classes: int
    data: Data

    @property
    def text(self) -> str:
        """`7 classes of images [3, 64, 64]`."""
        return f"{self.classes} classes of images {shape_text(self.shape)}"


def find_images(root: Path, output: Path) -> Images:
    """The images below `root`, for a spec that is to be written to `output`.

    Looks at the folders and at one image: `nhnas check` looks at all. Raises InputError, a line each for what
    is wrong with the folders, and StorageError.
    """
    told = f"--root {shown(root, 300)}"
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise InputError(f"{told}: no folder {part} in it; expected train/<class>/* and test/<class>/*")
    tree = list_images(root)
    if tree.problems:
        raise InputError("\n".join(tree.problems))
    if len(tree.train) < 2:
        raise InputError(
            f"{told}: one class, {shown(next(iter(tree.train)))}: there is nothing to tell apart"
        )
    channels, height, width = first_shape(tree.files)
    if not height:
        raise InputError(f"{told}: none of its {len(tree.files)} files can be read as an image")
    data = Data(dataset=IMAGE_FOLDER, root=_named(root, output, told), augment=("crop", "flip"))
    return Images((channels, height, width), len(tree.train), data)


def _named(root: Path, output: Path, told: str) -> str:
    """The folder as seen from the spec."""
    place = os.path.relpath(os.path.realpath(root), os.path.realpath(output.parent))
    try:
        place.encode()
    except UnicodeEncodeError:
        raise InputError(f"{told}: a spec is UTF-8 and cannot name it; rename it, or a link to it") from None
    return f"./{place}" if place.startswith("~") else place  # else somebody's home


def images_text(images: Images) -> bytes:
    """A spec to start from: nearly linear."""
    return new_document(
        "images",
        near_linear(images.shape, images.classes),
        images.data,
        Train(batch=128, weight_decay=1e-5),
        Search(),
        (
            f"{images.text}, by convolutions, from a nearly linear network.",
            "The identity blocks of a stage cost nothing until neurons grow in them. data.augment moves the",
            "images by up to four pixels and mirrors them: take out what makes another class of an image.",
            "Made by: nhnas init image-folder --root …. Next: nhnas check, which looks at every image.",
        ),
    )
