"""Two and eight commands on one spec at once, one of them killed, others reading (DESIGN §7)."""

from __future__ import annotations

import random
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.crash.commands import Command, Done, Server, Start, check_one_line, soon
from tests.crash.table import counted, often

SPEC = tiny.DENSE.replace("max_epochs: 2", "min_epochs: 20, max_epochs: 20")
"""66 batches a step."""
STEP = ("step", "spec.yaml", "--to", "2")
READERS = (
    ("log", "spec.yaml"),
    ("eval", "spec.yaml"),
    ("show", "spec.yaml"),
    ("plan", "spec.yaml"),
    ("diff", "old.yaml", "spec.yaml"),
    ("check", "spec.yaml"),
)
ROUNDS, FEWER = often("rounds", 100, 3), often("rounds", 20, 2)
COMMANDS = pytest.mark.parametrize("commands", [2, 8])


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Start:
    """A step that takes longer than it takes others to find out."""
    spec = tiny.make(tmp_path / "start", SPEC)
    assert 0 == server.run(spec.parent, ("step", "spec.yaml")).code
    spec.with_name("old.yaml").write_bytes(spec.read_bytes())
    return Start(server, spec, STEP)


def at_once(server: Server, folder: Path, words: tuple[str, ...], count: int) -> list[Command]:
    """So many of the same command, let go together."""
    commands = [server.start(folder, words, stopped=True) for _ in range(count)]
    for command in commands:
        command.send(signal.SIGCONT)
    return commands


def holder(commands: list[Command]) -> Command:
    """The command that holds the spec, halted as soon as it has begun to work."""
    works = (command for _ in soon() for command in commands if "version 2" in command.out.read_text())
    winner = next(works)
    winner.send(signal.SIGSTOP)
    return winner


def check_refused(done: Done, winner: Command) -> None:
    """AssertionError unless the command left with 3, and one line that says who holds the spec."""
    assert 3 == done.code, (done.code, done.out, done.err)
    check_one_line(done.err)
    who = f"process {winner.pid} (nhnas step) on {socket.gethostname()}"
    assert f"spec.yaml is held by {who}; try later, or --wait\n" == done.err


@COMMANDS
@ROUNDS
def test_one_works_and_the_others_are_told(rounds: int, commands: int, server: Server, start: Start) -> None:
    """While one of them works, others read: nobody waits, and no reader fails."""
    moments, read = random.Random(1), 0
    for turn in range(rounds):
        folder = start.fresh()
        begun = at_once(server, folder, STEP, commands)
        winner = holder(begun)
        for loser in begun:
            if loser is not winner:
                check_refused(loser.wait(), winner)
        winner.send(signal.SIGCONT)
        time.sleep(moments.uniform(0, start.seconds / 2))
        readers = [server.start(folder, words) for words in sampled_readers(turn)]
        for reader in readers:
            done = reader.wait()
            assert (0, "") == (done.code, done.err), done
            read += 1
        assert 0 == winner.wait().code
        start.check(folder)
    counted(f"{commands} commands at once", rounds, rounds, "times one works, the others leave with 3")
    counted(f"readers while one of {commands} works", read, read, "read")


def sampled_readers(turn: int) -> list[tuple[str, ...]]:
    """Three at a time, each of them in turn."""
    return [READERS[(3 * turn + i) % len(READERS)] for i in range(3)]


@COMMANDS
@FEWER
def test_the_others_wait(rounds: int, commands: int, server: Server, start: Start) -> None:
    """With --wait each gets its turn, and finds that the version is there already."""
    for _ in range(rounds):
        folder = start.fresh()
        ends = [command.wait() for command in at_once(server, folder, (*STEP, "--wait"), commands)]
        assert {(0, "")} == {(done.code, done.err) for done in ends}
        worked = [done for done in ends if re.search("^version 2 ", done.out, re.MULTILINE)]
        idle = [done for done in ends if "nothing to do" in done.out]
        assert (1, commands - 1) == (len(worked), len(idle))
        start.check(folder)
    counted(f"{commands} commands that --wait", rounds, rounds, "times one works, the others find it done")


@COMMANDS
@FEWER
def test_after_a_kill_the_next_one_starts(rounds: int, commands: int, server: Server, start: Start) -> None:
    """The one that works is killed: the one that comes next goes on from there, at once."""
    moments = random.Random(2)
    for _ in range(rounds):
        folder = start.fresh()
        begun = at_once(server, folder, STEP, commands)
        winner = holder(begun)
        assert {3} == {command.wait().code for command in begun if command is not winner}
        winner.send(signal.SIGCONT)
        time.sleep(moments.uniform(0, start.seconds / 3))
        winner.send(signal.SIGKILL)
        assert winner.wait().code in (0, -signal.SIGKILL)
        after = server.run(folder, STEP)
        assert (0, "") == (after.code, after.err)
        start.check(folder)
    counted(f"one of {commands} killed at work", rounds, rounds, "times the next one starts and ends it")
