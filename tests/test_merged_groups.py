"""Which leaves of a merged network run together: the cheapest groups, by the rule of costs."""

from __future__ import annotations

from itertools import product
from random import Random

from nhnas.compiler.merged_cost import ADD, CALL, CAT, padded
from nhnas.compiler.merged_graph import flat_graph
from nhnas.compiler.merged_groups import cheapest, components, cost, groups_of, links_of, options_of
from nhnas.spec.model import Architecture
from tests.laws.architectures import random_architecture
from tests.laws.tensors import random_tensors


def test_groups_are_the_cheapest() -> None:
    """Of all ways to group the leaves of a node none costs less than the one that is found."""
    compared = 0
    for seed in range(150):
        arch = random_architecture(Random(seed))
        for links in components(list(links_of(flat_graph(arch, random_tensors(arch, seed))))):
            ways = list(product(*(options_of(link, links) for link in links))) if len(links) < 8 else []
            if 1 < len(ways) < 1000:
                costs = [cost(groups_of(links, choices)) for choices in ways]
                assert min(costs) == cost(cheapest(links))
                compared += len(set(costs)) > 1
    assert compared > 100


def test_costs_are_those_that_the_rule_says() -> None:
    """A node with neurons, counted by hand: calls, lanes of 16, one addition or one concatenation."""
    layer = {"name": "a", "op": "conv", "width": 3, "residual": {"hidden": 5}}
    arch = Architecture.model_validate({"input": [2, 4, 4], "net": [layer]})
    links = list(links_of(flat_graph(arch, random_tensors(arch, 0))))
    by_source, by_target = (cost(groups_of(links, [(side, 3)] * 3)) for side in ("source", "target"))
    lanes, pixels = 16 * 9, 16
    assert (2 + 5) * lanes * pixels + ADD * 3 * pixels + 3 * CALL == by_source
    assert (2 + 7) * lanes * pixels + CAT * 7 * pixels + 3 * CALL == by_target
    assert [16, 32] == [padded(16), padded(17)]
