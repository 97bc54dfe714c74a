"""One training step: leaves fused or not, formats, precisions, and a hand-written ResNet of as many MACs.

    python benchmarks/training_step.py [--short] [--batch 32] [--rounds 9] [--threads 2]

For each of three of the authors' architectures: every form of ours in turn, round after round, with a hand-
written ResNet in each of its forms among them. Prints the median of the ratios taken within a round, so
that a machine that is slow for a while is slow for both. Ratios are times of the other over ours: more than
1 is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from authors_networks import authors_networks
from handwritten import ResNet, resnet_macs
from torch import nn

from nhnas.compiler.build import build
from nhnas.compiler.network import Observer
from nhnas.spec.config import Train
from nhnas.spec.measure import measure
from nhnas.spec.structure import sites
from nhnas.trainer.batches import Batch
from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.engine import Engine
from nhnas.trainer.forms import measured, name_of
from nhnas.trainer.importance import ImportanceMeter
from nhnas.trainer.numerics import Numerics
from nhnas.trainer.phases import EVERY

FORMS = [
    (fused, layout, precision)
    for precision in ("float32", "bfloat16")
    for layout in ("contiguous", "channels_last")
    for fused in (False, True)
]


KINDS = ("plain", "fused", "resnet")
WATCHED = 30
"""Rounds with and without importance, which differ by less than forms do."""


@dataclass(frozen=True)
class Case:
    """Something to time: a name and what one step of it is."""

    name: str
    step: Callable[[], object]


def data(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs [B, 3, 32, 32] and classes [B]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 32, 32, generator=generator), torch.randint(
        10, (batch,), generator=generator
    )


def ours(arch: Any, batch: int, numerics: Numerics) -> Callable[[], object]:
    """A step of the trainer, its optimizer included."""
    engine, one = _engine(arch, batch, numerics)
    return lambda: engine.train_batch(one, 0, 1e-3)


def _engine(arch: Any, batch: int, numerics: Numerics) -> tuple[Engine, Batch]:
    inputs, targets = data(batch)
    split = Split(torch.zeros(batch, 3, 32, 32), targets)
    dataset = Dataset("random", split, split, classes=tuple("abcdefghij"))
    engine = Engine(build(arch), dataset, Train(batch=batch), (), 1, numerics)
    engine.network.train()
    device = numerics.device
    return engine, Batch(0, inputs.to(device), targets.to(device), torch.arange(batch))


def watching(arch: Any, batch: int, numerics: Numerics) -> list[Case]:
    """A step without and with importance, of one network: where buffers come to lie differs between two."""
    engine, one = _engine(arch, batch, numerics)
    probe, observe = engine.network.probe, ImportanceMeter().observe
    probe.sites = frozenset(sites(arch))

    def step(observer: Observer | None) -> object:
        probe.observer = observer
        return engine.train_batch(one, 0, 1e-3)

    return [Case("without", lambda: step(None)), Case("with importance", lambda: step(observe))]


def theirs(network: nn.Module, batch: int, numerics: Numerics) -> Callable[[], object]:
    """A step as anybody writes it: fused Adam, autocast where asked."""
    layout = numerics.torch_format
    network = network.to(numerics.device, memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    inputs, targets = (part.to(numerics.device) for part in data(batch))
    inputs = inputs.to(memory_format=layout)

    def step() -> float:
        with torch.autocast(numerics.device, torch.bfloat16, enabled=numerics.precision == "bfloat16"):
            outputs = network(inputs)
        loss = F.cross_entropy(outputs.float(), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def width_for(macs: int, blocks: int = 3) -> int:
    """The width at which the hand-written ResNet needs about as many MACs."""
    return min(range(2, 400), key=lambda width: abs(resnet_macs(width, blocks) - macs))


def timed(cases: list[Case], rounds: int) -> dict[str, list[float]]:
    """Seconds of each case, round by round."""
    for case in cases:
        case.step()
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            begun = time.perf_counter()
            case.step()
            times[case.name].append(time.perf_counter() - begun)
    return times


def ratio(over: list[float], under: list[float]) -> float:
    """Median over the rounds."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--short", action="store_true", help="the smallest network only, three rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device: Any = "cuda" if torch.cuda.is_available() else "cpu"
    base = Numerics(device, "float32", options.threads, False)
    networks = list(authors_networks().items())[: 1 if options.short else None]
    for params, arch in networks:
        report(params, arch, base, options.batch, 3 if options.short else options.rounds)


def report(params: int, arch: Any, base: Numerics, batch: int, rounds: int) -> None:
    """One network: its forms, and the hand-written one."""
    macs = measure(arch).macs
    width = width_for(macs)
    cases, forms = [], {}
    for fused, layout, precision in FORMS:
        numerics: Any = replace(base, memory_format=layout, precision=precision, fused=fused)  # type: ignore[arg-type]
        name = f"{precision} {layout} {'fused' if fused else 'plain'}"
        forms[name] = numerics
        cases.append(Case(name, ours(arch, batch, numerics)))
        if not fused:
            resnet = theirs(ResNet(width, 3), batch, numerics)
            cases.append(Case(f"{precision} {layout} resnet", resnet))
    times = timed(cases, rounds)
    print(f"\n{params:,} parameters, {macs / 1e6:.1f} M MACs; ResNet-20 of width {width}", end=", ")
    print(f"{resnet_macs(width, 3) / 1e6:.1f} M MACs; batch {batch}")
    for form in dict.fromkeys(f"{precision} {layout}" for _, layout, precision in FORMS):
        some = {kind: times[f"{form} {kind}"] for kind in KINDS}
        told = "  ".join(f"{kind} {1e3 * statistics.median(t):8.1f} ms" for kind, t in some.items())
        print(f"  {form:<23} {told}  fused against plain {ratio(some['plain'], some['fused']):.2f}")
    plain, with_fusing, theirs_ = (_best(times, kind) for kind in KINDS)
    mine = min(plain, with_fusing, key=lambda name: statistics.median(times[name]))
    exact = min(
        (_best({n: t for n, t in times.items() if n.startswith("float32")}, kind) for kind in KINDS[:2]),
        key=lambda name: statistics.median(times[name]),
    )
    begun = time.perf_counter()
    taken = name_of(measured(base, build(arch), [data(batch)], Train(threads=base.threads))[0])
    took, loss = time.perf_counter() - begun, 100 * (ratio(times[taken], times[mine]) - 1)
    share = macs / resnet_macs(width, 3)
    print(f"  best form of ours: {mine}; of the ResNet: {theirs_}")
    print(f"  a command takes {taken}, after {took:.1f} s of measuring, and loses {loss:.1f}% by that")
    print(f"  fused against plain, each in its best form: {ratio(times[plain], times[with_fusing]):.2f}")
    print(f"  chosen against the best in float32: {ratio(times[exact], times[mine]):.2f}")
    print(f"  MACs per second against the ResNet's: {share * ratio(times[theirs_], times[mine]):.2f}")
    watched = timed(watching(arch, batch, forms[mine]), WATCHED)
    cost = 100 * (ratio(watched["with importance"], watched["without"]) - 1)
    print(f"  importance: {cost:.1f}% of a batch in which it is measured, {cost / EVERY:.1f}% of an epoch")


def _best(times: dict[str, list[float]], kind: str) -> str:
    return min((n for n in times if n.endswith(kind)), key=lambda n: statistics.median(times[n]))


if __name__ == "__main__":
    main()
