"""Ctrl-C and SIGTERM at random moments: 130 and 143, one line, and nothing is trained twice (DESIGN §8)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.crash.commands import LONG, Done, Server, Start, check_one_line, soon
from tests.crash.table import counted, often

STEP = ("step", "spec.yaml", "--to", "1")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
WITHIN = 10.0
"""Seconds that a command has to leave."""
MUST = "leave in 10 s with their code and one line; the same command does the rest"


both = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


def check_left(done: Done, number: signal.Signals) -> None:
    """AssertionError unless the command obeyed, and said so in one line."""
    assert 128 + number == done.code, (done.code, done.err)
    check_one_line(done.err)
    assert "stopped" in done.err


@both
@often("count", 50, 4)
def test_stopped_at_random_moments(
    count: int, number: signal.Signals, server: Server, tmp_path: Path
) -> None:
    """Saved at the current batch: both halves together train as many batches as the whole."""
    texts = {"points": tiny.DENSE, "images": tiny.CONV, "long": LONG}
    starts = [Start(server, tiny.make(tmp_path / name, text), STEP) for name, text in texts.items()]
    moments, stopped, turns = random.Random(11), 0, 0
    while stopped < count:
        start = starts[turns % len(starts)]
        turns += 1
        folder = start.fresh()
        done = server.signalled(folder, start.words, moments.uniform(0, start.seconds), number)
        if done.code != 0:  # not over before
            check_left(done, number)
            stopped += 1
        again = start.run(folder)
        assert (0, "") == (again.code, again.err)
        start.check(folder)
        assert start.done.batches == done.batches + again.batches
        assert turns < 5 * count + 50, "the signals come too late"
    counted(f"{number.name} at random moments of a step", stopped, count, MUST)


@both
@often("every", 1, 5)
def test_stopped_at_the_current_batch(
    every: int, number: signal.Signals, server: Server, tmp_path: Path
) -> None:
    """Not one batch more, in the middle of an epoch or at its end."""
    start, stopped = Start(server, tiny.make(tmp_path / "points"), STEP), 0
    for batch in range(2, start.done.batches, every):
        folder = start.fresh()
        done = start.run(folder, at_batch=batch, with_signal=number)
        check_left(done, number)
        assert batch == done.batches
        assert start.done.batches == batch + start.run(folder).batches
        start.check(folder)
        stopped += 1
    counted(f"{number.name} at a batch of a step", stopped, stopped, "save it, and train no batch more")


@both
@often("count", 50, 2)
def test_stopped_while_it_starts(count: int, number: signal.Signals, server: Server, tmp_path: Path) -> None:
    """A process of its own, from our first line on, through all imports, to the end.

    Of the 20 ms before, in which Python starts, nothing is known: there Ctrl-C may be Python's own traceback.
    """
    start = Start(server, tiny.make(tmp_path / "points", LONG), STEP)
    moments, stopped, turns = random.Random(5), 0, 0
    while stopped < count:
        turns += 1
        assert turns < 5 * count + 50, "the signals come too late"
        folder = start.fresh()
        done = signalled_process(folder, moments.uniform(0.002, 1.5), number)
        if done.code != 0:  # not over before
            check_left(done, number)
            stopped += 1
        assert 0 == start.run(folder).code
        start.check(folder)
    counted(f"{number.name} from our first line on, imports included", stopped, count, MUST)


def signalled_process(folder: Path, delay: float, number: signal.Signals) -> Done:
    """`python -m nhnas`; the signal comes `delay` seconds after it imported what obeys signals."""
    report = folder.with_name("report")
    with report.open("w") as err:
        words = [sys.executable, "-X", "importtime", "-m", "nhnas", *STEP]
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=err) as process:
            while "| nhnas.interrupt\n" not in report.read_text():
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(delay)
            process.send_signal(number)
            code = process.wait(WITHIN)
    told = [line for line in report.read_text().splitlines(True) if not line.startswith("import time:")]
    return Done(code, "", "".join(told), 0)


SLOW = """
import time
from pathlib import Path

def points():
    Path("reading").touch()
    time.sleep(100)
"""


@both
def test_stopped_while_it_reads_its_data(number: signal.Signals, server: Server, tmp_path: Path) -> None:
    """Where there is no next batch to wait for, it leaves at once."""
    folder = tiny.make(tmp_path / "slow").parent
    (folder / "mydata.py").write_text(SLOW)
    command = server.start(folder, STEP)
    next(None for _ in soon() if (folder / "reading").exists())
    command.send(number)
    check_left(command.wait(WITHIN), number)
