"""A function over many tasks in worker processes, its results in order; torch's DataLoader runs the errands.

Workers are forked. So the function may be a closure and what it reads is shared, nothing is imported twice
(torch alone takes a second), and the spec's lock is dropped by the hook of `compiler.lock`. They touch no
GPU and no thread pool of torch's, of which a forked process must beware. They die with this process, however
it dies, leave Ctrl-C and SIGTERM to it, and say nothing on the terminal.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import torch
from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]  # as torch.spawn does
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from nhnas.spec.errors import InputError, StorageError

R = TypeVar("R")

_OURS = {signal.SIGINT, signal.SIGTERM}
_ERRORS = {error.exit_code: error for error in (InputError, StorageError)}


def ordered_map(work: Callable[[int], R], tasks: int, workers: int, ahead: int) -> Iterator[R]:
    """`work(0)`, `work(1)`, … `work(tasks - 1)`; with 0 workers in this process, each when it is asked for.

    Results travel through a pipe: plain numbers and text. At most `ahead` tasks a worker are begun before
    their results are asked for. The processes end with the iterator, or with its last reference. Raises
    what `work` raises of InputError and StorageError, StorageError where a worker is killed.
    """
    if workers == 0:
        return map(work, range(tasks))
    return _in_processes(work, tasks, min(workers, tasks), ahead)


def _in_processes(work: Callable[[int], R], tasks: int, workers: int, ahead: int) -> Iterator[R]:
    results = _start(work, tasks, workers, ahead)
    try:
        for _ in range(tasks):
            code, result = _next(results)
            if code is not None:
                raise _ERRORS[code](result)
            yield result
    finally:
        results._shutdown_workers()  # else they would live as long as a traceback that has a frame of theirs


def _next(results: Iterator[tuple[int | None, Any]]) -> tuple[int | None, Any]:
    try:
        return next(results)
    except RuntimeError as error:  # torch's word for a worker that is gone
        raise StorageError(
            "data.workers: a process that reads images was killed, perhaps for lack of memory; the same "
            "command goes on from what was saved last, data.workers: 0 reads without processes"
        ) from error


def _start(work: Callable[[int], R], tasks: int, workers: int, ahead: int) -> _MultiProcessingDataLoaderIter:
    with _undisturbed():
        loader = DataLoader(
            _Tasks(work),
            batch_size=None,
            sampler=range(tasks),
            num_workers=workers,
            prefetch_factor=ahead,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_settle, os.getpid()),
            multiprocessing_context="fork",
            generator=torch.Generator(),  # else it would draw from the random numbers of the training
        )
        try:
            return _MultiProcessingDataLoaderIter(loader)
        except OSError as error:
            raise StorageError(f"data.workers: {workers} processes cannot be started: {error}") from error


class _Tasks(Dataset[tuple[int | None, Any]]):
    """Task number → (exit code of the error or None, its message or the result): errors as plain data."""

    def __init__(self, work: Callable[[int], Any]) -> None:
        self._work = work

    def __getitem__(self, task: int) -> tuple[int | None, Any]:
        try:
            return None, self._work(task)
        except (InputError, StorageError) as error:
            return error.exit_code, str(error)


def _as_it_is(result: R) -> R:
    return result


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No signal meets a worker before it is settled, and none of torch's handlers stays in this process.

    The one for SIGCHLD would raise an error anywhere, also while the state is saved, when a worker is
    killed; waiting for a batch finds it out as well, within five seconds. The warnings are about more
    workers than cores, and (Python 3.12) about forking a process with threads.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    child_handler = signal.getsignal(signal.SIGCHLD)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if signal.getsignal(signal.SIGCHLD) is not child_handler:
            signal.signal(signal.SIGCHLD, child_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(parent: int, _worker: int) -> None:
    """First act of a worker: it is told nothing by the terminal, and does not outlive its parent."""
    _prctl_pr_set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(signal, "sigwaitinfo"):
        Thread(target=_obey, args=(parent,), daemon=True).start()
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _obey(parent: int) -> None:
    """SIGTERM from the parent ends the worker; one that a batch system sends to every process does not.

    The parent still has to finish its batch and save.
    """
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
