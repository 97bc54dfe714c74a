"""What one neuron of a site costs: the parameters, or multiply-accumulates, that would go with it."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Literal

from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, biases, leaves, sites


def neuron_costs(arch: Architecture, unit: Literal["params", "macs"]) -> dict[str, float]:
    """Cost per neuron of every site; 0 where it holds none.

    Its row and its columns in every leaf that writes or reads the site, and with `params` its entries
    of norms and bias. No leaf does both: what an identity layer hands on passes no leaf.
    """
    costs: Counter[str] = Counter()
    for leaf in leaves(arch):
        cell = _cell_cost(leaf, unit)
        costs[leaf.writes.site] += leaf.reads.features * cell
        costs[leaf.reads.site] += leaf.writes.neurons * leaf.reads.columns * cell
    if unit == "params":
        costs.update(leaf.writes.site for leaf in leaves(arch) for _ in range(2) if leaf.norm == "batch")
        costs.update(node.writes.site for node in biases(arch))
    return {key: float(costs[key]) for key in sites(arch)}


def _cell_cost(leaf: Leaf, unit: Literal["params", "macs"]) -> int:
    """Cost of the connection between one input and one output of a leaf: k·k, at each position."""
    kernel = leaf.kernel**2 if leaf.op == "conv" else 1
    return kernel * (prod(leaf.writes.map or ()) if unit == "macs" else 1)
