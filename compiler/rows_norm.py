"""Batch norm in training for maps whose channels lie together in memory, on the CPU.

torch works there along the channels of one pixel, with vectors of 16 or 32 numbers. Where the number of
channels is no multiple of that, as in networks that grow neuron by neuron, its backward pass takes 4 to 13
times as long as for the next multiple (2 cores with AVX-512: 36 channels 4.0 ms, 64 channels 0.6 ms). So k
pixels are taken together, as if they were k·C channels; torch's own kernels run over those, and their sums
are added up.

Ioffe & Szegedy 2015, algorithm 1:

    y = g·(x - m)·s + b,   s = 1/√(v + eps)
    ∂x = g·s·(∂y - (Σ∂y + x̂·Σ∂y·x̂)/N),   ∂g = Σ∂y·x̂,   ∂b = Σ∂y

Legend: B batch, C channels, N = B·height·width pixels, k pixels taken together.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

VECTOR = 32
"""Numbers in the longest vector of today's processors: bfloat16 with 512 bits."""


def suits(x: Tensor) -> bool:
    """Whether x [B, C, height, width] is of the kind that torch is slow with."""
    return (
        x.device.type == "cpu"
        and x.dim() == 4
        and x.shape[1] % 16 != 0
        and _rows(x).is_contiguous()
        and _together(x) > 1
    )


def rows_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x normalised over its pixels, and their mean and (biased) variance [C]; for what `suits`."""
    y, mean, variance = _RowsNorm.apply(x, weight, bias, eps)
    return y, mean, variance


class _RowsNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        k = _together(x)
        zeros = weight.new_zeros(k * x.shape[1])  # torch answers in their precision, not in that of x
        moments = torch.batch_norm_update_stats(_wide(x, k), zeros, zeros, 0.0)
        means, variances = (part.view(k, -1) for part in moments)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square_().mean(0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        ctx.eps = eps
        return _narrow(_scaled(_wide(x, k), k, weight, bias, mean, variance, eps), x), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        k, pixels = _together(x), x.numel() // x.shape[1]
        wide = _wide(gradient.contiguous(memory_format=torch.channels_last), k)
        per = _repeated(k, weight, mean, variance)
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            wide, _wide(x, k), *per, None, None, False, ctx.eps, [True, True, True]
        )
        of_weight, of_bias = (part.view(k, -1).sum(0) for part in (of_weight, of_bias))
        share = -weight * (variance + ctx.eps).rsqrt() / pixels
        of_x += _scaled(_wide(x, k), k, share * of_weight, share * of_bias, mean, variance, ctx.eps)
        return _narrow(of_x, x), of_weight, of_bias, None


def _scaled(
    wide: Tensor, k: int, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> Tensor:
    """weight·(wide - mean)/√(variance + eps) + bias, all of [C], over `k` pixels at once."""
    weights, biases, means, variances = _repeated(k, weight, bias, mean, variance)
    return torch.native_batch_norm(wide, weights, biases, means, variances, False, 0.0, eps)[0]


def _repeated(k: int, *parts: Tensor) -> tuple[Tensor, ...]:
    """[C] each to [k·C] each, together: a call costs as much as the few numbers that it copies."""
    spread = torch.stack(parts).unsqueeze(1).expand(-1, k, -1)
    return spread.reshape(len(parts), -1).contiguous().unbind()  # of one channel, `reshape` makes a view


def _together(x: Tensor) -> int:
    """k: as many pixels as make a whole number of vectors, if they divide all pixels."""
    return math.gcd(VECTOR // math.gcd(VECTOR, x.shape[1]), x.numel() // max(x.shape[1], 1))


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _wide(x: Tensor, k: int) -> Tensor:
    """The same memory as one image of k·C channels, [1, k·C, N/k, 1]."""
    return _rows(x).reshape(1, -1, 1, k * x.shape[1]).permute(0, 3, 1, 2)


def _narrow(wide: Tensor, like: Tensor) -> Tensor:
    """The same memory with the shape of `like`."""
    batch, channels, height, width = like.shape
    return wide.permute(0, 2, 3, 1).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
