"""What a neuron costs: exactly what a network gets smaller by when one goes."""

from __future__ import annotations

from random import Random
from typing import Literal

import pytest

from nhnas.search.cost import neuron_costs
from nhnas.spec.apply import apply
from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.measure import measure
from nhnas.spec.structure import sites
from tests.laws.architectures import random_architecture


@pytest.mark.parametrize("unit", ["params", "macs"])
def test_a_neuron_costs_what_its_removal_saves(unit: Literal["params", "macs"]) -> None:
    """150 random architectures, each site that can lose one: the cost is the difference of the totals."""
    compared = 0
    for seed in range(150):
        arch = random_architecture(Random(seed))
        costs, before = neuron_costs(arch, unit), measure(arch)
        assert list(sites(arch)) == list(costs)
        for key, site in sites(arch).items():
            if site.neurons < 2:
                continue
            after = measure(apply(arch, RemoveNeurons(site=key, at=(0,))))
            saved = before.parameters - after.parameters if unit == "params" else before.macs - after.macs
            assert float(saved) == costs[key], (seed, key)
            compared += 1
    assert compared > 300


def test_an_empty_site_costs_nothing() -> None:
    """A residual without neurons has no leaves inside, and so no cost."""
    empty = [
        (arch, key)
        for arch in map(random_architecture, map(Random, range(40)))
        for key, site in sites(arch).items()
        if site.neurons == 0
    ]
    assert empty
    assert {0.0} == {neuron_costs(arch, "params")[key] for arch, key in empty}
