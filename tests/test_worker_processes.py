"""Processes that read images: none outlives its command, however that ends, and they leave no trace in it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from nhnas.spec.errors import StorageError
from nhnas.trainer.batches import ordered_batches
from tests import tiny
from tests.stopping import copied
from tests.streamed import GOOD, SPEC, draw_pictures, epoch_of, loaded, own

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of small random images in two classes."""
    return draw_pictures(tmp_path / "pictures")


def test_a_worker_that_is_killed_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, no hang, no worker left."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.05,))
    body = GOOD.replace("return", "os.getpid() == PARENT or i < 35 or os.kill(os.getpid(), 9); return")
    before = children(os.getpid())
    with pytest.raises(StorageError, match=r"^data\.workers: a process that reads images was killed, "):
        own(tmp_path, body)
    assert before == children(os.getpid())


def children(process: int) -> set[int]:
    """Numbers of the running children."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == process and state != "Z":
                found.add(int(path.parent.name))
    return found


def test_workers_leave_no_trace_in_the_process(pictures: Path) -> None:
    """Random numbers, signal handlers and masks, open files and processes are as before."""

    def trace() -> tuple[Any, ...]:
        handlers = [signal.getsignal(n) for n in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        files = len(os.listdir("/proc/self/fd"))
        return torch.get_rng_state().tolist(), handlers, mask, files, children(os.getpid())

    dataset = loaded(pictures, 2)
    gc.collect()  # files that other tests left behind
    before = trace()
    epoch_of(dataset)
    shown = iter(ordered_batches(dataset.train, 4, None, None, "cpu"))
    next(shown)
    assert 2 == len(children(os.getpid()) - before[-1])
    del shown
    wait_for(lambda: before == trace())  # threads of the queues close their files
    assert before == trace()


SLOW = """
import time, numpy as np, torch
from nhnas.trainer.datasets import Dataset, LazyImages

def read(position):
    time.sleep(0.002)
    return np.full((3, 5, 6), position, np.uint8)

def make():
    train, test = (LazyImages(read, torch.arange(count) % 2) for count in (42, 10))
    return Dataset("slow", train=train, test=test)
"""


def slow_spec(folder: Path) -> Path:
    """A spec whose images take their time, read by two workers."""
    text = SPEC.replace("dataset: image_folder, root: ../pictures", 'dataset: "mydata:make", workers: 2')
    spec = tiny.make(folder, text)
    spec.with_name("mydata.py").write_text(SLOW)
    return spec


@contextmanager
def training(spec: Path, epochs: int) -> Iterator[subprocess.Popen[str]]:
    """The command line, in a session of its own."""
    words = [sys.executable, "-m", "nhnas", "train", spec.name, "--epochs", str(epochs)]
    with subprocess.Popen(
        words, cwd=spec.parent, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        yield process


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """Its two workers, as soon as they are there."""
    while len(found := children(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    return found


def are_gone(processes: set[int]) -> bool:
    """Whether they end soon."""
    return wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in processes))


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within half a minute, in which also a busy machine gets to it."""
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_kill_9_leaves_no_worker_and_loses_nothing(tmp_path: Path) -> None:
    """Killed in the first pass and in the midst of training; then the same command ends in the same bytes."""
    spec = slow_spec(tmp_path / "start")
    whole = copied(spec, "whole")
    tiny.train(whole, epochs=3)
    for wait in ("", "epoch 1"):
        with training(spec, 3) as process:
            assert process.stdout is not None
            while wait and wait not in process.stdout.readline():
                pass
            workers = workers_of(process)
            process.kill()
            assert are_gone(workers)
    tiny.train(spec, epochs=3)
    assert tiny.outcome(whole) == tiny.outcome(spec)


@pytest.mark.parametrize(("number", "wait"), [(signal.SIGINT, "epoch"), (signal.SIGTERM, "epoch"),
                                              (signal.SIGINT, ""), (signal.SIGTERM, "")])  # fmt: skip
def test_a_signal_to_all_processes_stops_the_command_alone(
    number: signal.Signals, wait: str, tmp_path: Path
) -> None:
    """Ctrl-C, or a batch system's SIGTERM: one line, its own code, nothing printed by workers, none left."""
    spec = slow_spec(tmp_path / "start")
    with training(spec, 50) as process:
        assert process.stdout is not None
        while wait and wait not in process.stdout.readline():
            pass
        workers = workers_of(process)
        os.killpg(process.pid, number)
        error = process.communicate()[1]
    assert 128 + number == process.returncode
    expected = "stopped; all is saved, and the same command goes on from here" if wait else "nhnas: stopped"
    assert f"{expected}\n" == error
    assert are_gone(workers)
