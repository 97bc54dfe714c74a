"""From the recipe of leaves to the recipe of each named tensor.

Legend: O outputs, I inputs (features), k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from nhnas.compiler.marks import NEW, QUIET, IndexMap, centred, constant, same, spread
from nhnas.compiler.recipe import LeafRecipe, Recipe, RowRecipe, settled, settled_bias, unheard
from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, NodeView, biases, leaves

Fill = Literal["random", "one", "zero"]
NORM_FILLS: dict[str, Fill] = {
    "weight": "one",
    "bias": "zero",
    "running_mean": "zero",
    "running_var": "one",
}
COUNTER = "norm.num_batches_tracked"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor of the new network.

    `maps` has one index map an axis: (O,), (O, I) or (O, I, k, k); none for a counter. `source` is
    the old tensor's name, None where all is new. New cells: `random` draws U(-bound, bound).
    `trained` is False for running statistics.
    """

    name: str
    source: str | None
    maps: tuple[IndexMap, ...]
    fill: Fill
    bound: float
    trained: bool


def tensor_plans(arch: Architecture, recipe: Recipe) -> dict[str, TensorPlan]:
    """A plan for every tensor of `arch`, by name, in file order."""
    loud = unheard(arch, recipe)
    found = ((leaf, settled(leaf, recipe.leaves[leaf.path], leaf.path in loud)) for leaf in leaves(arch))
    plans = [plan for leaf, its_recipe in found for plan in _leaf_plans(leaf, its_recipe)]
    plans += [_bias_plan(node, settled_bias(node, recipe.biases[node.path])) for node in biases(arch)]
    return {plan.name: plan for plan in plans}


def _leaf_plans(leaf: Leaf, recipe: LeafRecipe) -> Iterator[TensorPlan]:
    source = None if recipe.source is None else f"{recipe.source}.weight"
    columns = spread(recipe.columns, leaf.reads.columns)
    kernel = (_kernel(leaf, recipe),) * 2 if leaf.op == "conv" else ()
    bound = 1.0 / sqrt(max(leaf.fan_in, 1))
    # A norm keeps its leaf quiet: its weight may be random. Decided here and not at the leaf's birth,
    # since a later edit of the same list may give or take the norm.
    quiet = leaf.norm == "batch" and (recipe.rows == QUIET).any()
    rows = np.where(recipe.rows == QUIET, NEW, recipe.rows) if quiet else recipe.rows
    yield TensorPlan(f"{leaf.path}.weight", source, (rows, columns, *kernel), "random", bound, True)
    if leaf.norm == "batch":
        yield from _norm_plans(leaf, recipe)


def _kernel(leaf: Leaf, recipe: LeafRecipe) -> IndexMap:
    """One axis of the kernel, embedded in, or cut from, the middle of the one that the leaf had."""
    return same(leaf.kernel) if recipe.source is None else centred(recipe.kernel, leaf.kernel)


def _norm_plans(leaf: Leaf, recipe: LeafRecipe) -> Iterator[TensorPlan]:
    kept = recipe.source is not None and recipe.norm == leaf.norm
    rows = recipe.rows
    if not kept and recipe.source is not None:
        rows = constant(len(rows), NEW)
    for entry, fill in NORM_FILLS.items():
        source = f"{recipe.source}.norm.{entry}" if kept else None
        trained = entry in ("weight", "bias")
        yield TensorPlan(f"{leaf.path}.norm.{entry}", source, (rows,), fill, 0.0, trained)
    source = f"{recipe.source}.{COUNTER}" if kept else None
    yield TensorPlan(f"{leaf.path}.{COUNTER}", source, (), "zero", 0.0, False)


def _bias_plan(node: NodeView, recipe: RowRecipe) -> TensorPlan:
    source = None if recipe.source is None else f"{recipe.source}.bias"
    bound = 1.0 / sqrt(max(node.reads.features * node.kernel**2, 1))
    return TensorPlan(f"{node.path}.bias", source, (recipe.rows,), "random", bound, True)
