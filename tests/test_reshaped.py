"""What an edit by hand says in the end counts, not what it passes on the way: the same leaf stays whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nhnas.compiler.build import carried, initial_weights
from nhnas.spec.diff import diff
from nhnas.spec.model import Architecture

Layer = dict[str, Any]


def conv(name: str, **more: Any) -> Layer:
    return {"name": name, "op": "conv", "width": 4, **more}


def plain(name: str, op: str, **more: Any) -> Layer:
    return {"name": name, "op": op, **more}


A, B = conv("a"), conv("b")
GAP, FLAT = plain("g", "global_avg_pool"), plain("f", "flatten")
POOL, DROP = plain("p", "max_pool", kernel=2), plain("d", "dropout", p=0.1)
GELU = plain("r", "activation", act="gelu")
DENSE = [{"name": "x", "op": "dense", "width": 6}, {"name": "y", "op": "dense", "width": 5}]
STREAM = [{"name": "s", "op": "dense", "shortcut": "identity", "residual": {"hidden": 3}}]
DEEP = conv("a", kernel=5, residual={"hidden": 3})
FIVE = {"kernel": 5}

SAME: dict[str, tuple[list[Layer], list[Layer]]] = {
    "dropout before a pool of the whole map": ([A, GAP, DROP, *DENSE], [A, DROP, GAP, *DENSE]),
    "the same before a stream": ([A, GAP, DROP, *STREAM], [A, DROP, GAP, *STREAM]),
    "another pool of the whole map": ([A, GAP, *DENSE], [A, GELU, GAP | {"name": "g2"}, *DENSE]),
    "dropout before flatten": ([A, FLAT, DROP, *DENSE], [A, DROP, FLAT, *DENSE]),
    "dropout and another flatten": ([A, FLAT, *DENSE], [A, DROP, FLAT | {"name": "f2"}, *DENSE]),
    "a pool moves behind a layer": ([A, POOL, B, FLAT, *DENSE], [A, B, POOL, FLAT, *DENSE]),
    "a stride instead of a pool": ([A, POOL, FLAT, *DENSE], [A | {"stride": 2}, FLAT, *DENSE]),
    "a stride moves": ([A, B | {"stride": 2}, FLAT, *DENSE], [A | {"stride": 2}, B, FLAT, *DENSE]),
    "two pools instead of one": (
        [A, POOL | {"kernel": 4}, FLAT, *DENSE],
        [A, POOL, POOL | {"name": "p2"}, FLAT, *DENSE],
    ),
    "a kernel written at every leaf": (
        [DEEP, GAP, *DENSE],
        [conv("a", shortcut=FIVE, residual={"hidden": 3, "first": FIVE, "second": FIVE}), GAP, *DENSE],
    ),
    "a kernel written once for all": (
        [conv("a", shortcut=FIVE, residual={"hidden": 3, "first": FIVE, "second": FIVE}), GAP, *DENSE],
        [DEEP, GAP, *DENSE],
    ),
    "a norm written at two of three leaves": (
        [conv("a", norm="none", shortcut={"norm": "batch"}, residual={"hidden": 3}), GAP, *DENSE],
        [
            conv("a", residual={"hidden": 3, "first": {"norm": "none"}, "second": {"norm": "none"}}),
            GAP,
            *DENSE,
        ],
    ),
}


def net(layers: list[Layer]) -> Architecture:
    """The chain over two channels of 8×8, with a head."""
    head = {"name": "head", "op": "dense", "width": 3}
    return Architecture.model_validate({"input": [2, 8, 8], "net": [*layers, head]})


@pytest.mark.parametrize("case", SAME)
def test_leaves_that_are_the_same_in_the_end_keep_every_cell(case: str) -> None:
    """Weights, biases, statistics and counters, whatever the list of edits makes of them in between."""
    old, new = map(net, SAME[case])
    before = {name: torch.rand(t.shape) if t.dim() else t + 3 for name, t in initial_weights(old).items()}
    after = carried(old, diff(old, new), before, {}, seed=0, parent="p").weights
    assert [] == [name for name in before.keys() ^ after.keys() if not name.endswith("a.bias")]
    both = before.keys() & after.keys()
    assert [] == [name for name in both if not torch.equal(before[name], after[name])]


def test_a_flattened_map_of_another_size_is_read_anew() -> None:
    """By the layer that reads it, and by no other."""
    old, new = net([A, POOL, FLAT, *DENSE]), net([A, POOL | {"kernel": 4}, FLAT, *DENSE])
    before = initial_weights(old)
    after = carried(old, diff(old, new), before, {}, seed=0, parent="p").weights
    anew = [name for name in before if before[name].shape != after[name].shape]
    assert ["x.weight"] == anew
    assert [] == [name for name in before if name not in anew and not torch.equal(before[name], after[name])]
