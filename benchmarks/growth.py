"""What a growth costs beside the training: every part of it, and a snapshot against a plain write.

Two residual networks: ResNet-20 with 1×1 shortcuts (0.27 M parameters, 29 nodes), and its form with 22 blocks
a stage (2.1 M, 200 nodes). A growth is all that a step does between two batches: choose where neurons are
added, apply the edits, make the recipe, carry weights and Adam's moments and ages over, build the module and
the optimizer. Every round grows other sites, from a network that has been grown three times before.

    python benchmarks/growth.py [--threads 1 2] [--rounds 40] [--snapshots 20] [--cpu]

Prints medians in milliseconds with quartiles, and for the snapshot the median of the paired ratios to write
and fsync of the same bytes in one file. Goals: 10 ms, 100 ms, and a ratio of 1.5.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nhnas.compiler.axis_moves import AxisMoves
from nhnas.compiler.build import build, carried
from nhnas.compiler.network import Network
from nhnas.compiler.one_thread import one_thread
from nhnas.compiler.place import snapshot_folder
from nhnas.compiler.recipe import compile_recipe
from nhnas.compiler.remap import remap_optimizer, remap_weights
from nhnas.compiler.store import Snapshot, identify, save_snapshot
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.search.grow import grow
from nhnas.spec.apply import applied
from nhnas.spec.canonical import canonical
from nhnas.spec.config import Search, Train
from nhnas.spec.edits import AddNeurons
from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture
from nhnas.spec.resnet import resnet
from nhnas.spec.structure import nodes, sites
from nhnas.spec.verify import verify
from nhnas.trainer.engine import fresh_or_loaded, optimizer_settings
from nhnas.trainer.optimizer import Optimizer

SIZES = ((9, 3, 10.0), (13, 22, 100.0))  # width, blocks a stage, goal in milliseconds
GROWTHS_BEFORE = 3
SEARCH, TRAIN = Search(), Train()
CLASSES = 10


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in training."""

    arch: Architecture
    network: Network
    optimizer: Optimizer

    def weights(self) -> dict[str, Tensor]:
        """Its tensors by canonical name."""
        return {name: tensor.detach() for name, tensor in self.network.tensors().items()}


@dataclass
class Clock:
    """Milliseconds of each part, a list over the rounds."""

    now: Callable[[], float]
    parts: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block under a name."""
        start = self.now()
        yield
        self.parts.setdefault(name, []).append(1e3 * (self.now() - start))

    def lines(self) -> Iterator[str]:
        """Median and quartiles of each part."""
        for name, values in self.parts.items():
            first, middle, last = statistics.quantiles(values, n=4)
            yield f"  {name:32} {middle:8.2f} ms ({first:.2f} to {last:.2f})"


def growth(arch: Architecture, seed: int) -> list[AddNeurons]:
    """The edits of one growth, as a step chooses them."""
    present = {key: site.neurons for key, site in sites(arch).items() if site.open}
    counts = grow(present, {}, SEARCH, seed)
    return [
        AddNeurons(site=key, at=tuple(range(present[key], present[key] + count)))
        for key, count in counts.items()
    ]


def whole(before: Trained, seed: int) -> Trained:
    """A growth from end to end, as `nhnas.work.Work.edit` does it."""
    edits, moments = growth(before.arch, seed), before.optimizer.entries()
    after = carried(before.arch, edits, before.weights(), moments, seed=seed, parent="")
    network = build(after.arch, after.weights, adopt=True)
    return Trained(
        after.arch, network, fresh_or_loaded(network, optimizer_settings(TRAIN, 1), after.optimizer)
    )


def in_parts(before: Trained, seed: int, clock: Clock) -> None:
    """The same with a time for each part."""
    with clock.part("choose growth"):
        edits = growth(before.arch, seed)
    arch = before.arch
    with clock.part("apply edits"):
        for edit in edits:
            arch = applied(arch, edit)
    with clock.part("apply edits and make recipe"):
        arch, recipe = compile_recipe(before.arch, edits)
    with clock.part("verify"):
        verify(arch)
    with clock.part("plan tensors"):
        plans, moves = tensor_plans(arch, recipe), AxisMoves()
    with clock.part("remap weights"), one_thread():
        weights = remap_weights(plans, before.weights(), seed=seed, parent="", moves=moves)
    with clock.part("read optimizer"):
        moments = before.optimizer.entries()
    with clock.part("remap optimizer"), one_thread():
        moments = remap_optimizer(plans, moments, moves)
    with clock.part("build module"):
        network = build(arch, weights, adopt=True)
    with clock.part("build optimizer"):
        fresh_or_loaded(network, optimizer_settings(TRAIN, 1), moments)


def trained(width: int, blocks: int) -> Trained:
    """A network with four ages in it, its optimizer laid out as in training."""
    arch = resnet(width, blocks, CLASSES)
    network = build(arch)
    found = Trained(arch, network, fresh_or_loaded(network, optimizer_settings(TRAIN, 1), {}))
    for seed in range(GROWTHS_BEFORE):
        found = whole(stepped(found), 1000 + seed)
    return stepped(found)


def stepped(state: Trained) -> Trained:
    """After one optimizer step on drawn gradients."""
    draw = torch.Generator().manual_seed(0)
    for parameter in state.network.trained().values():
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=draw)
    state.optimizer.step()
    return state


def milliseconds(work: Callable[[], object], now: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call."""
    start = now()
    work()
    return 1e3 * (now() - start)


