"""How many cores and threads this process may use: fewer than the machine has, where somebody says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nhnas.trainer.control_groups import groups, lines_of


def usable_cores() -> int:
    """The affinity mask, or the least quota of a control group, rounded up, where that is less."""
    return max(1, min([len(os.sched_getaffinity(0)), *_quotas()]))


def usable_threads() -> int:
    """As many, or what OMP_NUM_THREADS allows."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    most = int(asked) if asked.isdecimal() else 0
    return min(usable_cores(), most) if most else usable_cores()


def _quotas() -> Iterator[int]:
    """Of every control group that has one: so many microseconds in a period of so many."""
    for folder, is_unified in groups("cpu"):
        words = _words(folder / "cpu.max") if is_unified else _legacy(folder)
        if len(words) == 2 and all(map(str.isdecimal, words)) and int(words[1]):  # else `max`, or -1
            yield -(-int(words[0]) // int(words[1]))


def _legacy(folder: Path) -> list[str]:
    return _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")


def _words(path: Path) -> list[str]:
    return " ".join(lines_of(path)).split()
