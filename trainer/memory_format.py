"""Which memory format is faster for a network, by measuring it (DESIGN §9): never by belief."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import torch
from torch import Tensor

from nhnas.compiler.network import Network
from nhnas.trainer.numerics import Numerics, autocast

ROUNDS = 3
"""Training passes a format, after one to warm up; the fastest counts, since others may use the machine."""
GAIN = 1.05
"""What channels_last must gain to be taken."""


def measured(numerics: Numerics, network: Network, sample: Tensor) -> Numerics:
    """`numerics` with the faster format for passes over `sample` [B, *input]; the network stays as it is.

    Nothing is measured for features, which have one format, and in deterministic runs.
    """
    if numerics.deterministic or sample.dim() != 4:
        return numerics
    faster = replace(numerics, memory_format="channels_last")
    gain = _seconds(numerics, network, sample) / _seconds(faster, network, sample)
    return faster if gain > GAIN else numerics


def _seconds(numerics: Numerics, network: Network, sample: Tensor) -> float:
    """Time of the fastest forward and backward pass."""
    trial = copy.deepcopy(network).to(numerics.device, memory_format=numerics.torch_format)  # type: ignore[call-overload]
    trial.train()
    inputs = sample.to(numerics.device, memory_format=numerics.torch_format)
    return min([_pass(numerics, trial, inputs) for _ in range(ROUNDS + 1)][1:])


def _pass(numerics: Numerics, trial: Network, inputs: Tensor) -> float:
    begun = time.perf_counter()
    with autocast(numerics):
        outputs = trial(inputs)
    outputs.float().square().mean().backward()
    if numerics.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
