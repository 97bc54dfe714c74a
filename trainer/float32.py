"""float32 that is float32: the switches by which torch computes with fewer bits, on GPUs and on some CPUs.

There are old ones (`allow_tf32`, `set_float32_matmul_precision`) and new ones (`fp32_precision`); reading an
old one fails where they contradict each other, as they do where a person sets a new one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import backends

T = TypeVar("T")


def exact_float32() -> None:
    """All 24 bits in products and convolutions, whatever was set before."""
    backends.cudnn.allow_tf32 = False
    backends.cuda.matmul.allow_tf32 = False
    for switch in _switches():
        switch.fp32_precision = "ieee"


@contextmanager
def float32_kept() -> Iterator[None]:
    """Afterwards all switches, old and new, are as before the block."""
    new = [switch.fp32_precision for switch in _switches()]
    products = _if_readable(torch.get_float32_matmul_precision)
    convolutions = _if_readable(lambda: backends.cudnn.allow_tf32)
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for switch, value in zip(_switches(), new, strict=True):  # last, since the old ones set them, too
            switch.fp32_precision = value


def _switches() -> list[Any]:
    """What holds a new switch, of GPUs and of CPUs; each is asked before those that hold for several."""
    gpu, cpu = backends.cudnn, backends.mkldnn
    return [backends.cuda.matmul, gpu.conv, gpu.rnn, cpu.matmul, cpu.conv, cpu.rnn]  # type: ignore[attr-defined]


def _if_readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except RuntimeError:
        return None
