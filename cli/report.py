"""What a running command tells: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Any, Protocol, TextIO


class Report(Protocol):
    """Told by a command what it does."""

    def say(self, text: str) -> None:
        """One line worth reading."""
        ...

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over."""
        ...

    def batch(self, phase: str, done: int, total: int, loss: float) -> None:
        """A batch is over."""
        ...


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Nothing."""

    def batch(self, phase: str, done: int, total: int, loss: float) -> None:
        """Nothing."""


def mute(stream: TextIO) -> None:
    """From now on what is written to it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Lines:
    """Lines on stdout; on a terminal the last one counts the batches."""

    REFRESH = 0.1
    """Seconds between two refreshes of the bar."""
    WIDTH = 24

    def __init__(self, every: float = 1.0) -> None:
        self._terminal = sys.stdout.isatty()
        self._every, self._shown, self._refreshed, self._held = every, 0.0, 0.0, ""

    def say(self, text: str) -> None:
        """Print a line; an epoch's line that was held back comes first."""
        if self._held:
            held, self._held = self._held, ""
            self._print(held)
        self._print(text)

    def epoch(self, record: dict[str, Any]) -> None:
        """Print an epoch's line, at most one every second: toy epochs take milliseconds."""
        line = epoch_line(record)
        if time.monotonic() - self._shown < self._every:
            self._held = line
            return
        self._held, self._shown = "", time.monotonic()
        self._print(line)

    def batch(self, phase: str, done: int, total: int, loss: float) -> None:
        """Refresh the bar."""
        if not self._terminal or time.monotonic() - self._refreshed < self.REFRESH:
            return
        self._refreshed = time.monotonic()
        full = self.WIDTH * done // max(total, 1)
        bar = "━" * full + " " * (self.WIDTH - full)
        self._write(f"\r\x1b[K  {phase} {bar} {done}/{total} loss {loss:.4f}")

    def _write(self, text: str) -> None:
        """To stdout, or nowhere once its terminal is gone: the hang-up that follows stops the command, or
        `nohup` wants it to go on."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            if not self._terminal or error.errno != errno.EIO:
                raise
            mute(sys.stdout)

    def _print(self, text: str) -> None:
        self._write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")


def epoch_line(record: dict[str, Any]) -> str:
    """`  fit   epoch 3  loss 0.1234  accuracy 95.31%`."""
    accuracy = f"  accuracy {record['accuracy']:.2%}" if "accuracy" in record else ""
    measured = record.get("test", {})
    test = "".join(
        f"  test {key} {_figure(key, measured[key])}" for key in ("accuracy", "mse") if key in measured
    )
    return f"  {record['phase']:<5} epoch {record['epoch']:<4} loss {record['loss']:.4f}{accuracy}{test}"


def _figure(key: str, value: float) -> str:
    return f"{value:.2%}" if key == "accuracy" else f"{value:.4g}"
