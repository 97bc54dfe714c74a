"""Work that is many small copies: a second thread would only be waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the block on one of torch's threads; for copies alone, whose bits depend on no number of threads.

    torch splits every copy of 32,768 numbers and more. On a busy machine each such meeting of two threads
    waits for a time slice: a growth of 9 ms took 18 to 40.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
