"""Our growth and removal against gromo's and Torch-Pruning's, on a ResNet-20 of the same size (0.27 M).

gromo: a random growth of one block (`create_layer_extensions`, `apply_change`, `delete_update`), by as
many neurons as one of our sites gets. Torch-Pruning: `MagnitudePruner(global_pruning=True).step()` and then
with the dependency graph that it needs after every change of the architecture. Both carry weights and no
optimizer; ours carries Adam's moments and ages along, and chooses where, too.

    python -m venv peers && peers/bin/pip install -r benchmarks/requirements-peers.txt -e .
    peers/bin/python benchmarks/growth_peers.py [--threads 1] [--rounds 40] [--wall]

Prints medians in milliseconds of CPU time (with `--wall`, of wall time) and the median of the paired ratios.
Goal: at most 1.0.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch_pruning  # type: ignore[import-not-found]
from gromo.containers.growing_block import Conv2dGrowingBlock  # type: ignore[import-not-found]
from gromo.containers.resnet import init_full_resnet_structure  # type: ignore[import-not-found]
from growth import CLASSES, TRAIN, Trained, growth, milliseconds, stepped, whole
from handwritten import ResNet

from nhnas.compiler.build import build, carried
from nhnas.search.choose import choose
from nhnas.spec.config import Search
from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.resnet import resnet
from nhnas.spec.structure import sites
from nhnas.trainer.engine import fresh_or_loaded, optimizer_settings

WIDTH, BLOCKS = 16, 3
IMAGE = (3, 32, 32)
SHARE = 0.1
"""Of the neurons, as many as are removed."""


def gromo_network() -> Any:
    """ResNet-20 with 1x1 shortcuts, every block open to growth."""
    return init_full_resnet_structure(
        input_shape=IMAGE,
        out_features=CLASSES,
        nb_stages=3,
        number_of_blocks_per_stage=BLOCKS,
        inplanes=WIDTH,
        small_inputs=True,
        use_preactivation=False,
        reduction_factor=1.0,
    )


def grow_blocks(blocks: list[Any], neurons: int) -> None:
    """gromo's random growth, block by block."""
    for block in blocks:
        block.create_layer_extensions(neurons)
        block.apply_change(extension_size=neurons, scaling_factor=1.0)
        block.delete_update()


def gromo_growth(network: torch.nn.Module, neurons: int, now: Callable[[], float]) -> float:
    """Mean milliseconds of a block, all blocks of a copy grown."""
    grown = copy.deepcopy(network)
    blocks = [module for module in grown.modules() if isinstance(module, Conv2dGrowingBlock)]
    total: float = milliseconds(partial(grow_blocks, blocks, neurons), now)
    return total / len(blocks)


def our_network() -> Trained:
    """Ours, after one optimizer step."""
    network = build(resnet(WIDTH, BLOCKS, CLASSES))
    return stepped(Trained(network.arch, network, fresh_or_loaded(network, optimizer_settings(TRAIN, 1), {})))


def our_removal(before: Trained, seed: int) -> Trained:
    """Choose the least important neurons, take them out, rebuild module and optimizer."""
    present = sites(before.arch)
    opened = {key: site for key, site in present.items() if site.open}
    draw = np.random.default_rng(seed)
    importance = {key: 0.4 * draw.random(site.neurons) + 0.05 for key, site in opened.items()}
    added = round(SHARE * sum(site.neurons for site in opened.values()))
    keep_one = frozenset(key for key, site in present.items() if site.keep_one)
    settings = Search(add_to_remove=1.0, random_remove=0.0)
    leavers = choose(importance, added, settings, keep_one=keep_one, cost=None, seed=seed)
    edits = [RemoveNeurons(site=key, at=tuple(leavers[key])) for key in reversed(present) if key in leavers]
    moments = before.optimizer.entries()
    after = carried(before.arch, edits, before.weights(), moments, seed=seed, parent="")
    network = build(after.arch, after.weights, adopt=True)
    return Trained(
        after.arch, network, fresh_or_loaded(network, optimizer_settings(TRAIN, 1), after.optimizer)
    )


def make_pruner(network: torch.nn.Module) -> Any:
    """Torch-Pruning's global pruner over everything but the outputs; traces the network."""
    return torch_pruning.pruner.MagnitudePruner(
        network,
        torch.zeros(1, *IMAGE),
        importance=torch_pruning.importance.MagnitudeImportance(),
        global_pruning=True,
        pruning_ratio=SHARE,
        ignored_layers=[m for m in network.modules() if isinstance(m, torch.nn.Linear)],
    )


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    """One line: both medians and the ratio."""
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    first, middle, last = statistics.quantiles((a / b for a, b in pairs), n=4)
    print(
        f"{name}: {mine:.2f} ms, theirs {theirs:.2f} ms, ratio {middle:.2f} ({first:.2f} to {last:.2f})",
        flush=True,
    )


def compare_growth(rounds: int, now: Callable[[], float]) -> None:
    """Ours for each grown site against gromo's for each block."""
    before, network, pairs = our_network(), gromo_network(), []
    for seed in range(rounds + 2):
        edits = growth(stepped(before).arch, seed)
        mine = milliseconds(partial(whole, before, seed), now) / len(edits)
        neurons = max(1, round(sum(len(edit.at) for edit in edits) / len(edits)))
        pairs.append((mine, gromo_growth(network, neurons, now)))
    report("growth, a site against gromo, a block", pairs[2:])


def compare_removal(rounds: int, now: Callable[[], float]) -> None:
    """Ours as a whole against one global pruning step."""
    before, pairs, traced = our_network(), [], []
    for seed in range(rounds + 2):
        stepped(before)
        mine = milliseconds(partial(our_removal, before, seed), now)
        network = ResNet(WIDTH, BLOCKS)
        tracing = milliseconds(partial(make_pruner, network), now)
        step = milliseconds(make_pruner(network).step, now)
        pairs.append((mine, step))
        traced.append((mine, tracing + step))
    report("removal, whole, against Torch-Pruning's step", pairs[2:])
    report("the same with the tracing that a changed network needs", traced[2:])


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--wall", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    now = time.perf_counter if options.wall else time.process_time
    compare_growth(options.rounds, now)
    compare_removal(options.rounds, now)


if __name__ == "__main__":
    main()
