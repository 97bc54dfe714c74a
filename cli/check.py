"""`nhnas check FILE…`: every error of every file in one pass."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError


def check(paths: Sequence[Path]) -> int:
    """Print a line for each sound file, all errors of the others on stderr; 0 if all are sound, else 2."""
    code = 0
    for path in paths:
        try:
            document = read_document(path)
            layers = len(document.architecture.net)
            print(f"{path}: ok, {layers} layer{'s' if layers > 1 else ''}")
        except InputError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
    return code
