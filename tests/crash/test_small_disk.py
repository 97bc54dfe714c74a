"""A disk of 8 MiB that is really full, and files that may not grow further (DESIGN §7)."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import tiny
from tests.crash.commands import Done, Server, Start, check_one_line
from tests.crash.table import COUNTS, counted, often

STEP = ("step", "spec.yaml", "--to", "2")
EVAL = ("eval", "spec.yaml")
MIB = 1 << 20
MUST = "end with 5, path and reason; the old version loads; with room again the same bytes"
WIDE = tiny.DENSE.replace("width: 4", "width: 300").replace("hidden: 3", "hidden: 200")
"""A snapshot of 1 MiB."""


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Start:
    """Between version 1 and 2."""
    spec = tiny.make(tmp_path / "start", WIDE)
    assert 0 == server.run(spec.parent, ("step", "spec.yaml")).code
    return Start(server, spec, STEP)


def check_old(server: Server, start: Start, folder: Path, done: Done, number: int) -> None:
    """AssertionError unless the command refused, and left what there was before, whole."""
    assert 5 == done.code, (done.code, done.err, done.out)
    check_one_line(done.err)
    assert os.strerror(number) in done.err
    assert str(folder) in done.err
    assert start.text == (folder / "spec.yaml").read_bytes()
    assert 0 == server.run(folder, EVAL).code


@often("tries", 50, 5)
def test_a_file_that_may_not_grow(tries: int, server: Server, start: Start) -> None:
    """RLIMIT_FSIZE at any size: every file that is larger is cut off in the middle of its write."""
    sizes, largest = random.Random(4), max(map(len, start.expected.values()))
    for _ in range(tries):
        folder = start.fresh()
        done = start.run(folder, file_size=sizes.randrange(1, largest))
        check_old(server, start, folder, done, errno.EFBIG)
        assert 0 == start.run(folder).code
        start.check(folder)
    counted("files that may not grow (RLIMIT_FSIZE)", tries, tries, MUST)


@pytest.mark.crash
def test_a_disk_of_8_mib(server: Server, start: Start) -> None:
    """A tmpfs with room for any part of what a step writes; without leave to mount one it says so."""
    rooms, size = random.Random(6), sum(map(len, start.expected.values()))
    tries, good = 50, 0
    with small_disk(start.fresh()) as disk:
        if disk is None:
            COUNTS["a tmpfs of 8 MiB, filled up"] = (
                "not tried, since mounting needs root; RLIMIT_FSIZE instead"
            )
            return
        while good < tries:
            for path in disk.iterdir():
                shutil.rmtree(path)
            folder = start.fresh(disk / "work")
            fill(disk, rooms.randrange(0, size))
            done = start.run(folder)
            if done.code != 0:  # room enough
                check_old(server, start, folder, done, errno.ENOSPC)
                good += 1
            shutil.rmtree(disk / "fill")
            assert 0 == start.run(folder).code
            start.check(folder)
    counted("a tmpfs of 8 MiB, filled up", good, tries, MUST)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A tmpfs of 8 MiB at `folder`, or None."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, room: int) -> None:
    """Leave `room` bytes of the disk free."""
    (disk / "fill").mkdir()
    free = shutil.disk_usage(disk).free
    (disk / "fill" / "up").write_bytes(bytes(max(free - room, 0)))
