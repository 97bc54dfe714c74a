"""`nhnas check FILE…`: every error of every file in one pass; never imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError, NhnasError

IMAGE_FOLDER = "image_folder"


def check(paths: Sequence[Path]) -> int:
    """Print a line for each sound file, all errors of the others on stderr; 0 if all are sound, else 2.

    An image folder is looked through as well, where it is there: a clone need not have the data.
    """
    code = 0
    for path in paths:
        try:
            document = read_document(path)
            layers = len(document.architecture.net)
            told = _checked_images(document, path)
            print(f"{path}: ok, {layers} layer{'s' if layers > 1 else ''}{told}")
        except NhnasError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
    return code


def _checked_images(document: Document, path: Path) -> str:
    """What was found out about the images; raises InputError with a line for each bad one."""
    if document.data.dataset != IMAGE_FOLDER:
        return ""
    from nhnas.trainer.data_root import data_root
    from nhnas.trainer.image_check import image_problems
    from nhnas.trainer.image_files import printable

    root = data_root(document.data, path.resolve().parent)
    problems = image_problems(root)
    if problems is None:
        return f"; no images to check: there is no folder {printable(root)}"
    if problems:
        raise InputError("\n".join(problems))
    return "; all images can be read"
