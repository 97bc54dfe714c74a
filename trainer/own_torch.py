"""What a command changes of torch's state in a process, and puts back: its caller may have set it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nhnas.trainer.float32 import float32_kept


@contextmanager
def own_torch() -> Iterator[None]:
    """Gradients as usual, also under a caller's `no_grad` or `inference_mode`.

    Afterwards threads, random numbers of torch and how it computes in float32 are as they were before.
    """
    threads = torch.get_num_threads()
    try:
        with _random_kept(), float32_kept(), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _random_kept() -> Iterator[None]:
    """Random numbers go on afterwards as if the block had not been there, on every device.

    Where no GPU was used yet, none is asked for its state: that alone takes half a gigabyte of each. What
    torch would seed it with at its first use is set again.
    """
    is_used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if is_used else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        if not is_used:
            torch.cuda.manual_seed_all(torch.initial_seed())
