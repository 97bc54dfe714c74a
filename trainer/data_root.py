"""Where files of data lie; never imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from nhnas.spec.config import Data


def data_root(data: Data, folder: Path) -> Path:
    """`data.root` (from the spec's `folder` on), else `$NHNAS_DATA`, else `data` beside the spec."""
    if data.root is not None:
        return folder / Path(data.root).expanduser()
    if os.environ.get("NHNAS_DATA"):
        return Path(os.environ["NHNAS_DATA"]).expanduser()
    return folder / "data"
