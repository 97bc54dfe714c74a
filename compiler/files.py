"""Writes that survive kill -9 and a power cut: temporary name, fsync, rename, fsync of the folder.

A temporary name is `.tmp-<pid>-nhnas-<random>` in the folder of its final name. Whoever writes one
holds a flock on it, which the kernel drops with the process: `sweep` removes exactly those that
nobody writes any more. The process id in the name is for people; as a proof of life it would fail
in containers (every run is process 7) and on shared disks (other hosts).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from nhnas.spec.errors import InputError, StorageError

_TEMPORARY = re.compile(r"\.tmp-[0-9]+-nhnas-[0-9a-f]+")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# No links: a snapshot is whole by itself. Not blocking: opening a pipe would wait for ever.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def one_line(text: object, limit: int = 300) -> str:
    """`text` as it can stand in a one-line message: unprintable characters escaped, the middle cut."""
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return escaped if len(escaped) <= limit else f"{escaped[: limit // 2]}…{escaped[-limit // 2 :]}"


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns an OSError of the block into `StorageError("path: reason")`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{one_line(path)}: {error.strerror or one_line(error)}") from error


def read_file(path: Path, size: int | None = None, limit: int = 1 << 40) -> bytes:
    """The whole regular file, never a link or a pipe; `size` is how many bytes it must have.

    Raises InputError (missing, not a regular file, another size, larger than `limit` bytes) and
    StorageError (cannot be read).
    """
    with storing(path):
        descriptor = _open_to_read(path)
        try:
            _check_status(path, os.fstat(descriptor), size, limit)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Creates or replaces `path`, durably and at once; its mode is 0666 without the umask's bits.

    Raises StorageError; the old file, if any, is then untouched.
    """
    with storing(path), _temporary_file(path.parent) as (temporary, descriptor):
        _write_all(descriptor, data)
        os.fsync(descriptor)
        os.rename(temporary, path)
        sync(path.parent)


def replace_text(path: Path, expected: bytes | None, new: bytes) -> bool:
    """Replaces a file that people edit, durably and at once, keeping its mode and links to it.

    `expected` is what the file must still hold (None: anything, or no file). Where it holds
    something else or is gone, nothing is written and the answer is False. Raises StorageError.
    """
    target = Path(os.path.realpath(path))
    with storing(path), _temporary_file(target.parent) as (temporary, descriptor):
        if target.exists():
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
        _write_all(descriptor, new)
        os.fsync(descriptor)
        # Compared as late as possible: a person may save the file at any moment.
        if expected is not None and _content(target) != expected:
            return False
        os.rename(temporary, target)
        sync(target.parent)
    return True


def make_folder(path: Path) -> None:
    """Creates `path` and what is missing above it, each made durable. Raises StorageError."""
    with storing(path):
        missing = []
        for folder in (path, *path.parents):
            if folder.exists():
                break
            missing.append(folder)
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            sync(folder.parent)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, to be filled and given to `commit_folder`; else it is removed."""
    with storing(parent):
        path, descriptor = _claim(parent, is_folder=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # after a commit nothing is there any more
        os.close(descriptor)


def commit_folder(temporary: Path, final: Path) -> bool:
    """Makes all that is in `temporary` durable, then gives it its `final` name at once.

    False where `final` is there already (it stays as it is, and is durable). Raises StorageError.
    """
    with storing(final):
        for folder, _, names in os.walk(temporary, topdown=False, onerror=_raise):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        try:
            os.rename(temporary, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            committed = False
        else:
            committed = True
        sync(final.parent)
    return committed


def remove_folder(path: Path) -> None:
    """Removes a folder as a whole: a kill leaves either all of it or a temporary name.

    Durable once the parent is fsync'd, which is left to the caller. Raises StorageError.
    """
    with storing(path):
        descriptor = os.open(path, _FOLDER_FLAGS)
        try:
            _lock(descriptor)  # nobody sweeps it meanwhile
            temporary = _temporary_name(path.parent)
            os.rename(path, temporary)
            shutil.rmtree(temporary)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> int:
    """Removes the temporary files and folders in `folder` that no live process writes.

    Returns how many. A folder that does not exist holds none. Raises StorageError.
    """
    with storing(folder):
        if not folder.is_dir():
            return 0
        names = [name for name in sorted(os.listdir(folder)) if _TEMPORARY.fullmatch(name)]
        return sum(_remove_dead(folder / name) for name in names)


def sync(path: Path) -> None:
    """fsync of a file or a folder; OSError as it comes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_name(folder: Path) -> Path:
    return folder / f".tmp-{os.getpid()}-nhnas-{secrets.token_hex(6)}"


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[Path, int]]:
    path, descriptor = _claim(folder, is_folder=False)
    try:
        yield path, descriptor
    finally:
        if os.path.lexists(path):  # not renamed; an error here would hide the one that matters
            with suppress(OSError):
                os.unlink(path)
        os.close(descriptor)


def _claim(folder: Path, *, is_folder: bool) -> tuple[Path, int]:
    """A new temporary file or folder and the descriptor that holds its flock."""
    while True:
        path = _temporary_name(folder)
        if is_folder:
            os.mkdir(path)
        try:
            descriptor = os.open(path, _FOLDER_FLAGS if is_folder else _FILE_FLAGS, 0o666)
        except FileNotFoundError:
            if is_folder and folder.is_dir():
                continue  # swept by another process before the flock
            raise
        if _lock(descriptor) is not False and _is_name(descriptor, path):
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the flock is ours now; None where the file system has none for this (folders on NFS)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            return None
        raise
    return True


def _is_name(descriptor: int, path: Path) -> bool:
    """Whether `path` still names what is open: it may be renamed or swept at any moment."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        return False
    try:
        if not _lock(descriptor) or not _is_name(descriptor, path):
            return False
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True
    finally:
        os.close(descriptor)


def _open_to_read(path: Path) -> int:
    try:
        return os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        raise InputError(f"{one_line(path)}: is missing") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{one_line(path)}: is a link, not a regular file") from None


def _check_status(path: Path, status: os.stat_result, size: int | None, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{one_line(path)}: is not a regular file")
    if status.st_size > limit:
        raise InputError(f"{one_line(path)}: has {status.st_size} bytes, at most {limit} are read")
    if size is not None and status.st_size != size:
        raise InputError(f"{one_line(path)}: has {status.st_size} bytes instead of {size}")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _raise(error: OSError) -> NoReturn:
    raise error
