"""A terminal that is closed while a command trains: it stops with all saved, or goes on where it is to."""

from __future__ import annotations

import errno
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas.report import Lines
from nhnas.spec.document import read_document
from nhnas.unfinished import unfinished
from tests import tiny

LONG = tiny.DENSE.replace("max_epochs: 2", "min_epochs: 50, max_epochs: 50").replace("batch: 8", "batch: 1")
START = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'nhnas', 'step', 'spec.yaml'])"
)
HEARING, IGNORING = (
    f"import signal; signal.signal(signal.SIGHUP, signal.SIG_{how});" for how in ("DFL", "IGN")
)
"""The tests themselves may run under nohup."""


def hung_up(spec: Path, before: str = HEARING) -> int:
    """Exit code of a step whose terminal is closed after its first epoch."""
    master, slave = pty.openpty()
    words = [sys.executable, "-c", before + START]
    with subprocess.Popen(
        words, cwd=spec.parent, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        seen = b""
        while b"epoch" not in seen:
            seen += os.read(master, 4096)
        process.send_signal(signal.SIGSTOP)  # or it may be over before this process gets its turn
        os.close(master)
        process.send_signal(signal.SIGCONT)
        return process.wait(timeout=60)


@pytest.fixture
def whole(tmp_path: Path) -> str | None:
    """The state that nobody interrupts."""
    spec = tiny.make(tmp_path / "whole", LONG)
    tiny.step(spec)
    return read_document(spec).state


def test_a_closed_terminal_stops_a_command_with_all_saved(tmp_path: Path, whole: str | None) -> None:
    """Exit code 128 + SIGHUP, and the same command comes to the same version."""
    spec = tiny.make(tmp_path / "spec", LONG)
    assert 129 == hung_up(spec)
    (line,) = unfinished(read_document(spec), spec)
    assert "`nhnas step` was interrupted in version 1 (fit, " in line
    tiny.step(spec)
    assert whole == read_document(spec).state


def test_what_is_to_outlive_its_terminal_does(tmp_path: Path, whole: str | None) -> None:
    """Under nohup, which ignores the hang-up, the step goes on to its end, unheard."""
    spec = tiny.make(tmp_path / "spec", LONG)
    assert 0 == hung_up(spec, IGNORING)
    assert whole == read_document(spec).state


class Broken(io.StringIO):
    """A stdout that cannot be written to."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_failing_disk_behind_stdout_is_no_closed_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is gone is passed over; of a file the command hears."""
    muted: list[object] = []
    monkeypatch.setattr("nhnas.report.mute", muted.append)
    for is_terminal in (True, False):
        monkeypatch.setattr(sys, "stdout", Broken(is_terminal))
        lines = Lines()
        if is_terminal:
            lines.say("one line")
            assert [sys.stdout] == muted
        else:
            with pytest.raises(OSError, match="Input/output error"):
                lines.say("one line")
