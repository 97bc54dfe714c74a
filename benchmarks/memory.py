"""Peak memory of a training step, against the hand-written network of the same widths.

    python benchmarks/memory.py [--width 16] [--batch 128]

Counted is what torch allocates and frees in one step (its profiler tells, byte by byte; on a GPU its own
counter), at its highest: forward, backward and optimizer. What the process holds is more by what malloc
keeps for later. Ours is the spec of `nhnas init resnet`, plain and fused; the other is
benchmarks/handwritten.py in the same format.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from handwritten import ResNet
from torch.profiler import ProfilerActivity, profile
from training_step import ours, theirs

from nhnas.spec.resnet import resnet
from nhnas.trainer.numerics import Numerics

FORMS = [
    ("float32", "contiguous"),
    ("float32", "channels_last"),
    ("bfloat16", "channels_last"),
]


def peak(step: Callable[[], object], device: str) -> float:
    """Mebibytes of the third step."""
    step()
    step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        step()
    events: Any = told.profiler.kineto_results.events() if told.profiler is not None else []
    total = highest = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        total += event.nbytes()
        highest = max(highest, total)
    return highest / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    device: Any = "cuda" if torch.cuda.is_available() else "cpu"
    for precision, layout in FORMS:
        plain, fused = (
            Numerics(device, precision, torch.get_num_threads(), False, layout, fused)  # type: ignore[arg-type]
            for fused in (False, True)
        )
        found = {
            "plain": peak(ours(resnet(options.width, 3), options.batch, plain), device),
            "fused": peak(ours(resnet(options.width, 3), options.batch, fused), device),
            "ResNet": peak(theirs(ResNet(options.width, 3), options.batch, plain), device),
        }
        print(
            f"{precision:<8} {layout:<13}",
            *(f"{kind} {size:6.1f} MiB ({size / found['ResNet']:.3f})" for kind, size in found.items()),
        )


if __name__ == "__main__":
    main()
