"""Importance from some batches of an epoch against all of them: rank correlation over all neurons.

    python benchmarks/importance_sampling.py SPEC [--params 46022] [--epochs 2] [--every 1 2 4 6 8 12]

Trains for some epochs on the data and with the settings of SPEC, then measures in every batch of one more
epoch, with the weights moving as they do in training, and keeps each batch's sums apart. With --params the
network is the one of the authors' of that size (46 k, 0.63 M or 1.39 M, see authors.jsonl; for [3, 32, 32])
instead of SPEC's. Of every k-th batch there are k choices; printed are the mean and the least of their
correlations (Spearman) with the importance from all batches and all activations.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from authors_networks import authors_networks
from numpy.typing import NDArray
from torch import Tensor

from nhnas.compiler.build import build
from nhnas.spec.document import parse_document
from nhnas.spec.structure import sites
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.engine import Engine
from nhnas.trainer.importance import ImportanceMeter, importance
from nhnas.trainer.numerics import choose_numerics, use_numerics

Sums = dict[str, Tensor]


def main() -> None:
    """Train, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("spec", type=Path)
    options.add_argument("--params", type=int, help="of one of the authors' networks")
    options.add_argument("--epochs", type=int, default=2, help="of training before the one that is measured")
    options.add_argument("--every", type=int, nargs="+", default=[1, 2, 4, 6, 8, 12])
    given = options.parse_args()
    document = parse_document(given.spec.read_bytes(), given.spec)
    arch = document.architecture if given.params is None else nearest(given.params)
    numerics = choose_numerics(document.train)
    use_numerics(numerics)
    data = load_dataset(document.data, seed=0, folder=given.spec.parent)
    engine = Engine(build(arch), data, document.train, tuple(document.data.augment), 1, numerics)
    for epoch in range(given.epochs):
        for batch in engine.batches(epoch, 0):
            engine.train_batch(batch, epoch, document.train.lr)
    parts = measured_apart(engine, arch, given.epochs, document.train.lr)
    whole = ranks([exact for exact, _ in parts])
    print(f"{whole.size} neurons, {len(parts)} batches of {document.train.batch}")
    for step in given.every:
        found = [correlation(ranks([used for _, used in parts[first::step]]), whole) for first in range(step)]
        print(f"every {step:>2}: {np.mean(found):.4f}, least {min(found):.4f}")


def nearest(params: int) -> Any:
    """The authors' network that has about so many parameters."""
    found = authors_networks()
    return found[min(found, key=lambda one: abs(one - params))]


def measured_apart(engine: Engine, arch: Any, epoch: int, lr: float) -> list[tuple[Sums, Sums]]:
    """The sums of every batch of one epoch of training: with all activations counted, and as in training."""
    exact, used = ImportanceMeter(counted=sys.maxsize), ImportanceMeter()

    def observe(site: str, sigma: Tensor, relu: bool, reader: str) -> None:
        exact.observe(site, sigma, relu, reader)
        used.observe(site, sigma, relu, reader)

    engine.network.probe.observer, engine.network.probe.sites = observe, frozenset(sites(arch))
    parts = []
    for batch in engine.batches(epoch, 0):
        engine.train_batch(batch, epoch, lr)
        parts.append((exact.state(), used.state()))
        exact.reset()
        used.reset()
    return parts


def ranks(parts: list[Sums]) -> NDArray[np.float64]:
    """Ranks of all neurons by their importance over these batches, equal ones sharing a mean rank."""
    meter = ImportanceMeter()
    meter.load({name: sum(part[name] for part in parts) for name in parts[0]})  # type: ignore[misc]
    measured = meter.result()
    values = np.concatenate([importance(one.sensitivity, one.positive) for one in measured.values()])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return mean_rank[places]


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's correlation: of ranks it is Spearman's."""
    return float(np.corrcoef(one, other)[0, 1])


if __name__ == "__main__":
    main()
