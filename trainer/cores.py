"""How many cores and threads this process may use: fewer than the machine has, where somebody says so."""

from __future__ import annotations

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""`<microseconds> <of so many>` or `max …` (Linux, cgroup v2): what a container gets."""


def usable_cores() -> int:
    """The affinity mask, or the control group's quota, rounded up, where that is less."""
    cores, quota = len(os.sched_getaffinity(0)), _quota()
    return cores if quota is None else max(1, min(cores, quota))


def usable_threads() -> int:
    """As many, or what OMP_NUM_THREADS allows."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    most = int(asked) if asked.isdecimal() else 0
    return min(usable_cores(), most) if most else usable_cores()


def _quota() -> int | None:
    try:
        allowed, period = QUOTA.read_text().split()[:2]
        return -(-int(allowed) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no control group of version 2, or `max`
