"""Strided convolutions: two faults in the backward pass of the library below torch, and ways around."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import pytest
import torch

from nhnas.compiler.build import build
from nhnas.compiler.leaf import Leaf
from nhnas.spec.model import Architecture

TRAINED = """
import torch
from tests.test_strided_convolutions import leaf_and_input
torch.set_num_threads(2)
for turn in range(60):
    leaf, x = leaf_and_input(8, torch.channels_last, seed=turn)
    torch.relu(leaf(x)).sum().backward()
    y = (leaf(x) ** 2).sum()
    y.backward()
print("whole")
"""


def leaf_and_input(
    inputs: int, memory_format: torch.memory_format, seed: int = 0
) -> tuple[torch.nn.Module, torch.Tensor]:
    """A 1x1 convolution with stride 2 and no norm, and 17 maps, which two threads cannot share evenly."""
    layer = {"name": "a", "op": "conv", "kernel": 1, "stride": 2, "width": 16, "norm": "none"}
    head = [{"name": "pool", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 2}]
    arch = Architecture.model_validate({"input": (inputs, 32, 32), "net": (layer, *head)})
    network = build(arch, seed=seed).to(memory_format=memory_format)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(17, inputs, 32, 32, generator=generator).to(memory_format=memory_format)
    return next(m for m in network.modules() if isinstance(m, Leaf)), x.requires_grad_()


def test_a_strided_shortcut_of_few_inputs_leaves_memory_whole() -> None:
    """Sixty passes forward and back in a process of their own, which torch's own stride ends by a signal."""
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=False)
    assert (0, "whole\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("inputs", [1, 3, 8, 15, 16, 20])
def test_its_gradients_are_those_of_the_pixels_that_it_reads(
    inputs: int, memory_format: torch.memory_format
) -> None:
    """Weight and input, against sums over every second row and column, in float64."""
    leaf, x = leaf_and_input(inputs, memory_format)
    weight = next(leaf.parameters())
    y = leaf(x)
    upper = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(upper)
    read, kernel = x.detach()[:, :, ::2, ::2].double(), weight.detach()[:, :, 0, 0].double()
    assert x.grad is not None
    assert weight.grad is not None
    back = torch.zeros_like(x.grad, dtype=torch.float64)
    back[:, :, ::2, ::2] = torch.einsum("bohw,oi->bihw", upper.double(), kernel)
    assert torch.allclose(torch.einsum("bihw,oi->bohw", read, kernel), y.double(), atol=1e-4)
    assert torch.allclose(back, x.grad.double(), atol=1e-4)
    found = torch.einsum("bohw,bihw->oi", upper.double(), read)
    assert torch.allclose(found, weight.grad[:, :, 0, 0].double(), rtol=1e-4, atol=1e-2)


def junk_of(cells: int) -> None:
    """Fill memory that is free again with NaN: what is not written afterwards is seen."""
    for size in (cells, cells, 2 * cells, 4 * cells):
        torch.full((size,), math.nan)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_gradients_on_maps_as_small_as_the_stride(stride: int, precision: torch.dtype) -> None:
    """Every height and width from 1 to 5, kernels 1, 3 and 5: weight and input as in float64."""
    draw = torch.Generator().manual_seed(stride)
    for kernel, inputs, height, width in itertools.product((1, 3, 5), (3, 17), range(1, 6), range(1, 6)):
        x = torch.randn(4, inputs, height, width, generator=draw).to(precision).requires_grad_()
        weight = torch.randn(5, inputs, kernel, kernel, generator=draw).to(precision).requires_grad_()
        junk_of(weight.numel())
        y = leaf_of(kernel, stride, inputs).apply_weight(x, weight, None)
        upper = torch.randn(y.shape, generator=draw).to(precision)
        found = torch.autograd.grad(y, (x, weight), upper)
        wide = [part.detach().double().requires_grad_() for part in (x, weight)]
        expected = torch.nn.functional.conv2d(wide[0], wide[1], None, stride, kernel // 2)
        assert expected.shape == y.shape
        exact = torch.autograd.grad(expected, wide, upper.double())
        for one, other in zip((expected, *exact), (y, *found), strict=True):
            scale = one.abs().max().item()
            torch.testing.assert_close(one, other.double(), rtol=0.0, atol=0.02 * scale + 1e-6)


def leaf_of(kernel: int, stride: int, inputs: int) -> Leaf:
    """A leaf of such a convolution with 5 outputs; the map's size is for each call to say."""
    layer = {"name": "a", "op": "conv", "kernel": kernel, "stride": stride, "width": 5, "norm": "none"}
    head = [{"name": "pool", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 2}]
    network = build(Architecture.model_validate({"input": (inputs, 8, 8), "net": (layer, *head)}))
    return next(module for module in network.modules() if isinstance(module, Leaf))
