"""Hundreds of steps, with kills and `nhnas gc` in between: memory, open files and disk stay flat."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from statistics import median

import pytest

from tests import tiny
from tests.crash.commands import PATIENCE, Command, Done, Server, left_overs, soon
from tests.crash.table import COUNTS, counted, often

FLAT = tiny.DENSE.replace("add: 8", "add: 4, add_fraction: 0, add_to_remove: 1.0")
"""As many neurons go as come."""
MIB = 1 << 20
ROOM = 8 * MIB
"""Bytes that a process may grow by between the first and the last third of its life."""


def weights(folder: Path) -> int:
    """Snapshots whose weights are on the disk."""
    return len(list((folder / ".nhnas" / "snapshots").glob("*/weights.safetensors")))


def versions(folder: Path) -> int:
    """Snapshots, with weights or without."""
    return len(list((folder / ".nhnas" / "snapshots").glob("s*")))


def check_disk(folder: Path) -> None:
    """AssertionError where there is anything but versions and at most two slots."""
    assert len(list((folder / ".nhnas" / "slots").rglob("*.slot"))) <= 2
    store = {path.name for path in (folder / ".nhnas").iterdir()} - {"slots", "snapshots"}
    assert {".gitignore", "spec.yaml.lock"} == {name for name in store if not name.startswith(".tmp-")}
    assert len(left_overs(folder)) <= 1  # what the kill cut off


def killed_soon(server: Server, folder: Path, words: tuple[str, ...], goal: int, seconds: float) -> Done:
    """The command, and kill -9 some seconds after its `goal`-th version is there."""
    command = server.start(folder, words)
    next(None for _ in soon() if versions(folder) >= goal)
    time.sleep(seconds)
    command.send(signal.SIGKILL)
    return command.wait()


@often("steps", 300, 15)
def test_a_run_killed_again_and_again(steps: int, server: Server, tmp_path: Path) -> None:
    """Every kill is followed by the same command, and every second one by a collection."""
    whole, spec = tiny.make(tmp_path / "whole", FLAT), tiny.make(tmp_path / "killed", FLAT)
    words, folder = ("run", "spec.yaml", "--to", str(steps)), spec.parent
    begin = time.monotonic()
    assert 0 == server.run(whole.parent, words, seconds=10 * PATIENCE).code
    step = (time.monotonic() - begin) / steps
    moments, kills, collections = random.Random(8), 0, 0
    while True:
        done = killed_soon(
            server,
            folder,
            words,
            min(steps, versions(folder) + moments.randint(0, 2)),
            moments.uniform(0, step),
        )
        if not done.killed:
            break
        kills += 1
        if not versions(folder):
            continue
        check_disk(folder)
        if kills % 2:
            assert 0 == server.run(folder, ("gc", ".")).code
            assert weights(folder) <= 2, "the one that the file names, and the one that comes next"
            collections += 1
    assert (0, "") == (done.code, done.err)
    assert kills > 2
    assert whole.read_bytes() == spec.read_bytes()
    assert versions(whole.parent) == versions(folder) == steps
    assert 0 == server.run(folder, ("gc", ".")).code
    assert 1 == weights(folder)
    assert [] == left_overs(folder)
    assert [] == list((folder / ".nhnas" / "slots").rglob("*.slot"))
    COUNTS["a run, killed at random moments"] = (
        f"{steps} steps, {kills} kills, {collections} collections: same id as undisturbed, nothing left over"
    )


@pytest.mark.system  # /proc
@often("steps", 300, 15)
def test_a_long_process_stays_as_it_is(steps: int, server: Server, tmp_path: Path) -> None:
    """Memory and open files of one process, from its first third to its last."""
    folder = tiny.make(tmp_path / "long", FLAT).parent
    command = server.start(folder, ("run", "spec.yaml", "--steps", str(steps)))
    seen = []
    while (sample := look(command)) is not None:
        seen.append((versions(folder), *sample))
        assert (
            len(list((folder / ".nhnas" / "slots").glob("*/*.slot"))) <= 3
        )  # two, and the one that is about to replace one of them
        time.sleep(0.02)
    assert 0 == command.wait().code
    assert versions(folder) == weights(folder) == steps
    first = [one for one in seen if steps / 6 < one[0] <= steps / 3]
    last = [one for one in seen if 2 * steps / 3 < one[0]]
    memory = [median(one[1] for one in some) for some in (first, last)]
    # A file that is just being written counts too: on a busy machine in most of the few samples of a third.
    files = [median(one[2] for one in first), min(one[2] for one in last)]
    COUNTS["a process that lives long"] = (
        f"{steps} steps, memory {memory[0] / MIB:.0f} MiB in the first third, {memory[1] / MIB:.0f} in the "
        f"last; open files {files[0]:.0f} and at least {files[1]}"
    )
    assert memory[1] - memory[0] < ROOM
    assert files[1] <= files[0]
    counted("steps of one process", versions(folder), steps, "saved")


def look(command: Command) -> tuple[int, int] | None:
    """Resident bytes and open files of a command; None when it is over."""
    process = Path("/proc") / str(command.pid)
    try:
        status = (process / "status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(resident.split()[1]) << 10, len(list((process / "fd").iterdir()))
    except (OSError, StopIteration):
        return None
