"""Forks commands from a process that has imported everything, so that one costs milliseconds, not seconds.

Each line of stdin is a request, each line of stdout its answer, in JSON. `{"words": [...], "folder", "out",
"err"}` starts a command and gives its process id; `{"wait": pid, "seconds"}` gives its exit status (negative:
the signal that killed it; null: it still runs). A command may be `stopped` before its first call, until
SIGCONT; may get a `signal` at `at_batch`; notes how many batches it trained in `batches`; may be kept from
files of more than `file_size` bytes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import nhnas.application
import nhnas.collection
import nhnas.command
import nhnas.comparison
import nhnas.comparison_text
import nhnas.evaluation
import nhnas.log
import nhnas.log_graph
import nhnas.log_table
import nhnas.main
import nhnas.plan_text
import nhnas.planning
import nhnas.reached
import nhnas.report
import nhnas.show
from nhnas.__main__ import run
from nhnas.interrupt import SIGNALS, leave_at_signals

RUNNING: set[int] = set()
"""Commands that nobody has waited for yet."""
PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)


def main() -> None:
    """Serve until stdin ends; signals are for the commands, which take them from their first moment on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _wait(request["wait"], request["seconds"]) if "wait" in request else _start(request)
        print(json.dumps(answer), flush=True)
    for process in RUNNING:  # of tests that failed; those that are halted would stay for ever
        os.kill(process, signal.SIGKILL)


def _wait(process: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            RUNNING.discard(process)
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.001)


def _start(request: dict[str, Any]) -> int:
    process = os.fork()
    if process == 0:
        _be_command(request)
    RUNNING.add(process)
    if request["stopped"]:
        os.waitpid(process, os.WUNTRACED)
    return process


def _be_command(request: dict[str, Any]) -> None:
    """Never returns. Whatever goes wrong is exit code 99, which no command has."""
    code: Any = 99
    try:
        leave_at_signals()
        _prepare(request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # from here on its line goes where it belongs
        run()
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _prepare(request: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(request["folder"])
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, request["out"], 1), (2, request["err"], 1)):
        os.dup2(os.open(path, flags | os.O_CREAT | os.O_TRUNC if number else flags, 0o600), number)
    os.closerange(3, 256)
    sys.argv = ["nhnas", *request["words"]]
    # every epoch's line, not one a second: the n-th write must be the same one each time
    setattr(nhnas.report.Lines, "epoch", lambda self, record: self.say(nhnas.report.epoch_line(record)))  # noqa: B010
    if request["batches"] is not None:
        _count_batches(request["batches"], request["at_batch"], request["signal"])
    if request["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
    if request["stopped"]:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY)  # where only a parent may trace; elsewhere no such thing
        os.kill(os.getpid(), signal.SIGSTOP)


def _count_batches(path: str, last: int | None, number: int) -> None:
    """Write the number of batches to `path` after each of them; at the `last` one comes a signal."""
    descriptor, count = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), [0]

    def batch(*_: Any) -> None:
        count[0] += 1
        os.pwrite(descriptor, str(count[0]).encode(), 0)
        if count[0] == last:
            os.kill(os.getpid(), number)

    Path(path).write_text("0")
    setattr(nhnas.report.Lines, "batch", batch)  # noqa: B010 - an assignment would have to have its type


if __name__ == "__main__":
    main()
