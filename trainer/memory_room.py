"""How much memory there is room for: what the machine, its containers and its GPU have left now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from nhnas.trainer.control_groups import groups, lines_of
from nhnas.trainer.cores import usable_cores

SHARE = 0.4
"""Of the memory that is available: a set is in memory twice for a moment when a part of it is held out."""

MOST_WORKERS = 16

MEMINFO = Path("/proc/meminfo")
UNIFIED = ("memory.max", "memory.current", "inactive_file")
LEGACY = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Limit and usage of a control group, and the cache in `memory.stat`: in version 2, and in version 1."""


def fits_host(size: int) -> bool:
    """Whether so many bytes are at most SHARE of the memory that is available."""
    return size <= SHARE * available_memory()


def fits_device(size: int, device: torch.device) -> bool:
    """Whether so many bytes are at most SHARE of the free memory of a GPU."""
    return size <= SHARE * int(torch.cuda.mem_get_info(device)[0])


def spare_workers() -> int:
    """As many processes as there are cores beside the one that trains; at least 1, at most MOST_WORKERS."""
    return max(1, min(usable_cores() - 1, MOST_WORKERS))


def available_memory() -> int:
    """Bytes that can be had without swapping: of the machine, and of every cgroup that this process is in."""
    return min([_machine(), *_cgroups()])


def _machine() -> int:
    for line in lines_of(MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroups() -> Iterator[int]:
    """What the limits leave, innermost first; the cache of files is given back when it is needed."""
    for folder, is_unified in groups("memory"):
        limit, usage, cache = UNIFIED if is_unified else LEGACY
        most, used = (_number(folder / name) for name in (limit, usage))
        if most is not None and used is not None:
            yield max(0, most - used + _cached(folder / "memory.stat", cache))


def _cached(path: Path, name: str) -> int:
    return next((int(words[1]) for words in map(str.split, lines_of(path)) if words[:1] == [name]), 0)


def _number(path: Path) -> int | None:
    """None where there is no limit, or no such file."""
    (text, *_) = [*lines_of(path), ""]
    return int(text) if text.isdecimal() else None
