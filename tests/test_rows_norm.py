"""The norm over rows of pixels is torch's batch norm: outputs, statistics, gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from nhnas.compiler.rows_norm import rows_norm, suits

SHAPES = [(4, 18, 8, 8), (2, 36, 3, 5), (3, 1, 4, 4), (6, 50, 2, 2), (2, 5, 1, 1), (16, 33, 7, 7)]
ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 8e-3}
"""Of the largest number: what an error may have beyond four times that of torch's own norm."""
Norm = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def maps(shape: tuple[int, ...], dtype: torch.dtype, seed: int, apart: float) -> Tensor:
    """[B, C, height, width] with channels together, each centered `apart` from the one before."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    shifted = values * 3 + apart * torch.arange(shape[1]).view(-1, 1, 1)
    return shifted.to(dtype).to(memory_format=torch.channels_last)


def torch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What torch computes, and its running mean and variance after a step of 1."""
    mean, variance = torch.zeros_like(bias), torch.ones_like(bias)
    return F.batch_norm(x, mean, variance, weight, bias, True, 1.0, 1e-5), mean, variance


def our_norm(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What ours computes; torch moves towards the unbiased variance."""
    y, mean, variance = rows_norm(x, weight, bias, 1e-5)
    pixels = x.numel() // x.shape[1]
    return y, mean, variance * (pixels / (pixels - 1))


def results(norm: Norm, dtype: torch.dtype, *parts: Tensor) -> list[Tensor]:
    """Output, statistics, and gradients of input, weight and bias, all as float64; `parts` as `norm` takes
    them, then the gradient of the output, computed with x in `dtype`."""
    wide = torch.promote_types(dtype, torch.float32)
    x, weight, bias, gradient = parts
    leaves = [t.to(d).detach().requires_grad_() for t, d in ((x, dtype), (weight, wide), (bias, wide))]
    y, mean, variance = norm(*leaves)
    y.backward(gradient.to(dtype))  # type: ignore[no-untyped-call]
    return [
        t.detach().double()
        for t in (y, mean, variance, *(leaf.grad for leaf in leaves if leaf.grad is not None))
    ]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_batch_norm_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """As close to float64 as torch's own, in every precision."""
    x, gradient = maps(shape, dtype, 0, 1.0), maps(shape, dtype, 1, 0.0)
    assert suits(x)
    parts = (x, torch.linspace(0.5, 2, shape[1]), torch.linspace(-1, 1, shape[1]), gradient)
    exact = results(torch_norm, torch.float64, *parts)
    theirs, found = results(torch_norm, dtype, *parts), results(our_norm, dtype, *parts)
    assert 6 == len(found)
    for right, own, other in zip(exact, found, theirs, strict=True):
        allowed = 4 * float((other - right).abs().max()) + ROUNDING[dtype] * max(
            1.0, float(right.abs().max())
        )
        assert allowed >= float((own - right).abs().max())


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(4, 16, 8, 8).to(memory_format=torch.channels_last),
        torch.zeros(4, 18, 8, 8),
        torch.zeros(4, 18),
    ],
    ids=["whole vectors", "pixels together", "features"],
)
def test_what_torch_is_fast_with_is_left_to_torch(x: Tensor) -> None:
    """Only channels that lie together, in a number that fills no vector, are taken."""
    assert not suits(x)
