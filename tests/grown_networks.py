"""Networks before and after they grew, with random weights and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from nhnas.compiler.build import build, grown
from nhnas.compiler.network import Network
from nhnas.newcomers import SMALL, shrink_rows
from nhnas.search.neuron_edits import additions
from nhnas.spec.config import Train
from nhnas.spec.model import Architecture
from nhnas.spec.structure import sites
from nhnas.trainer.gradmax import Sample, set_rows
from tests.laws.architectures import random_architecture
from tests.laws.tensors import random_tensors

TRAIN = Train(loss="mse")
CASES = 80
"""Random architectures; each grows at about half of its open sites."""


@dataclass(frozen=True)
class Growth:
    """A network before and after it grew, float64; `rows`: positions of the new neurons by site."""

    before: Network
    after: Network
    rows: Mapping[str, tuple[int, ...]]
    samples: tuple[Sample, ...]

    def begin(self, mode: str) -> int:
        """What `start_newcomers` does to the grown network."""
        if mode == "small":
            shrink_rows(self.after, self.rows, SMALL)
        return set_rows(self.after, self.samples, TRAIN, self.rows) if mode == "gradmax" else 0

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.after.tensors().items()}


def growth(arch: Architecture, counts: Mapping[str, int], seed: int) -> Growth:
    """`arch` with random weights and data, grown by so many neurons at each site."""
    weights, edits = random_tensors(arch, seed), additions(arch, counts)
    after, _, tensors = grown(arch, edits, weights, seed=seed, parent="p")
    before, draw = build(arch, weights).eval(), torch.Generator().manual_seed(seed)
    samples = []
    for size in (3, 5):
        inputs = torch.randn(size, *arch.input, generator=draw, dtype=torch.float64)
        targets = torch.randn(before(inputs).shape, generator=draw)
        samples.append((inputs, targets))
    rows = {edit.site: edit.at for edit in edits}
    return Growth(before, build(after, tensors), rows, tuple(samples))


def random_growth(seed: int) -> Growth:
    """Some neurons, up to ten a site, at half of the open sites of a random architecture."""
    rng = Random(seed)
    arch = random_architecture(rng)
    open_sites = [key for key, site in sites(arch).items() if site.open]
    return growth(arch, {key: rng.choice((1, 2, 10)) for key in open_sites if rng.random() < 0.5}, seed)


def assert_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], seed: int) -> None:
    """All bits."""
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), (seed, name)
