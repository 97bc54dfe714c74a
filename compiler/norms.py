"""Batch norms whose entries are about to be filled from elsewhere.

torch's constructor sets every attribute through `Module.__setattr__` and fills four vectors: 46 µs a norm,
of which a network of 200 nodes has 135, between two batches of a training that has the values already.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def empty_norm(maps: bool, size: int) -> Norm:
    """A norm over `size` channels of [B, C, H, W], or features of [B, F]; its vectors are not initialised."""
    pattern = _pattern(maps)
    norm = type(pattern).__new__(type(pattern))
    # What torch's own constructor left there, whatever that is in this version, its dictionaries copied.
    norm.__dict__ = {
        name: value.copy() if isinstance(value, dict | set) else value
        for name, value in vars(pattern).items()
    }
    norm.num_features = size
    for name in ("weight", "bias"):
        norm._parameters[name] = nn.Parameter(torch.empty(size))
    for name in ("running_mean", "running_var"):
        norm._buffers[name] = torch.empty(size)
    norm._buffers["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return norm


@cache
def _pattern(maps: bool) -> Norm:
    return nn.BatchNorm2d(1) if maps else nn.BatchNorm1d(1)
