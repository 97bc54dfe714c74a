"""How much memory there is room for: what the machine, its containers and its GPU have left now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from nhnas.trainer.cores import usable_cores

SHARE = 0.4
"""Of the memory that is available: a set is in memory twice for a moment when a part of it is held out."""

MOST_WORKERS = 16

MEMINFO, PROCESS, CGROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


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
    for line in _lines(MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroups() -> Iterator[int]:
    """What the limits leave, innermost first; the cache of files is given back when it is needed."""
    for line in _lines(PROCESS):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left(CGROUPS, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(CGROUPS / "memory", path, *names)


def _left(top: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    inner = top / path.strip("/")
    for folder in (inner, *inner.parents):
        most, used = (_number(folder / name) for name in (limit, usage))
        if most is not None and used is not None:
            yield max(0, most - used + _cached(folder / "memory.stat", cache))
        if folder == top:
            break


def _cached(path: Path, name: str) -> int:
    return next((int(words[1]) for words in map(str.split, _lines(path)) if words[:1] == [name]), 0)


def _number(path: Path) -> int | None:
    """None where there is no limit, or no such file."""
    (text, *_) = [*_lines(path), ""]
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
