"""Arrays that worker processes fill in memory that all of them share, in order of their tasks.

Not shared memory of the system's (/dev/shm), which containers keep small: anonymous memory, inherited at the
fork, which nothing has to clean up. Nothing is copied on the way, and only small results go through a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nhnas.trainer.worker_processes import ordered_map

R = TypeVar("R")


def shared_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros that a process shares with the processes forked from it."""
    kind = np.dtype(dtype)
    return np.frombuffer(mmap(-1, max(1, prod(shape) * kind.itemsize)), kind, prod(shape)).reshape(shape)


def filled_arrays(
    fill: Callable[[int, NDArray[Any]], R],
    tasks: int,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    workers: int,
    ahead: int,
) -> Iterator[tuple[NDArray[Any], R]]:
    """For each task the array [*shape] that `fill(task, array)` wrote into, and what it returned.

    The array holds what an earlier task left in it, and is written again when the next one is asked for.
    Raises what `ordered_map` raises.
    """
    slots = ahead * workers + 1  # begun before they are asked for, and the one that the caller looks at
    ring = shared_array((slots, *shape), dtype)
    results = ordered_map(lambda task: fill(task, ring[task % slots]), tasks, workers, ahead)
    for task, result in enumerate(results):
        yield ring[task % slots], result
