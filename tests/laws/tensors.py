"""Tensors and optimizer entries for the laws, all different or all random."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from nhnas.spec.model import Architecture
from nhnas.spec.structure import biases, leaves

NORM_ENTRIES = ("weight", "bias", "running_mean", "running_var")
COUNTER = "num_batches_tracked"


def shapes_of(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, written from DESIGN §3."""
    found: dict[str, tuple[int, ...]] = {}
    for leaf in leaves(arch):
        plane = (leaf.writes.neurons, leaf.reads.neurons * leaf.reads.columns)
        found[f"{leaf.path}.weight"] = (*plane, leaf.kernel, leaf.kernel) if leaf.op == "conv" else plane
        if leaf.norm == "batch":
            found |= {f"{leaf.path}.norm.{entry}": plane[:1] for entry in NORM_ENTRIES}
            found[f"{leaf.path}.norm.{COUNTER}"] = ()
    return found | {f"{node.path}.bias": (node.writes.neurons,) for node in biases(arch)}


def is_trained(name: str) -> bool:
    return not name.endswith((".norm.running_mean", ".norm.running_var", f".norm.{COUNTER}"))


def numbered_tensors(arch: Architecture) -> dict[str, Tensor]:
    """Every cell of the network holds another number, from 1000 on."""
    result, start = {}, 1000
    for name, shape in shapes_of(arch).items():
        size = int(torch.Size(shape).numel())
        numbers = torch.arange(start, start + size).reshape(shape)
        result[name] = numbers if name.endswith(COUNTER) else numbers.double()
        start += size
    return result


def random_tensors(arch: Architecture, seed: int) -> dict[str, Tensor]:
    """Float64 tensors as after some training; no gain is near zero."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, shape in shapes_of(arch).items():
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith(COUNTER):
            values = torch.tensor(7)
        elif name.endswith("running_var"):
            values = 0.5 + values.abs()
        elif name.endswith(".norm.weight"):
            values = torch.where(values < 0, -0.5, 0.5) + values
        elif values.dim() > 1:
            values = values / (values[0].numel() ** 0.5)
        result[name] = values
    return result


def random_state(arch: Architecture, seed: int) -> dict[str, Tensor]:
    """An optimizer's entries in any bits that are numbers, tiny ones and minus zero among them."""
    generator, rng = torch.Generator().manual_seed(seed), Random(seed)
    result: dict[str, Tensor] = {}
    for name, shape in shapes_of(arch).items():
        if not is_trained(name):
            continue
        for moment in ("exp_avg", "exp_avg_sq"):
            scale = rng.choice((1.0, 1e-310, -0.0))
            result[f"{name}:{moment}"] = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        result[f"{name}:age.rows"] = torch.randint(1, 1000, shape[:1], generator=generator)
        if len(shape) > 1:
            result[f"{name}:age.columns"] = torch.randint(1, 1000, shape[1:2], generator=generator)
    return result
