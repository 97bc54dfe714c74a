"""Counts of an architecture: neurons, parameters, multiply-accumulates, depth (DESIGN §8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod

from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, NodeView, sites, structure


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network or a part of it.

    `neurons` of all sites but the last width, `macs` multiply-accumulates of the leaves for one
    sample, `depth` the most leaves on a path, `depth10` the same without residuals of fewer than
    10 neurons (the paper's measure).
    """

    neurons: int
    parameters: int
    macs: int
    depth: int
    depth10: int

    def as_dict(self) -> dict[str, int]:
        """The fields by name."""
        return asdict(self)


def leaf_parameters(leaf: Leaf) -> int:
    """Elements of the weight and of the norm's weight and bias."""
    norm = 2 * leaf.writes.neurons if leaf.norm == "batch" else 0
    return prod(leaf.weight_shape) + norm


def leaf_macs(leaf: Leaf) -> int:
    """Multiply-accumulates for one sample."""
    positions = 1 if leaf.writes.map is None else prod(leaf.writes.map)
    return prod(leaf.weight_shape) * positions


def node_parameters(node: NodeView) -> int:
    """Parameters of a node and all below it."""
    bias = sum(n.writes.neurons for n in node.walk() if n.live and n.bias)
    return bias + sum(map(leaf_parameters, node.leaves()))


def node_macs(node: NodeView) -> int:
    """Multiply-accumulates of a node and all below it, for one sample."""
    return sum(map(leaf_macs, node.leaves()))


def node_depth(node: NodeView, least: int = 1) -> int:
    """Most leaves on a path through the node; residuals below `least` neurons count as absent."""
    straight = 0 if node.leaf is None else 1
    if node.first is None or node.second is None or node.hidden == 0:
        return straight
    if node.hidden < least and (node.leaf is not None or node.identity):
        return straight
    return max(straight, node_depth(node.first, least) + node_depth(node.second, least))


def node_neurons(node: NodeView) -> int:
    """Hidden neurons of a node and all below it."""
    return sum(n.hidden for n in node.walk() if n.live)


def measure(arch: Architecture) -> Totals:
    """Totals of a sound architecture."""
    views = structure(arch)
    tops = [view.node for view in views if view.node is not None]
    last = views[-1].writes.site
    return Totals(
        neurons=sum(site.neurons for key, site in sites(arch).items() if key != last),
        parameters=sum(map(node_parameters, tops)),
        macs=sum(map(node_macs, tops)),
        depth=_sum(node_depth(top) for top in tops),
        depth10=_sum(node_depth(top, least=10) for top in tops),
    )


def _sum(values: Iterable[int]) -> int:
    return sum(values)
