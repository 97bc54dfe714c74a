"""Commands that are started, killed and looked at: `nhnas` forked by tests/crash/server.py."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import tiny

PATIENCE = 60.0
"""Seconds after which a command hangs."""
LONG = tiny.DENSE.replace("max_epochs: 2", "min_epochs: 40, max_epochs: 40")
"""126 batches a step."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code (negative: the signal that killed it), what it said, its batches."""

    code: int
    out: str
    err: str
    batches: int

    @property
    def killed(self) -> bool:
        """Whether kill -9 came before its end."""
        return self.code == -signal.SIGKILL


class Command:
    """A command that runs."""

    def __init__(self, server: Server, pid: int, out: Path, err: Path, batches: Path) -> None:
        self.pid, self.out = pid, out
        self._server, self._err, self._batches = server, err, batches

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that is over already gets none."""
        os.kill(self.pid, number)  # unwaited-for, the process id is still its own

    def wait(self, seconds: float = PATIENCE) -> Done:
        """Wait for its end; AssertionError where it hangs, or leaves a process behind."""
        code = self._server.ask({"wait": self.pid, "seconds": seconds})
        if code is None:
            self.send(signal.SIGKILL)
            self._server.ask({"wait": self.pid, "seconds": PATIENCE})
        texts = [path.read_text() if path.exists() else "" for path in (self.out, self._err, self._batches)]
        for path in (self.out, self._err, self._batches):
            path.unlink(missing_ok=True)
        assert code is not None, f"after {seconds} seconds it still ran\n{texts}"
        assert not _is_group(self.pid), "a process of its own is left"
        return Done(code, texts[0], texts[1], int(texts[2] or 0))


class Server:
    """Starts commands; `folder` is for what they print."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "tests.crash.server"]
        self._process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._folder, self._numbers = folder, itertools.count()

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        folder: Path,
        words: Sequence[str],
        *,
        stopped: bool = False,
        at_batch: int | None = None,
        with_signal: signal.Signals = signal.SIGKILL,
        file_size: int | None = None,
        count: bool = True,
    ) -> Command:
        """Start `nhnas WORDS` in `folder`; the options as in tests/crash/server.py."""
        number = next(self._numbers)
        out, err, batches = (self._folder / f"{number}.{name}" for name in ("out", "err", "batches"))
        request = {
            "folder": str(folder),
            "words": list(words),
            "out": str(out),
            "err": str(err),
            "stopped": stopped,
            "at_batch": at_batch,
            "signal": int(with_signal),
            "batches": str(batches) if count else None,
            "file_size": file_size,
        }
        return Command(self, self.ask(request), out, err, batches)

    def run(self, folder: Path, words: Sequence[str], seconds: float = PATIENCE, **options: Any) -> Done:
        """Start it and wait for its end."""
        return self.start(folder, words, **options).wait(seconds)

    def signalled(
        self, folder: Path, words: Sequence[str], delay: float, number: signal.Signals = signal.SIGKILL
    ) -> Done:
        """Run it; after `delay` seconds comes the signal."""
        command = self.start(folder, words)
        time.sleep(delay)
        command.send(number)
        return command.wait(10.0)


def soon() -> Iterator[None]:
    """Look again and again for what a command does soon; AssertionError where it never comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield
        time.sleep(0.001)
    raise AssertionError(f"nothing happened in {PATIENCE} seconds")


def _is_group(process: int) -> bool:
    try:
        os.killpg(process, 0)
    except ProcessLookupError:
        return False
    return True


class Start:
    """A folder to begin from, again and again, and what a command that nobody disturbs makes of it.

    The folder beside it, `<name>-again`, is where it begins.
    """

    def __init__(self, server: Server, spec: Path, words: Sequence[str]) -> None:
        self.words, self._server, self._folder = tuple(words), server, spec.parent
        self._again = spec.parent.with_name(f"{spec.parent.name}-again")
        self.text = spec.read_bytes()
        whole = self.fresh()
        begin = time.monotonic()
        self.done = self.run(whole)
        self.seconds = time.monotonic() - begin
        assert 0 == self.done.code, self.done.err
        self.expected = tiny.outcome(whole / "spec.yaml")
        self.after = self.expected["spec.yaml"]

    def fresh(self, folder: Path | None = None) -> Path:
        """A copy of it, with nothing of the one before."""
        target = folder or self._again
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self._folder, target)
        return target

    def run(self, folder: Path, **options: Any) -> Done:
        """The command, from its beginning to its end."""
        return self._server.run(folder, self.words, **options)

    def killed(self, folder: Path, moments: random.Random, share: float = 1.0) -> Done:
        """The command, and kill -9 at a random moment of the first `share` of the time that it takes."""
        return self._server.signalled(folder, self.words, moments.uniform(0, self.seconds * share))

    def is_over(self, folder: Path) -> bool:
        """Whether all is there that it leaves: what comes after that, such as its last line, needs no store.

        `--steps` and `--epochs` count from where a command begins, so the same words would begin a next one.
        """
        return self.expected == tiny.outcome(folder / "spec.yaml")

    def check(self, folder: Path) -> None:
        """AssertionError unless `folder` holds what the undisturbed command leaves, and nothing else."""
        found = tiny.outcome(folder / "spec.yaml")
        assert self.expected.keys() == found.keys()
        assert [] == [name for name in found if self.expected[name] != found[name]]
        assert [] == left_overs(folder)


def left_overs(folder: Path) -> list[str]:
    """Temporary files and folders below `folder`."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".tmp-*"))


def check_one_line(text: str) -> None:
    """AssertionError unless `text` is one line, and no traceback."""
    assert 1 == text.count("\n"), text
    assert "Traceback" not in text
