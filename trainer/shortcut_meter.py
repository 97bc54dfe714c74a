"""How much of a node's output comes from its shortcut, measured in training (DESIGN §6 Restructure).

For a node with a shortcut leaf and hidden neurons, over all samples and positions of an epoch,

    share = max over channels of std(leaf's output) / std(node's output),   0/0 = 0.

Letters: B samples of a batch, O channels, N samples times positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""A variance below this part of the mean square is what rounding leaves of a constant channel."""


class ShortcutMeter:
    """Adds up, for each node, N, Σ and Σ² of leaf and output by channel, in float64, until `reset`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def observe(self, path: str, leaf: Tensor, output: Tensor) -> None:
        """Take in one batch of the node at `path`: its leaf's output and its own, [B, O] or [B, O, …]."""
        added = torch.stack([*_moments(leaf.detach()), *_moments(output.detach())])
        found = self._sums.get(path)
        self._sums[path] = added if found is None else found.to(added.device) + added

    def shares(self) -> dict[str, float]:
        """The share of the shortcut in each node seen since the last `reset`, by path."""
        return {path: _share(sums.cpu().numpy()) for path, sums in self._sums.items()}

    def reset(self) -> None:
        """Forget everything: the next epoch starts."""
        self._sums.clear()

    def state(self) -> dict[str, Tensor]:
        """Copies of the sums by path, float64 [6, O]: N, Σ, Σ² of the leaf, then of the output.

        All are sums over samples, so processes may add up theirs.
        """
        return {path: sums.clone() for path, sums in self._sums.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned; on whatever device the next batches are."""
        self._sums = {path: sums.clone() for path, sums in state.items()}


def _moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """N, Σ and Σ² by channel, [O] each, of [B, O, …].

    Squares are taken around the batch's mean, where float32 loses nothing, and moved in float64.
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    axes = (0, *range(2, wide.dim()))
    mean = wide.mean(axes, keepdim=True)
    spread = (wide - mean).square_().sum(axes).double()
    count = torch.full_like(spread, wide.numel() // wide.shape[1])
    center = mean.flatten().double()
    return count, count * center, spread + count * center.square()


def _share(sums: Floats) -> float:
    leaf, output = _deviation(sums[:3]), _deviation(sums[3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(leaf == 0.0, 0.0, leaf / output)
    return float(ratios.max(initial=0.0))


def _deviation(sums: Floats) -> Floats:
    """Standard deviation by channel, [O], from N, Σ, Σ² [3, O]."""
    count, total, squares = sums
    variance = squares / count - (total / count) ** 2
    kept = np.where(variance > ROUNDING * squares / count, variance, 0.0)
    deviation: Floats = np.sqrt(kept)
    return deviation
