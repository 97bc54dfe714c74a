"""`nhnas init TEMPLATE`: a spec file to start from."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from nhnas.compiler.files import write_file
from nhnas.schema_file import write_schema
from nhnas.spec.config import Data, Search, Train
from nhnas.spec.errors import InputError
from nhnas.spec.new_document import new_document
from nhnas.spec.resnet import STAGES, resnet
from nhnas.spec.shown import shown

_FOLDER = Path(__file__).parent / "templates"
RESNET = "resnet"


def init(
    template: str,
    output: Path = Path("spec.yaml"),
    width: int = 16,
    blocks: int = 3,
    classes: int = 10,
    force: bool = False,
) -> None:
    """Write the spec of a template, and beside it the schema for editors.

    `width`, `blocks` and `classes` (10: CIFAR-10; 100: CIFAR-100) are resnet's.

    Raises InputError if there is no such template, or if `output` exists and `force` is not given.
    """
    text = template_text(template, width, blocks, classes)
    if output.exists() and not force:
        raise InputError(f"{shown(output, 300)}: exists already; use --force or another -o")
    if not output.parent.is_dir():
        raise InputError(f"{shown(output.parent, 300)}: no such folder")
    write_file(output, text)
    told = write_schema(output.parent)
    print(f"wrote {output}; next: nhnas show {output}, nhnas step {output}")
    if "not ours" in told:
        print(told)


def templates() -> list[str]:
    """Names of all templates."""
    return [*sorted(file.stem for file in _FOLDER.glob("*.yaml")), RESNET]


def template_text(template: str, width: int = 16, blocks: int = 3, classes: int = 10) -> bytes:
    """The spec file of a template."""
    if template not in templates():
        close = get_close_matches(template, templates(), n=1)
        hint = f"did you mean {close[0]}? There" if close else "there"
        raise InputError(f"no template '{shown(template)}'; {hint} are {', '.join(templates())}")
    if template == RESNET:
        return _resnet(width, blocks, classes)
    return (_FOLDER / f"{template}.yaml").read_bytes()


def _resnet(width: int, blocks: int, classes: int) -> bytes:
    depth, hundred = 2 * STAGES * blocks + 2, classes == 100
    images = "CIFAR-100" if hundred else "CIFAR-10"
    also = "" if classes == 10 else f" --classes {classes}"
    return new_document(
        f"resnet{depth}",
        resnet(width, blocks, classes),
        Data(dataset="cifar100" if hundred else "cifar10", augment=("crop", "flip")),
        Train(optimizer="sgd", lr=0.1, schedule="cosine", weight_decay=5e-4),
        Search(),
        (
            f"A residual network of {depth} layers for {images}, designed by hand: the one to compare with.",
            f"Made by: nhnas init resnet --width {width} --blocks {blocks}{also}",
        ),
    )
