"""The control groups (containers, jobs) that this process is in; all their limits hold: cgroups(7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROCESS, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """The folders of all groups of a controller, innermost first; True for those of version 2."""
    for line in lines_of(PROCESS):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from ((folder, True) for folder in _outwards(CGROUPS, path))
        elif controller in controllers.split(","):
            yield from ((folder, False) for folder in _outwards(CGROUPS / controller, path))


def lines_of(path: Path) -> list[str]:
    """No line where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _outwards(top: Path, path: str) -> Iterator[Path]:
    inner = top / path.strip("/")
    for folder in (inner, *inner.parents):
        yield folder
        if folder == top:
            break
