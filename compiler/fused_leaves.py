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
from nhnas.compiler.rows_norm import rows_norm, suits


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
    leaves = [owner.leaf for owner in group]
    biases = [owner.leaf_bias for owner in group if owner.leaf_bias is not None]
    y = leaves[0].apply_weight(
        x, _joined([leaf.weight for leaf in leaves]), _joined(biases) if biases else None
    )
    norms = [leaf.norm for leaf in leaves if leaf.norm is not None]
    if norms:
        y = _normalised(y, norms)
    return zip(leaves, torch.split(y, [leaf.weight.shape[0] for leaf in leaves], 1), strict=True)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _kind(owner: Owner) -> tuple[bool, int, int, bool, bool]:
    """Leaves of one kind may run as one."""
    leaf = owner.leaf
    return leaf.conv, leaf.padding, leaf.stride, leaf.norm is None, owner.leaf_bias is None


def _normalised(y: Tensor, norms: Sequence[nn.BatchNorm1d | nn.BatchNorm2d]) -> Tensor:
    """All norms over y [B, S, …] at once; the statistics of each move as if it had run alone."""
    first, sizes = norms[0], [norm.num_features for norm in norms]
    means, variances, counters = ([_buffers(norm)[at] for norm in norms] for at in range(3))
    weight, bias = _joined([norm.weight for norm in norms]), _joined([norm.bias for norm in norms])
    rate = first.momentum or 0.0
    if suits(y):
        y, mean, variance = rows_norm(y, weight, bias, first.eps)
        pixels = y.numel() // y.shape[1]
        moved = [mean, variance * (pixels / (pixels - 1))]
        with torch.no_grad():
            torch._foreach_lerp_(
                [*means, *variances], [part for whole in moved for part in torch.split(whole, sizes)], rate
            )
    else:
        moved = [_joined(means), _joined(variances)]
        y = F.batch_norm(y, moved[0], moved[1], weight, bias, True, rate, first.eps)
        if len(norms) > 1:
            with torch.no_grad():
                torch._foreach_copy_(
                    [*means, *variances], [part for whole in moved for part in torch.split(whole, sizes)]
                )
    with torch.no_grad():
        torch._foreach_add_(counters, 1)
    return y


def _buffers(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    assert norm.running_mean is not None  # our norms always track
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    return norm.running_mean, norm.running_var, norm.num_batches_tracked
