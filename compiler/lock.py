"""One command at a time on a spec: a flock, which the kernel drops with the process (DESIGN §7)."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.files import one_line, storing, sweep
from nhnas.compiler.place import create_store, lock_file, slot_folder, snapshots_folder
from nhnas.spec.errors import BusyError

_held: set[int] = set()
TRIES, PAUSE = 5, 0.01
"""Before a lock counts as held: who only reads asks whether it is, for microseconds; seconds between two."""
_SIGNING = 0.5
"""Seconds that a holder is given to sign; it takes microseconds where the machine is not busy."""


def _drop_in_child() -> None:
    """A forked data-loader worker shares the flock: it would keep it after its parent was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_in_child)


@contextmanager
def hold(store: Path, spec_name: str, wait: bool = False, command: str = "nhnas") -> Iterator[None]:
    """Holds the lock of a spec (`spec_name` as in `place.spec_key`) and sweeps what a kill left in the store.

    `command` is what others are told. Raises BusyError at once while another process, or this one,
    holds it; with `wait`, waits instead. Raises StorageError. The lock file is never deleted.
    """
    path = lock_file(store, spec_name)
    create_store(store)
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _held.add(descriptor)
    try:
        with storing(path):
            _acquire(descriptor, spec_name, wait)
            _sign(descriptor, command)
        for folder in (store, snapshots_folder(store), slot_folder(store, spec_name)):
            sweep(folder)
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            _held.discard(descriptor)
            os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """Who signed a lock."""

    process: int
    host: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} ({self.command}) on {self.host}"


def signer(store: Path, spec_name: str) -> Holder | None:
    """Who holds the lock of a spec, as far as they have signed it; None where nobody does.

    Asked by a shared lock of microseconds, which a command that begins meanwhile waits for. Raises nothing.
    """
    try:
        with open(lock_file(store, spec_name), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _signed(file.read(4096).decode("utf-8", "replace"))
    except OSError:
        pass
    return None


def _acquire(descriptor: int, spec_name: str, wait: bool) -> None:
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return
        except BlockingIOError:
            time.sleep(PAUSE)
    raise BusyError(f"{one_line(spec_name)} is held by {_holder(descriptor)}; try later, or --wait")


def _sign(descriptor: int, command: str) -> None:
    """Process, host and command, for the message of those who come later."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{socket.gethostname()}\n{one_line(command)}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    """Who signed; what names nobody, or one who is gone, is read again: the holder is about to sign."""
    end = time.monotonic() + _SIGNING
    while True:
        found = _signed(os.pread(descriptor, 4096, 0).decode("utf-8", "replace"))
        if (found is not None and not _is_gone(found)) or time.monotonic() > end:
            return str(found or "another process")
        time.sleep(0.005)


def _signed(text: str) -> Holder | None:
    lines = text.splitlines()
    if len(lines) != 3 or not lines[0].isdecimal():
        return None
    return Holder(int(lines[0]), one_line(lines[1]), one_line(lines[2]))


def _is_gone(holder: Holder) -> bool:
    """Whether it surely runs no more; nothing is known of other hosts."""
    if holder.host != one_line(socket.gethostname()):
        return False
    try:
        os.kill(holder.process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False
