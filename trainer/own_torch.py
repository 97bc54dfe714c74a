"""What a command changes of torch's state in a process, and puts back: its caller may have set it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def own_torch() -> Iterator[None]:
    """Gradients as usual, also under a caller's `no_grad` or `inference_mode`.

    Afterwards threads, random numbers of torch and TF32 on a GPU are as they were before.
    """
    threads = torch.get_num_threads()
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    tf32 = [backend.allow_tf32 for backend in backends]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        for backend, allowed in zip(backends, tf32, strict=True):
            backend.allow_tf32 = allowed
