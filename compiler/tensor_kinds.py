"""Tensors that one call of torch may take together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def by_kind(tensors: Iterable[Tensor]) -> list[list[int]]:
    """Positions of the tensors, those of one type and device together, in the order of the first ones."""
    kinds: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for place, tensor in enumerate(tensors):
        kinds.setdefault((tensor.dtype, tensor.device), []).append(place)
    return list(kinds.values())
