"""What one neuron of a site costs: parameters or multiply-accumulates, its rows and its columns."""

from __future__ import annotations

from typing import Literal

from nhnas.spec.measure import leaf_macs, leaf_parameters
from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, leaves, sites


def neuron_costs(arch: Architecture, unit: Literal["params", "macs"]) -> dict[str, float]:
    """Cost per neuron of every site: its share of each leaf that writes or reads the site."""
    costs = dict.fromkeys(sites(arch), 0.0)
    for leaf in leaves(arch):
        cost = _leaf_cost(leaf, unit)
        for port in (leaf.writes, leaf.reads):
            if port.site in costs and port.neurons:
                costs[port.site] += cost / port.neurons
    return costs


def _leaf_cost(leaf: Leaf, unit: Literal["params", "macs"]) -> int:
    return leaf_parameters(leaf) if unit == "params" else leaf_macs(leaf)
