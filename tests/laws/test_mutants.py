"""The laws see what they should see: each of these faults breaks one within 200 cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from nhnas.compiler import axis_moves, keyed_random, marks, recipe, remap, tensor_plan
from nhnas.compiler.keyed_random import Draw
from nhnas.compiler.marks import NEW, QUIET, IndexMap
from nhnas.compiler.recipe import LeafRecipe, RowRecipe
from nhnas.compiler.tensor_plan import TensorPlan
from nhnas.spec.edits import AddNeurons, RemoveNeurons
from nhnas.spec.structure import Leaf, NodeView
from tests.laws import checks, exactness, fading
from tests.laws.case import Case, random_case

CASES = 200
Law = tuple[Callable[[int], Any], Callable[[Any], None]]
"""Where a law's cases come from, and the law."""

EXACT: Law = (exactness.exact_case, exactness.check_exact)
FOLD: Law = (random_case, checks.check_fold)
OPTIMIZER: Law = (random_case, checks.check_optimizer)
INVERSE: Law = (random_case, checks.check_inverse)
NEW_NEURONS: Law = (random_case, checks.check_new_neurons)
ORDER: Law = (random_case, checks.check_order)


def unzeroed_columns(old: Tensor, maps: tuple[IndexMap, ...], *rest: Any) -> Tensor:
    """New columns repeat the first old one."""
    return MOVED(old, (*maps[:1], *(np.maximum(index, 0) for index in maps[1:2]), *maps[2:]), *rest)


def shifted_vectors(olds: Any, maps: Sequence[IndexMap], *rest: Any) -> list[Tensor]:
    """Vectors that move together get the places of their neighbours."""
    return VECTORS(olds, [np.roll(index, 1) if index.size > 2 else index for index in maps], *rest)


def unzeroed_in_second(plan: TensorPlan, *rest: Any) -> Tensor:
    """New columns are zero in every leaf but those of a `second`."""
    if not plan.name.endswith(".second.weight"):
        return WEIGHT(plan, *rest)
    rows, columns, *kernel = plan.maps
    return WEIGHT(replace(plan, maps=(rows, np.maximum(columns, 0), *kernel)), *rest)


def shifted_rows(leaf: Leaf, *rest: Any) -> LeafRecipe:
    """Where a leaf's outputs grow or shrink, its rows are off by one; columns are right."""
    found = LEAF(leaf, *rest)
    moves = found.source is not None and not marks.is_same(found.rows, found.rows.size)
    return replace(found, rows=np.roll(found.rows, 1)) if moves else found


def shifted_with_new(size: int, at: Sequence[int]) -> IndexMap:
    """Old neurons move on by one place."""
    found = marks.with_new(size, at).copy()
    found[found >= 0] = np.roll(found[found >= 0], 1)
    return found


def shifted_without(size: int, at: Sequence[int]) -> IndexMap:
    """The neighbours of the leavers go instead."""
    return marks.without(size, sorted((position + 1) % size for position in at))


def unmoved(index: IndexMap) -> IndexMap:
    """What lies at a place stays there, as after a resize."""
    places = np.arange(index.size)
    return np.where(places <= index.max(initial=-1), places, NEW)


def unmoved_moment(plan: TensorPlan, field: str) -> tuple[IndexMap, ...]:
    """The second moment does not follow."""
    found = FIELD_MAPS(plan, field)
    return tuple(map(unmoved, found)) if field == "exp_avg_sq" else found


def unmoved_ages(plan: TensorPlan, field: str) -> tuple[IndexMap, ...]:
    """The ages of columns do not follow."""
    found = FIELD_MAPS(plan, field)
    return tuple(map(unmoved, found)) if field == remap.AGE_COLUMNS else found


def unmoved_statistics(leaf: Leaf, found: LeafRecipe) -> Iterator[TensorPlan]:
    """Running means do not follow."""
    for plan in NORM_PLANS(leaf, found):
        mean = plan.name.endswith("running_mean")
        yield replace(plan, maps=tuple(map(unmoved, plan.maps))) if mean else plan


def never_quiet(*_: Any) -> frozenset[str]:
    """The first neurons of a residual are heard at once."""
    return frozenset()


def forgets_quiet(first: IndexMap, second: IndexMap) -> IndexMap:
    """Silence does not survive the next edit of the list."""
    found = marks.chain(first, second)
    return np.where(found == QUIET, NEW, found)


def marks_do_not_win(first: IndexMap, second: IndexMap) -> IndexMap:
    """A new place is looked up like an old one."""
    return marks.chain(first, np.maximum(second, 0))


def corner(old: int, new: int) -> IndexMap:
    """A kernel that grows is embedded in a corner."""
    return np.where(np.arange(new) < old, np.arange(new), NEW)