def measure_growth(width: int, blocks: int, goal: float, rounds: int, now: Callable[[], float]) -> None:
    """Print one size's table."""
    before, clock = trained(width, blocks), Clock(now)
    wholes: list[float] = []
    for seed in range(rounds + 2):
        if seed == 2:  # the first two warm up
            clock, wholes = Clock(now), []
        in_parts(stepped(before), 2 * seed, clock)
        stepped(before)
        wholes.append(milliseconds(partial(whole, before, 2 * seed + 1), now))
    totals, count = measure(before.arch).as_dict(), sum(1 for _ in nodes(before.arch))
    grown = statistics.median(len(growth(before.arch, 2 * seed + 1)) for seed in range(rounds))
    first, middle, last = statistics.quantiles(wholes, n=4)
    print(
        f"{totals['parameters'] / 1e6:.2f} M, {count} nodes, {len(sites(before.arch))} sites, "
        f"{torch.get_num_threads()} threads: {middle:.1f} ms ({first:.1f} to {last:.1f}), goal {goal:.0f}; "
        f"{middle / grown:.2f} ms for each of {grown:.0f} grown sites"
    )
    print("\n".join(clock.lines()), flush=True)


def plain(folder: Path, files: list[bytes]) -> None:
    """Write + fsync of the same bytes."""
    with open(folder / "plain", "wb") as file:
        for data in files:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def snapshot_of(state: Trained, version: int) -> Snapshot:
    """A snapshot that is not in the store yet."""
    record = {"architecture": canonical(state.arch), "exact": {"epochs": 1}, "info": {}}
    weights, moments = state.weights(), state.optimizer.state()
    identity = identify(None, version, weights, moments, record)
    return Snapshot(identity, None, version, b"", weights, moments, record, [], [])


def measure_snapshot(width: int, blocks: int, rounds: int, folder: Path) -> None:
    """Print the paired ratio of `save_snapshot` to a plain write of its files' bytes."""
    state, store = trained(width, blocks), folder / "store"
    pairs = []
    for version in range(rounds + 1):
        snapshot = snapshot_of(state, version)
        ours = milliseconds(partial(save_snapshot, store, snapshot))
        files = [path.read_bytes() for path in sorted(snapshot_folder(store, snapshot.id).iterdir())]
        pairs.append((ours, milliseconds(partial(plain, folder, files))))
        size = sum(map(len, files))
    ratios = [a / b for a, b in pairs[1:]]
    mine, theirs = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
    first, middle, last = statistics.quantiles(ratios, n=4)
    print(
        f"snapshot of {size / 1e6:.1f} MB: {mine:.1f} ms, write and fsync {theirs:.1f} ms, "
        f"ratio {middle:.2f} (quartiles {first:.2f} to {last:.2f}), goal 1.5; fastest of each "
        f"{min(a for a, _ in pairs):.1f} and {min(b for _, b in pairs):.1f} ms",
        flush=True,
    )


def main() -> None:
    """Measure both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--snapshots", type=int, default=20, help="two at least, for quartiles")
    parser.add_argument("--cpu", action="store_true", help="the growth in CPU time, for a busy machine")
    options = parser.parse_args()
    now = time.process_time if options.cpu else time.perf_counter
    for threads in options.threads:
        torch.set_num_threads(threads)
        for width, blocks, goal in SIZES:
            measure_growth(width, blocks, goal, options.rounds, now)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for width, blocks, _ in SIZES:
            measure_snapshot(width, blocks, max(2, options.snapshots), Path(folder))


if __name__ == "__main__":
    main()
