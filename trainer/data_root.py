"""Where files of data lie; never imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError


def data_root(data: Data, folder: Path) -> Path:
    """`data.root` (from the spec's `folder` on), else `$NHNAS_DATA`, else `data` beside the spec.

    Raises InputError for the home of a user that there is not.
    """
    if data.root is not None:
        return folder / _expanded(data.root, "data.root")
    if os.environ.get("NHNAS_DATA"):
        return _expanded(os.environ["NHNAS_DATA"], "NHNAS_DATA")
    return folder / "data"


def _expanded(path: str, told: str) -> Path:
    if not path.startswith("~"):  # Path reads ./~ as ~
        return Path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{told}: {path}: there is no such user; write ./{path} for a folder") from error
