"""Leaves that read the same input, computed as one convolution and one norm in training (DESIGN §9).

A norm works channel by channel and a convolution output by output, so nothing changes but the number of
calls: in a tree of R residuals R+1 convolutions instead of 2R+1. Weights stay the leaves' own tensors and
are put together for each pass, which costs one copy of them, small beside what a batch costs.

Legend: B batch, I inputs, O outputs of a leaf, S sum of the O of a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.compiler.leaf import Leaf


class Owner(Protocol):
    """A node: its leaf, and the bias that the leaf adds because it has no norm."""

    leaf: Leaf

    @property
    def leaf_bias(self) -> Tensor | None:
        """[O], or None."""
        ...


class FusedLeaves:
    """The leaves that read one input, in groups that differ in nothing but their weights.

    Owns nothing: no module of its own, so that a network's tensors have one place each.
    """

    def __init__(self, owners: Iterable[Owner]) -> None:
        ordered = sorted(owners, key=_kind)
        self._groups = [list(group) for _, group in groupby(ordered, key=_kind)]

    def __call__(self, x: Tensor) -> dict[Leaf, Tensor]:
        """Outputs [B, O, …] of every leaf for x [B, I, …], in training mode."""
        return {leaf: y for group in self._groups for leaf, y in _outputs(group, x)}


def _outputs(group: Sequence[Owner], x: Tensor) -> Iterable[tuple[Leaf, Tensor]]:
    leaves, biases = [owner.leaf for owner in group], [owner.leaf_bias for owner in group]
    if len(group) == 1:
        return [(leaves[0], leaves[0](x, biases[0]))]
    own = [bias for bias in biases if bias is not None]
    weight = torch.cat([leaf.weight for leaf in leaves])
    y = leaves[0].apply_weight(x, weight, torch.cat(own) if own else None)
    norms = [leaf.norm for leaf in leaves if leaf.norm is not None]
    if norms:
        y = _normalised(y, norms)
    return zip(leaves, torch.split(y, [leaf.weight.shape[0] for leaf in leaves], 1), strict=True)


def _kind(owner: Owner) -> tuple[bool, int, int, bool, bool]:
    """Leaves of one kind may run as one."""
    leaf = owner.leaf
    return leaf.conv, leaf.padding, leaf.stride, leaf.norm is None, owner.leaf_bias is None


def _normalised(y: Tensor, norms: Sequence[nn.BatchNorm1d | nn.BatchNorm2d]) -> Tensor:
    """All norms over y [B, S, …] at once; the statistics of each move as if it had run alone."""
    first, sizes = norms[0], [norm.num_features for norm in norms]
    statistics = [[_buffers(norm)[at] for norm in norms] for at in range(3)]
    means, variances = torch.cat(statistics[0]), torch.cat(statistics[1])
    weight, bias = torch.cat([norm.weight for norm in norms]), torch.cat([norm.bias for norm in norms])
    y = F.batch_norm(y, means, variances, weight, bias, True, first.momentum or 0.0, first.eps)
    with torch.no_grad():
        moved = [part for whole in (means, variances) for part in torch.split(whole, sizes)]
        torch._foreach_copy_([*statistics[0], *statistics[1]], moved)
        torch._foreach_add_(statistics[2], 1)
    return y


def _buffers(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    assert norm.running_mean is not None  # our norms always track
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    return norm.running_mean, norm.running_var, norm.num_batches_tracked
