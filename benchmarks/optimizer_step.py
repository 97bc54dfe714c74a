"""Time of one optimizer step against `torch.optim.Adam(fused=True)` on the same tensors.

The tensors are those of a ResNet-20-like network (convolutions [O, I, 3, 3] and norm vectors). `grown`:
three growths have added about a tenth of the rows and columns each, so that four ages are present.

    python benchmarks/optimizer_step.py [--threads 1 2] [--rounds 60] [--steps 10]

Prints, for each size, microseconds a step of both and the median of the paired ratios. Goal: at most 1.6.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer

LR = 1e-3
GROWTHS = (0.73, 0.82, 0.91)  # where the newcomers of the three growths begin, as a share of the final size
AGES = (3000, 2000, 1000, 0)


def shapes(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a ResNet-20 with `width` channels in its first stage."""
    yield from _leaf("stem", width, 3)
    inputs = width
    for block in range(9):
        outputs = width * 2 ** (block // 3)
        yield from _leaf(f"block{block}.first", outputs, inputs)
        yield from _leaf(f"block{block}.second", outputs, outputs)
        inputs = outputs
    yield from (("head.weight", (10, inputs)), ("head.bias", (10,)))


def _leaf(path: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{path}.weight", (outputs, inputs, 3, 3)
    yield from ((f"{path}.norm.{kind}", (outputs,)) for kind in ("weight", "bias"))


def make_parameters(width: int) -> dict[str, torch.nn.Parameter]:
    """Random parameters with random gradients."""
    generator = torch.Generator().manual_seed(0)
    parameters = {}
    for name, shape in shapes(width):
        parameters[name] = torch.nn.Parameter(torch.randn(shape, generator=generator))
        parameters[name].grad = torch.randn(shape, generator=generator)
    return parameters


def grow(optimizer: Optimizer) -> None:
    """Give the optimizer the ages that it has after three growths of every site."""
    state = optimizer.state()
    for key, value in state.items():
        fixed = 10 if key.startswith("head") and key.endswith("rows") else 3
        if ":age." in key and len(value) > fixed:
            value.copy_(_ages(len(value)))
        elif ":age." in key:
            value.fill_(AGES[0])
    optimizer.load(state)


def _ages(count: int) -> torch.Tensor:
    born = torch.tensor([int(share * count) for share in GROWTHS])
    return torch.tensor(AGES)[torch.bucketize(torch.arange(count), born, right=True)]


def seconds(step: Callable[[], object], steps: int) -> float:
    """Mean time of one step."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def compare(width: int, grown: bool, rounds: int, steps: int) -> str:
    """One line: what was measured, both times and the median of the paired ratios."""
    settings = OptimizerSettings("adam", LR)
    ours = make_optimizer(make_parameters(width), settings)
    if grown:
        grow(ours)
    reference = torch.optim.Adam(make_parameters(width).values(), LR, fused=True)
    for _ in range(steps):
        ours.step(LR)
        reference.step()
    pairs = [(seconds(lambda: ours.step(LR), steps), seconds(reference.step, steps)) for _ in range(rounds)]
    mine, torchs = (1e6 * statistics.median(column) for column in zip(*pairs, strict=True))
    first, middle, last = statistics.quantiles((a / b for a, b in pairs), n=4)
    size = sum(p.numel() for p in ours.parameters.values())
    return (
        f"{torch.get_num_threads()} threads  {size / 1e6:.2f} M in {len(ours.parameters)} tensors  "
        f"{'grown' if grown else 'fresh'}  {mine:6.0f} us, torch {torchs:6.0f} us, "
        f"ratio {middle:.2f} (quartiles {first:.2f} to {last:.2f})"
    )


def main() -> None:
    """Measure every combination of threads, size and growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        for width in (16, 36):
            for grown in (False, True):
                print(compare(width, grown, options.rounds, options.steps), flush=True)


if __name__ == "__main__":
    main()
