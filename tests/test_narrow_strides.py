"""Strided 1x1 convolutions of few inputs: a trap of the library below torch, which writes past its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nhnas.compiler.build import build
from nhnas.spec.model import Architecture

TRAINED = """
import torch
from tests.test_narrow_strides import leaf_and_input
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
    return next(m for m in network.modules() if type(m).__name__ == "Leaf"), x.requires_grad_()


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
