"""`nhnas init TEMPLATE`: a spec file to start from."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from nhnas.compiler.files import write_file
from nhnas.init_images import Images, find_images, images_text
from nhnas.schema_file import write_schema
from nhnas.spec.config import Data, Search, Train
from nhnas.spec.errors import InputError
from nhnas.spec.model import MAX_SIZE
from nhnas.spec.new_document import new_document
from nhnas.spec.resnet import STAGES, resnet
from nhnas.spec.shown import shown

_FOLDER = Path(__file__).parent / "templates"
RESNET, IMAGES = "resnet", "image-folder"
_WIDTH, _BLOCKS, _CLASSES = 16, 3, 10
WIDEST = MAX_SIZE >> (STAGES - 1)
"""Each stage of a resnet is twice as wide as the one before."""


def init(
    template: str | None,
    output: Path = Path("spec.yaml"),
    width: int | None = None,
    blocks: int | None = None,
    classes: int | None = None,
    force: bool = False,
    root: Path | None = None,
) -> None:
    """Write the spec of a template, and beside it the schema for editors.

    `width` (16), `blocks` (3) and `classes` (10: CIFAR-10; 100: CIFAR-100) are resnet's. `root` is a folder
    of images, for a resnet or the template image-folder.

    Raises InputError if no template is named or there is no such one, an option is not one of its, the
    images are not there, or `output` exists and `force` is not given.
    """
    if template is None:
        raise InputError(f"name a template, one of {', '.join([*templates(), IMAGES])}")
    _check_template(template)
    _check_options(template, (width, blocks, classes), root)
    images = None if root is None else find_images(root, output)
    text = _text(template, width, blocks, classes, images)
    if output.exists() and not force:
        raise InputError(f"{shown(output, 300)}: exists already; use --force or another -o")
    if not output.parent.is_dir():
        raise InputError(f"{shown(output.parent, 300)}: no such folder")
    write_file(output, text)
    told = write_schema(output.parent)
    name = shlex.quote(str(output))
    print(f"wrote {output}; next: nhnas show {name}, nhnas step {name}")
    if "not ours" in told:
        print(told)


def templates() -> list[str]:
    """Names of the templates that need no folder."""
    return [*sorted(file.stem for file in _FOLDER.glob("*.yaml")), RESNET]


def template_text(
    template: str, width: int | None = None, blocks: int | None = None, classes: int | None = None
) -> bytes:
    """The spec file of a template that needs no folder; the numbers are resnet's. Raises InputError."""
    _check_template(template)
    _check_options(template, (width, blocks, classes), None)
    return _text(template, width, blocks, classes, None)


def _check_template(template: str) -> None:
    names = [*templates(), IMAGES]
    if template not in names:
        close = get_close_matches(template, names, n=1)
        hint = f"did you mean {close[0]}? There" if close else "there"
        raise InputError(f"no template '{shown(template)}'; {hint} are {', '.join(names)}")


def _check_options(template: str, sizes: Sequence[int | None], root: Path | None) -> None:
    """Raises InputError for an option that the template has no use for."""
    if template != RESNET and any(size is not None for size in sizes):
        raise InputError(f"--width, --blocks and --classes are of {RESNET}, not of {template}")
    if template not in (RESNET, IMAGES) and root is not None:
        raise InputError(f"--root is of {RESNET} and {IMAGES}, not of {template}")
    if template == IMAGES and root is None:
        raise InputError(f"{IMAGES} needs --root FOLDER, with images in train/<class>/ and test/<class>/")
    width, _, classes = sizes
    if width is not None and width > WIDEST:
        raise InputError(
            f"--width {width}: at most {WIDEST:,}, since each stage is twice as wide as the one before"
        )
    if root is not None and classes is not None:
        raise InputError("--classes are those of the images: leave it out beside --root")
    if classes not in (None, 10, 100):
        raise InputError(
            f"--classes {classes}: 10 is CIFAR-10, 100 CIFAR-100; for images of your own give --root FOLDER"
        )


def _text(
    template: str, width: int | None, blocks: int | None, classes: int | None, images: Images | None
) -> bytes:
    if template == RESNET:
        return _resnet(width or _WIDTH, blocks or _BLOCKS, classes or _CLASSES, images)
    if template == IMAGES and images is not None:
        return images_text(images)
    return (_FOLDER / f"{template}.yaml").read_bytes()


def _resnet(width: int, blocks: int, classes: int, images: Images | None) -> bytes:
    depth, hundred = 2 * STAGES * blocks + 2, classes == 100
    what = images.text if images else "CIFAR-100" if hundred else "CIFAR-10"
    also = " --root …" if images else "" if classes == 10 else f" --classes {classes}"
    size = (images.classes, images.shape) if images else (classes,)
    return new_document(
        f"resnet{depth}",
        resnet(width, blocks, *size),
        images.data
        if images
        else Data(dataset="cifar100" if hundred else "cifar10", augment=("crop", "flip")),
        Train(optimizer="sgd", lr=0.1, schedule="cosine", weight_decay=5e-4),
        Search(),
        (
            f"A residual network of {depth} layers for {what}, designed by hand: the one to compare with.",
            f"Made by: nhnas init resnet --width {width} --blocks {blocks}{also}",
        ),
    )
