"""`nhnas check FILE…`: every error of every file in one pass; never imports torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nhnas.spec.data_findings import IMAGE_FOLDER, Facts, data_findings
from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError, NhnasError
from nhnas.spec.explain import report
from nhnas.spec.shown import shown
from nhnas.spec.train_findings import batch_findings


def check(paths: Sequence[Path]) -> int:
    """Print a line for each sound file, all errors of the others on stderr; 0 if all are sound, else 2.

    What the data set demands of the net and the settings is checked as well, and an image folder looked
    through, where it is there: a clone need not have the data.
    """
    code = 0
    for path in paths:
        try:
            document = read_document(path)
            layers = len(document.architecture.net)
            told, facts = _checked_images(document, path)
            findings = data_findings(document, facts)
            findings += batch_findings(document.architecture, document.train.batch)
            if findings:
                raise InputError("\n".join(report(shown(path, 300), document.tree, findings)))
            print(f"{path}: ok, {layers} layer{'s' if layers > 1 else ''}{told}")
        except NhnasError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
    return code


def _checked_images(document: Document, path: Path) -> tuple[str, Facts | None]:
    """What is said of the images, and what they demand; raises InputError, a line for each bad one."""
    if document.data.dataset != IMAGE_FOLDER:
        return "", None
    from nhnas.trainer.data_root import data_root
    from nhnas.trainer.image_check import check_image_folder
    from nhnas.trainer.image_files import printable

    root = data_root(document.data, path.resolve().parent)
    found = check_image_folder(root)
    if found is None:
        return f"; no images to check: there is no folder {printable(root)}", None
    if found.problems:
        raise InputError("\n".join(found.problems))
    counts = f"{found.train:,} for training and {found.test:,} for test, {found.classes} classes"
    return f"; all images can be read: {counts}", Facts(found.shape, found.classes)
