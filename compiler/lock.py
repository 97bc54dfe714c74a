"""One command at a time on a spec: a flock, which the kernel drops with the process (DESIGN §7)."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.files import one_line, storing, sweep
from nhnas.compiler.place import create_store, lock_file, slot_folder, snapshots_folder
from nhnas.spec.errors import BusyError

_held: set[int] = set()
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
        try:
            yield
        finally:
            if descriptor in _held:
                _unsign(descriptor)
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
    """Who signed the lock of a spec last, None where they surely run no more; takes no lock."""
    try:
        text = lock_file(store, spec_name).read_text("utf-8", "replace")
    except OSError:
        return None
    return _living(text)


def _acquire(descriptor: int, spec_name: str, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        holder = _holder(descriptor)
        raise BusyError(f"{one_line(spec_name)} is held by {holder}; try later, or --wait") from None


def _sign(descriptor: int, command: str) -> None:
    """Process, host, command and the process's start, for the message of those who come later."""
    process = os.getpid()
    lines = (process, socket.gethostname(), one_line(command), _started(process) or "")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, "".join(f"{line}\n" for line in lines).encode(), 0)


def _unsign(descriptor: int) -> None:
    """The process may live on, as a notebook's does."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)


def _holder(descriptor: int) -> str:
    """Who signed; what names nobody, or one who is gone, is read again: the holder is about to sign."""
    end = time.monotonic() + _SIGNING
    while True:
        text = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        if (found := _living(text)) is not None:
            return str(found)
        if time.monotonic() > end:
            return str(_signed(text) or "another process")
        time.sleep(0.005)


def _signed(text: str) -> Holder | None:
    lines = text.splitlines()
    if len(lines) not in (3, 4) or not lines[0].isdecimal():
        return None
    return Holder(int(lines[0]), one_line(lines[1]), one_line(lines[2]))


def _living(text: str) -> Holder | None:
    """Who signed, unless they surely run no more."""
    found = _signed(text)
    if found is None or found.host != one_line(socket.gethostname()):
        return found  # nothing is known of other hosts
    start = [*text.splitlines(), ""][3]
    is_other = bool(start) and _started(found.process) not in (None, start)
    return None if is_other or _is_gone(found.process) else found


def _started(process: int) -> str | None:
    """When a process of this host began (proc(5), `starttime`): numbers come round again."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False
