"""The mean of a network's weights over the last batches of a training, in place of the last ones.

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima", with the running mean over every batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class WeightAverage:
    """The mean of all floating-point tensors of a network, statistics of norms included.

    `tensors` are the network's own, by canonical name: `add` takes them in, `finish` replaces them.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: t.detach() for name, t in tensors.items() if t.is_floating_point()}
        self.count = 0
        self.means = {name: torch.zeros_like(t) for name, t in self._tensors.items()}

    def load(self, count: int, means: Mapping[str, Tensor]) -> None:
        """Go on from what `count` and `means` were."""
        self.count = count
        for name, mean in self.means.items():
            mean.copy_(means[name])

    def add(self) -> None:
        """Take in the tensors as they are now: mean <- mean + (now - mean) / count."""
        self.count += 1
        torch._foreach_lerp_(list(self.means.values()), list(self._tensors.values()), 1.0 / self.count)

    def finish(self) -> None:
        """Put the means in the network's place; nothing where nothing was taken in."""
        if self.count:
            torch._foreach_copy_(list(self._tensors.values()), list(self.means.values()))
