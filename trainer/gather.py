"""Rows of a tensor on their way to the device that computes.

Shapes: N rows, B of them in a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def gathered(rows: Tensor, positions: NDArray[np.int64], device: str | torch.device) -> Tensor:
    """The rows [B, …] of [N, …] at `positions` [B], on the device; nobody waits until a GPU has got them."""
    chosen = torch.from_numpy(positions).to(rows.device)
    if rows.device.type == torch.device(device).type:
        return rows[chosen]
    out = page_locked((len(positions), *rows.shape[1:]), rows.dtype, device)
    return torch.index_select(rows, 0, chosen, out=out).to(device, non_blocking=True)


def page_locked(shape: tuple[int, ...], dtype: torch.dtype, device: str | torch.device) -> Tensor:
    """An empty tensor in the computer's memory, page-locked where it is to travel to a GPU."""
    return torch.empty(shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")