def interleaved(neurons: IndexMap, columns: int) -> IndexMap:
    """Behind a flatten the columns of a neuron are scattered instead of neighbours."""
    return np.sort(marks.spread(neurons, columns)) if columns > 1 else neurons


def same_row(draws: Iterable[Draw]) -> Iterator[Any]:
    """All new rows are drawn alike."""
    return UNIFORMS(replace(draw, rows=np.zeros_like(draw.rows)) for draw in draws)


def row_among_newcomers(draws: Iterable[Draw]) -> Iterator[Any]:
    """A row is drawn by its place among the new ones."""
    return UNIFORMS(replace(draw, rows=np.arange(len(draw.rows))) for draw in draws)


def drawn_in_turn(*_: Any) -> np.uint64:
    """Every tensor that is drawn gets the next key."""
    global TURN
    TURN += np.uint64(1)
    return TURN


def bias_beside_identity(node: NodeView) -> RowRecipe:
    """An identity turned into a leaf gets a bias that is not 0."""
    return RowRecipe(None, marks.constant(node.writes.neurons, NEW))


def gain_alone(leaf: Leaf, tensors: dict[str, Tensor]) -> None:
    """Where a residual empties, the norm's bias does not fade."""
    name = "norm.weight" if leaf.norm == "batch" else "weight"
    tensors[f"{leaf.path}.{name}"].zero_()


def no_rename(path: str, _edit: Any) -> str:
    """A renamed layer is taken for a new one."""
    return path


def without_kernel(leaf: Leaf) -> int:
    """fan_in as the authors compute it."""
    return leaf.reads.features


def elsewhere(edit: AddNeurons) -> RemoveNeurons:
    """The inverse of an addition removes one neuron less."""
    return RemoveNeurons(site=edit.site, at=edit.at[:1])


LEAF, NORM_PLANS = recipe._leaf, tensor_plan._norm_plans
FIELD_MAPS, MOVED, WEIGHT, UNIFORMS = remap._field_maps, remap._moved, remap._weight, keyed_random.uniforms
VECTORS = axis_moves.moved_vectors
TURN = np.uint64(0)

MUTANTS: list[tuple[Law, Any, str, Any]] = [
    (EXACT, remap, "_moved", unzeroed_columns),
    (FOLD, remap, "_moved", unzeroed_columns),
    (EXACT, remap, "_weight", unzeroed_in_second),
    (EXACT, remap, "moved_vectors", shifted_vectors),
    (OPTIMIZER, remap, "moved_vectors", shifted_vectors),
    (EXACT, recipe, "_leaf", shifted_rows),
    (FOLD, recipe, "with_new", shifted_with_new),
    (EXACT, recipe, "without", shifted_without),
    (FOLD, recipe, "without", shifted_without),
    (OPTIMIZER, remap, "_field_maps", unmoved_moment),
    (OPTIMIZER, remap, "_field_maps", unmoved_ages),
    (EXACT, tensor_plan, "_norm_plans", unmoved_statistics),
    (EXACT, recipe, "_quiet_paths", never_quiet),
    (EXACT, recipe, "chain", forgets_quiet),
    (FOLD, recipe, "chain", marks_do_not_win),
    (EXACT, tensor_plan, "centred", corner),
    (EXACT, tensor_plan, "spread", interleaved),
    (NEW_NEURONS, remap, "uniforms", same_row),
    (FOLD, remap, "uniforms", row_among_newcomers),
    (ORDER, remap, "key_of", drawn_in_turn),
    (EXACT, recipe, "_new_bias", bias_beside_identity),
    (EXACT, fading, "silence", gain_alone),
    (EXACT, recipe, "_old_path", no_rename),
    (FOLD, Leaf, "fan_in", property(without_kernel)),
    (INVERSE, AddNeurons, "inverse", property(elsewhere)),
]


def name_of(value: Any) -> str:
    return str(getattr(value.fget if isinstance(value, property) else value, "__name__", ""))


@pytest.mark.parametrize(
    ("law", "owner", "name", "mutant"), MUTANTS, ids=[f"{m[0][1].__name__}-{name_of(m[3])}" for m in MUTANTS]
)
def test_mutant_is_caught(
    law: Law, owner: Any, name: str, mutant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A law fails under the fault within 200 cases, and holds for the same case without it."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, mutant)
        caught = first_failure(law)
    assert caught is not None
    law[1](caught)


def first_failure(law: Law) -> Case | None:
    """The first case of 200 for which the law does not hold."""
    make, check = law
    for seed in range(CASES):
        case = make(seed)
        try:
            check(case)
        except AssertionError:
            return case  # type: ignore[no-any-return]
    return None
