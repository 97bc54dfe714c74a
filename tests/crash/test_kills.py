"""kill -9 at random moments, then the same command: the end is that of the undisturbed one (DESIGN §7)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.crash.commands import LONG, Server, Start
from tests.crash.table import counted, often

ADAMW = tiny.CONV.replace("train: {", "train: {optimizer: adamw, weight_decay: 0.02, ")
SGD = tiny.DENSE.replace("train: {", "train: {optimizer: sgd, momentum: 0.9, ")
SPECS = {"points": tiny.DENSE, "images": tiny.CONV, "images, adamw": ADAMW, "points, sgd": SGD, "long": LONG}
STEP = ("step", "spec.yaml", "--to", "2")
COMMANDS = (STEP, ("run", "spec.yaml", "--steps", "3"), ("train", "spec.yaml", "--epochs", "4"))
SAME = "end in the same bytes"


class Starts:
    """Specs at version 1, where the next step has edits of many kinds; each of them is made once."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder, self._made = server, folder, dict[object, Start]()

    def __call__(self, words: tuple[str, ...], name: str) -> Start:
        """Where the command begins on the spec of that name."""
        if (words, name) not in self._made:
            spec = tiny.make(self._folder / f"{name} {words[0]}", SPECS[name])
            assert 0 == self._server.run(spec.parent, ("step", "spec.yaml")).code
            self._made[words, name] = Start(self._server, spec, words)
        return self._made[words, name]


@pytest.fixture(scope="module")
def starts(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Starts:
    """For all tests here."""
    return Starts(server, tmp_path_factory.mktemp("starts"))


def killed_and_continued(start: Start, moments: random.Random, kills: int) -> int:
    """Kill a command so often, each time on top of the one before; 0 where it was over before."""
    folder = start.fresh()
    for _ in range(kills):
        if not start.killed(folder, moments, share=1 / kills).killed:
            return 0
    if "--to" not in start.words and start.is_over(folder):
        return 0
    done = start.run(folder)
    assert (0, "") == (done.code, done.err)
    start.check(folder)
    return 1


def campaign(all_of_them: list[Start], count: int, kills: int = 1) -> int:
    """How many of `count` commands that really were killed ended as they must."""
    moments, good, turn = random.Random(7), 0, 0
    while good < count:
        good += killed_and_continued(all_of_them[turn % len(all_of_them)], moments, kills)
        turn += 1
        assert turn < 5 * count + 50, "the kills come too late"
    return good


@often("count", 200, 20)
def test_a_step_killed_at_random_moments(count: int, starts: Starts) -> None:
    """Points and images; adam, adamw, sgd; batch norm, dropout, augmentation; many epochs."""
    good = campaign([starts(STEP, name) for name in SPECS], count)
    counted("kill -9 at random moments of step --to V+1", good, count, SAME)


@often("count", 50, 5)
def test_a_step_killed_again_while_it_goes_on(count: int, starts: Starts) -> None:
    """A second and a third kill during the continuation."""
    good = campaign([starts(STEP, name) for name in SPECS], count, kills=3)
    counted("a second and a third kill while it goes on", good, count, SAME)


@pytest.mark.parametrize("words", COMMANDS[1:], ids=["run", "train"])
@often("count", 25, 3)
def test_run_and_train_do_the_rest(count: int, words: tuple[str, ...], starts: Starts) -> None:
    """Three steps, four epochs: after the kill come those that are missing, no more."""
    good = campaign([starts(words, name) for name in ("points", "images")], count)
    counted(f"kill -9 at random moments of {' '.join(words)}", good, count, SAME)


@pytest.mark.parametrize("words", COMMANDS, ids=["step", "run", "train"])
@often("count", 10, 1)
def test_what_is_left_to_do_is_less_than_half(count: int, words: tuple[str, ...], starts: Starts) -> None:
    """Killed at nine tenths of its batches, it trains less than half of them again."""
    start = starts(words, "points" if words[0] == "train" else "long")
    whole, epoch, good = start.done.batches, 3, 0
    for turn in range(count):
        at = (9 * whole + 9) // 10 + turn % max(whole // 10, 1)
        folder = start.fresh()
        assert start.run(folder, at_batch=at).killed
        done = start.run(folder)
        start.check(folder)
        good += done.batches <= whole - at + epoch and 2 * done.batches < whole
    counted(
        f"{words[0]} killed at nine tenths", good, count, "train less than half again, lose an epoch at most"
    )


@often("count", 10, 1)
def test_a_process_of_its_own_killed_at_random_moments(count: int, starts: Starts) -> None:
    """From the shell's point of view: `python -m nhnas`, from its first millisecond on."""
    start, moments, kills = starts(STEP, "long"), random.Random(3), 0
    words = [sys.executable, "-m", "nhnas", *STEP]
    folder, begin = start.fresh(), time.monotonic()
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    start.check(folder)
    while kills < count:
        folder = start.fresh()
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL) as process:
            time.sleep(moments.uniform(0, seconds))
            process.kill()
        if process.returncode != -signal.SIGKILL:
            continue
        assert 0 == start.run(folder).code
        start.check(folder)
        kills += 1
    counted("kill -9 at random moments of a process of its own", kills, count, SAME)
