"""Running out of memory is no bug of ours: one line, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nhnas.spec.errors import TrainingError


def is_out_of_memory(error: Exception) -> bool:
    """torch has a class of its own for CUDA alone; the CPU's allocator raises a RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def opening_version(version: int) -> Iterator[None]:
    """While data, network and optimizer of `version` are made and measured; raises TrainingError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory before version {version} began to train; nothing is lost; lower train.batch, or "
            "make the network smaller"
        ) from error
