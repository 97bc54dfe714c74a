"""Commands under strace: what they write, in which order, and the n-th call failing or ending in kill -9."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.commands import Done, Server

WRITING = (
    *("write", "writev", "pwrite64", "pwritev", "ftruncate", "truncate", "fallocate", "sendfile"),
    *("copy_file_range", "openat", "open", "creat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "fsync", "fdatasync"),
    *("fchmod", "chmod", "fchmodat", "chown", "fchown", "utimensat", "sync_file_range", "msync"),
)
"""Calls that may change a disk, or wait for one; of opening only what creates or empties a file."""
_LINE = re.compile(
    r"(?:(?P<pid>\d+) +)?(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+|\?)(?P<rest>.*)"
)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"\d+ +<\.\.\. \w+ resumed>(?P<rest>.*)")
_PATH = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?:\d+|AT_FDCWD)<(?P<open>[^>]*)>')


@dataclass(frozen=True)
class Call:
    """A call of a trace; `number` counts those of its name, `paths` are those that it names or has open."""

    name: str
    number: int
    arguments: str
    paths: tuple[str, ...]
    failed: bool
    injected: bool

    @property
    def writes(self) -> bool:
        """Whether it may change the disk, or wait for it."""
        return self.name not in ("openat", "open") or re.search("O_CREAT|O_TRUNC", self.arguments) is not None

    def touches(self, folder: Path) -> bool:
        """Whether it is about something in `folder`."""
        return any(path == str(folder) or path.startswith(f"{folder}/") for path in self.paths)


@dataclass(frozen=True)
class Traced:
    """How a command ended under strace, and what it called."""

    done: Done
    calls: list[Call]


def traced(server: Server, folder: Path, words: Sequence[str], *options: str, **more: Any) -> Traced:
    """Run a command in `folder`, watched by strace with `options` from its first call on."""
    command = server.start(folder, words, stopped=True, count=False, **more)
    report = folder.with_name(f"{folder.name}.strace")
    calls = ("-e", f"trace={','.join(f'?{name}' for name in WRITING)}")
    strace = ["strace", "-f", "-y", "-s", "0", "-p", str(command.pid), "-o", str(report), *calls, *options]
    with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        if "attached" not in first:
            command.send(signal.SIGKILL)
        command.send(signal.SIGCONT)
        done = command.wait()
        assert "attached" in first, first
        process.communicate()
    lines = report.read_text().splitlines()
    report.unlink()
    return Traced(done, list(_calls(lines, folder)))


def _whole(lines: Sequence[str]) -> Iterator[str]:
    """Lines of calls that other threads interrupted, put together again."""
    begun: dict[str, str] = {}
    for line in lines:
        pid = line.partition(" ")[0]
        if line.endswith(_UNFINISHED):
            begun[pid] = line.removesuffix(_UNFINISHED)
        elif (match := _RESUMED.fullmatch(line)) and pid in begun:
            yield begun.pop(pid) + match["rest"]
        else:
            yield line


def _calls(lines: Sequence[str], folder: Path) -> Iterator[Call]:
    numbers: Counter[tuple[str, str]] = Counter()
    for line in _whole(lines):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        key = (match["pid"] or "", match["name"])
        numbers[key] += 1
        arguments = match["arguments"]
        paths = tuple(_paths(arguments, folder))
        failed = match["result"].startswith("-") or match["result"] == "?"
        yield Call(match["name"], numbers[key], arguments, paths, failed, "INJECTED" in match["rest"])


def _paths(arguments: str, folder: Path) -> Iterator[str]:
    """Absolute paths; a name after an open folder is in that folder, any other in the command's own."""
    below = str(folder)
    for found in _PATH.finditer(arguments):
        if found["open"] is not None:
            below = found["open"]
            yield below
        else:
            yield os.path.normpath(os.path.join(below, found["quoted"]))


def writes_of(server: Server, folder: Path, words: Sequence[str]) -> list[Call]:
    """The write-class calls of an undisturbed command on paths in its folder."""
    result = traced(server, folder, words)
    assert 0 == result.done.code, result.done.err
    return [call for call in result.calls if call.writes and call.touches(folder)]


def sampled(calls: list[Call], every: int, first: int = 0) -> list[Call]:
    """Every so many of them, and the last."""
    return list(itertools.islice(calls, first, len(calls) - 1, every)) + calls[-1:]
