"""Evaluation in the merged form against the plain network, for two of the authors' architectures.

    python benchmarks/evaluation_form.py [--short] [--batch 128 512] [--rounds 7] [--threads 2] [--device cpu]

Both evaluate the same batch in turn, round after round; a ratio is the median of plain over merged within a
round, more than 1 is faster. On the CPU a merged network computes in channels_last, whatever format its input
has; `kept contiguous` is the ratio with contiguous weights, that is, without what the format alone brings.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from authors_networks import authors_networks
from torch import Tensor, nn

from nhnas.compiler.build import build
from nhnas.compiler.leaf import Leaf
from nhnas.compiler.merged import merged
from nhnas.compiler.merged_steps import Linear
from nhnas.spec.model import Architecture

SIZES = 2
"""The smallest of the authors' networks that are measured: 46 k and 0.63 M parameters."""
EMULATED = 3.0
"""So much slower than in float32 is a convolution in bfloat16 at least where no instruction computes it."""
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
HEAD = (
    "| parameters | batch | precision | input | plain ms | merged ms | ratio (quartiles) | kept contiguous |"
)
RULE = "| --- " * 8 + "|"


def networks(arch: Architecture, format_name: str, device: str) -> dict[str, nn.Module]:
    """The forms to compare; statistics of the norms as after some training."""
    network = build(arch, device=device).eval()
    for name, tensor in network.tensors().items():
        if name.endswith("running_mean"):
            tensor.normal_(0.0, 0.1)
    found = {"plain": network.to(memory_format=FORMATS[format_name]), "merged": merged(network)}
    if format_name == "contiguous":
        found["kept contiguous"] = copy.deepcopy(found["merged"]).to(memory_format=torch.contiguous_format)
    return found


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(forms: dict[str, nn.Module], x: Tensor, precision: str, rounds: int) -> dict[str, list[float]]:
    """Seconds a batch of each form, one in each round; the first round is not counted."""
    device = x.device.type
    times: dict[str, list[float]] = {name: [] for name in forms}
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        for at in range(rounds + 1):
            for name, form in forms.items():
                passed = seconds(lambda form=form: form(x), device)  # type: ignore[misc]
                if at:
                    times[name].append(passed)
    return times


def row(
    arch: Architecture, count: int, batch: int, precision: str, layout: str, options: argparse.Namespace
) -> str:
    """One line of the table."""
    x = torch.randn(batch, 3, 32, 32, device=options.device).to(memory_format=FORMATS[layout])
    times = measured(networks(arch, layout, options.device), x, precision, options.rounds)
    ratios = {
        name: sorted(a / b for a, b in zip(times["plain"], own, strict=True)) for name, own in times.items()
    }
    low, middle, high = statistics.quantiles(ratios["merged"], n=4)
    kept = f"{statistics.median(ratios['kept contiguous']):.2f}" if "kept contiguous" in ratios else ""
    plain, form = (1e3 * statistics.median(times[name]) for name in ("plain", "merged"))
    figures = f"{plain:.0f} | {form:.0f} | **{middle:.2f}** ({low:.2f} to {high:.2f}) | {kept}"
    return f"| {count:,} | {batch} | {precision} | {layout} | {figures} |"


def pieces(arch: Architecture) -> str:
    """How many leaves became how many convolutions and matrices."""
    network = build(arch).eval()
    leaves = sum(isinstance(module, Leaf) for module in network.modules())
    return f"{leaves} leaves run as {sum(isinstance(step, Linear) for step in merged(network).steps)}"


def precisions(device: str) -> tuple[str, ...]:
    """float32, and bfloat16 unless it is emulated: then the table takes an hour, and nobody uses it."""
    x, conv = torch.randn(64, 16, 32, 32, device=device), nn.Conv2d(16, 16, 3, padding=1).to(device)
    took = {name: min(measured({"one": conv}, x, name, rounds=5)["one"]) for name in ("float32", "bfloat16")}
    if (slower := took["bfloat16"] / took["float32"]) < EMULATED:
        return "float32", "bfloat16"
    print(f"bfloat16 is emulated here, a convolution {slower:.0f} times as slow as in float32: left out")
    return ("float32",)


def main() -> None:
    """Measure all combinations and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="batch 128, contiguous, three rounds")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layouts = list(FORMATS)
    if options.short:
        options.batch, options.rounds, layouts = [128], 3, layouts[:1]
    chosen = list(authors_networks().items())[:SIZES]
    print(f"{options.device}, {options.threads} threads, torch {torch.__version__}")
    print(*(f"{count:,} parameters: {pieces(arch)}" for count, arch in chosen), sep="; ")
    known = precisions(options.device)
    print(HEAD, RULE, sep="\n")
    for count, arch in chosen:
        for batch in options.batch:
            for precision in known:
                for layout in layouts:
                    print(row(arch, count, batch, precision, layout, options), flush=True)


if __name__ == "__main__":
    main()
