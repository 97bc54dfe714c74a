"""A network of maps and two batches for it, to choose a form by."""

from __future__ import annotations

import torch

from nhnas.spec.model import Architecture
from nhnas.trainer.forms import Sample

RESIDUAL = {"name": "a", "op": "conv", "width": 4, "residual": {"hidden": 3, "dropout": 0.5}}
MAPS = Architecture.model_validate(
    {
        "input": (2, 6, 6),
        "net": (
            RESIDUAL,
            {"name": "pool", "op": "global_avg_pool"},
            {"name": "h", "op": "dense", "width": 3},
        ),
    }
)


def samples(arch: Architecture, classes: bool = True, batch: int = 8) -> list[Sample]:
    """Two batches."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(batch, *arch.input, generator=generator) for _ in range(2)]
    targets = torch.arange(batch) % 3 if classes else torch.randn(batch, 3, generator=generator)
    return [(x, targets) for x in inputs]
