"""Ctrl-C, SIGTERM, a closed terminal end a command at once; in training at the next batch, with all saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from nhnas.spec.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_at_signals() -> None:
    """From now on a signal ends the process with 128 + its number and one line; one that is ignored stays so.

    Not by an exception: one that is raised inside an import or a callback ends in a traceback or in nothing.
    Nothing is lost by it that kill -9 would leave.
    """
    for number in SIGNALS:
        if not _is_ignored(number):
            signal.signal(number, _leave)


def ignore_signals() -> None:
    """From now on signals change nothing: the command is over, its exit code is known."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"nhnas: stopped\n")
    os._exit(128 + number)


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Yields a function that gives the number of the signal that came, 0 while none did.

    Who obeys it raises Interrupted; a signal that nobody obeyed comes again at the end of the block. A second
    Ctrl-C insists. Outside the main thread, where Python allows no handlers, nothing is stopped.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in SIGNALS if not _is_ignored(number)}
    except ValueError:
        yield lambda: 0
        return
    obeyed = False
    try:
        yield lambda: received[0] if received else 0
    except Interrupted:
        obeyed = True
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received and not obeyed:
            signal.raise_signal(received[0])


def _is_ignored(number: int) -> bool:
    """A job in the background ignores Ctrl-C: it is meant for another."""
    return signal.getsignal(number) == signal.SIG_IGN
