"""Signals: asked for a stop, obeyed or not, ignored (cli/interrupt.py); whole commands in tests/crash."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from nhnas.interrupt import SIGNALS, stop_requests
from nhnas.spec.errors import Interrupted

both = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def outside() -> Iterator[list[int]]:
    """What reaches the handlers that were there before."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in SIGNALS}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@both
def test_a_signal_asks_for_a_stop(number: signal.Signals, outside: list[int]) -> None:
    """It is told to who asks, and not again to others where Interrupted says that it was obeyed."""

    def work() -> None:
        with stop_requests() as stop:
            assert 0 == stop()
            signal.raise_signal(number)
            raise Interrupted("stopped", stop())

    with pytest.raises(Interrupted) as caught:
        work()
    assert 128 + number == caught.value.exit_code
    assert [] == outside


@both
@pytest.mark.parametrize("error", [None, ValueError])
def test_a_signal_that_nobody_obeyed_comes_again(
    error: type[Exception] | None, number: signal.Signals, outside: list[int]
) -> None:
    """One that comes after the last batch, or in a batch that fails, is not lost."""
    try:
        with stop_requests():
            signal.raise_signal(number)
            assert [] == outside
            if error is not None:
                raise error
    except ValueError:
        assert error is ValueError
    assert [number] == outside


def test_a_second_ctrl_c_insists(outside: list[int]) -> None:
    """It does not wait for the next batch; a second SIGTERM does, since programs send it twice."""
    seen: list[int] = []
    try:
        with stop_requests():
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                seen.append(number)
                signal.raise_signal(number)
    except KeyboardInterrupt:
        seen.append(0)
    assert [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, 0] == seen
    assert [signal.SIGTERM] == outside


def test_a_job_in_the_background_ignores_ctrl_c() -> None:
    """What was ignored from the start stays so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        assert 0 == stop()
    assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)


def test_in_a_thread_nothing_is_stopped() -> None:
    """Python has no handlers there; the block is entered and left all the same."""
    seen: list[int] = []

    def work() -> None:
        with stop_requests() as stop:
            seen.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [0] == seen


@both
def test_the_command_line_leaves_at_once(number: signal.Signals) -> None:
    """128 + the number, and one line; never an exception in the middle of an import."""
    code = f"import signal; from nhnas.interrupt import leave_at_signals; leave_at_signals()\n\
try: signal.raise_signal({int(number)})\nfinally: print('never')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (128 + number, "", "nhnas: stopped\n") == (done.returncode, done.stdout, done.stderr)


@both
def test_what_is_done_is_done(number: signal.Signals) -> None:
    """While Python takes its moment to leave, a signal does not turn the exit code 0 into another."""
    code = f"import atexit, signal, sys; from nhnas.__main__ import run; sys.argv = ['nhnas', '--help']\n\
atexit.register(signal.raise_signal, {int(number)}); run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert "Usage" in done.stdout
