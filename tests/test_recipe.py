"""Recipes of hand-written lists, index by index; that they compose and carry tensors is in `tests/laws`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nhnas.compiler.build import build, grown, initial_weights
from nhnas.compiler.marks import (
    IDENTITY,
    NEW,
    QUIET,
    RANDOM,
    centred,
    chain,
    identity_marks,
    is_same,
    same,
    spread,
    with_new,
    without,
)
from nhnas.compiler.recipe import Recipe, compile_recipe, from_nothing, unchanged
from nhnas.compiler.remap import remap_optimizer
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.spec.diff import diff
from nhnas.spec.edits import (
    AddNeurons,
    Collapse,
    Edit,
    InsertLayer,
    Promote,
    RemoveLayer,
    RemoveNeurons,
    Rename,
    RestoreShortcut,
    Set,
)
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Dense, Residual

STEM = {"name": "a", "op": "dense", "width": 3}
HEAD = {"name": "head", "op": "dense", "width": 2}
BLOCK = STEM | {"residual": {"hidden": 2}}
EMPTY = STEM | {"residual": {"hidden": 0}}
STREAM = {"name": "b", "op": "dense", "shortcut": "identity"}


def arch_of(*net: dict[str, Any], size: tuple[int, ...] = (4,)) -> Architecture:
    return Architecture.model_validate({"input": size, "net": net})


def recipe_of(arch: Architecture, *edits: Edit) -> Recipe:
    return compile_recipe(arch, edits)[1]


def axes(recipe: Recipe, path: str) -> tuple[str | None, list[int], list[int]]:
    leaf = recipe.leaves[path]
    return leaf.source, leaf.rows.tolist(), leaf.columns.tolist()


def test_index_maps_of_single_changes() -> None:
    """Positions are those of the larger axis; a kernel is embedded in, or cut from, the middle."""
    assert [NEW, 0, 1, NEW, 2] == with_new(5, (0, 3)).tolist()
    assert [1, 2, 4] == without(5, (0, 3)).tolist()
    assert [NEW, 0, 1, 2, NEW] == centred(3, 5).tolist()
    assert [1, 2, 3] == centred(5, 3).tolist()
    assert [IDENTITY, IDENTITY - 1] == identity_marks(2).tolist()
    assert [2, 3, NEW, NEW, 0, 1] == spread(np.array([1, NEW, 0]), 2).tolist()


def test_later_marks_win_when_maps_are_chained() -> None:
    """What is new in the second map is new; the rest is looked up in the first, marks included."""
    assert [NEW, QUIET, 1, 0] == chain(np.array([0, QUIET, 1]), np.array([NEW, 1, 2, 0])).tolist()
    assert [NEW] == chain(same(0), np.array([NEW])).tolist()
    assert is_same(chain(with_new(3, (1,)), without(3, (1,))), 2)
    assert not is_same(same(2), 3)


def test_index_maps_cannot_be_written_to() -> None:
    """They are shared between recipes."""
    with pytest.raises(ValueError, match="read-only"):
        same(3)[0] = 1


def test_new_neurons_are_rows_of_writers_and_columns_of_readers() -> None:
    """The shortcut and the residual of a layer write its site; the next layer reads it."""
    recipe = recipe_of(arch_of(BLOCK, HEAD), AddNeurons(site="a.width", at=(1,)))
    assert ("a", [0, NEW, 1, 2], [0, 1, 2, 3]) == axes(recipe, "a")
    assert ("a.second", [0, NEW, 1, 2], [0, 1]) == axes(recipe, "a.second")
    assert ("a.first", [0, 1], [0, 1, 2, 3]) == axes(recipe, "a.first")
    assert ("head", [0, 1], [0, NEW, 1, 2]) == axes(recipe, "head")
    assert [0, NEW, 1, 2] == recipe.biases["a"].rows.tolist()
    assert [0, NEW, 1, 2] == recipe.sites["a.width"].rows.tolist()


def test_first_neurons_of_a_residual_are_quiet() -> None:
    """What writes the node's output from it is silent; what reads the input is an ordinary new leaf."""
    recipe = recipe_of(arch_of(EMPTY, HEAD), AddNeurons(site="a.hidden", at=(0, 1)))
    assert (None, [QUIET] * 3, [RANDOM] * 2) == axes(recipe, "a.second")
    assert (None, [NEW] * 2, [RANDOM] * 4) == axes(recipe, "a.first")
    assert ("a", [0, 1, 2], [0, 1, 2, 3]) == axes(recipe, "a")


def test_all_writers_of_a_residual_that_was_empty_are_quiet() -> None:
    """Also those inside its `second`, whichever of the two gets its neurons first."""
    nested = STEM | {"residual": {"hidden": 0, "second": {"residual": {"hidden": 0}}}}
    outer, inner = AddNeurons(site="a.hidden", at=(0,)), AddNeurons(site="a.second.hidden", at=(0,))
    for edits in ((outer, inner), (inner, outer)):
        recipe = recipe_of(arch_of(nested, HEAD), *edits)
        assert [QUIET] * 3 == recipe.leaves["a.second"].rows.tolist()
        assert [QUIET] * 3 == recipe.leaves["a.second.second"].rows.tolist()
        assert [NEW] == recipe.leaves["a.second.first"].rows.tolist()


def test_residual_that_empties_and_fills_again_starts_anew() -> None:
    """Its old weights do not come back."""
    edits = (RemoveNeurons(site="a.hidden", at=(0, 1)), AddNeurons(site="a.hidden", at=(0,)))
    recipe = recipe_of(arch_of(BLOCK, HEAD), *edits)
    assert (None, [QUIET] * 3, [RANDOM]) == axes(recipe, "a.second")
    assert [NEW] == recipe.sites["a.hidden"].rows.tolist()


def test_renaming_keeps_every_index() -> None:
    """Only names change, of leaves, biases and sites."""
    recipe = recipe_of(arch_of(BLOCK, HEAD), Rename(old="a", new="c"))
    assert ("a.second", [0, 1, 2], [0, 1]) == axes(recipe, "c.second")
    assert ("head", [0, 1], [0, 1, 2]) == axes(recipe, "head")
    assert "a.first" == recipe.biases["c.first"].source
    assert "a.hidden" == recipe.sites["c.hidden"].source


def test_layer_that_comes_between_makes_its_readers_start_anew() -> None:
    """They read other neurons now; and when it goes again, their weights do not return."""
    arch, layer = arch_of(STEM, HEAD), Dense(name="d", width=3)
    recipe = recipe_of(arch, InsertLayer(index=1, layer=layer))
    assert (None, [NEW, NEW], [RANDOM] * 3) == axes(recipe, "head")
    assert "a" == recipe.leaves["a"].source
    recipe = recipe_of(arch, InsertLayer(index=1, layer=layer), RemoveLayer(index=1, layer=layer))
    assert recipe.leaves["head"].source is None


def test_promotion_and_collapse_move_nothing() -> None:
    """An empty residual owns no tensor."""
    arch, empty = arch_of(STEM, HEAD), Residual(hidden=0)
    for edits in (
        (Promote(path="a", residual=empty),),
        (Promote(path="a", residual=empty), Collapse(path="a", residual=empty)),
    ):
        recipe = recipe_of(arch, *edits)
        assert {"a": "a", "head": "head"} == {path: leaf.source for path, leaf in recipe.leaves.items()}
        assert all(is_same(leaf.rows, leaf.rows.size) for leaf in recipe.leaves.values())


def test_identity_that_leaves_its_stream_takes_the_neurons_along() -> None:
    """Its leaf is born as the identity, and what reads it keeps its columns."""
    arch = arch_of(STEM, STREAM, HEAD)
    born = Set(path="b", key="shortcut", old="identity", new={"norm": "none", "init": "identity"})
    recipe = recipe_of(arch, born)
    eye = [IDENTITY, IDENTITY - 1, IDENTITY - 2]
    assert (None, eye, eye) == axes(recipe, "b")
    assert ("head", [0, 1], [0, 1, 2]) == axes(recipe, "head")
    assert "a.width" == recipe.sites["b.width"].source
    recipe = recipe_of(arch, born, AddNeurons(site="b.width", at=(3,)))
    assert [*eye, NEW] == recipe.leaves["b"].rows.tolist()
    assert [0, 1, 2, NEW] == recipe.leaves["head"].columns.tolist()
    assert [0, 1, 2] == recipe.sites["a.width"].rows.tolist()


def test_layer_that_leaves_the_stream_of_the_data_has_new_neurons() -> None:
    """The data's own site is none that a recipe could name."""
    recipe = recipe_of(arch_of(STREAM, HEAD), Set(path="b", key="shortcut", old="identity", new=None))
    assert recipe.sites["b.width"].source is None
    assert ("head", [0, 1], [0, 1, 2, 3]) == axes(recipe, "head")


def test_untrained_and_unchanged_recipes() -> None:
    """From nothing everything is new; without an edit everything stays."""
    arch = arch_of(BLOCK, HEAD)
    assert {None} == {leaf.source for leaf in from_nothing(arch).leaves.values()}
    assert [NEW] * 3 == from_nothing(arch).biases["a"].rows.tolist()
    assert {path: path for path in unchanged(arch).leaves} == {
        path: leaf.source for path, leaf in unchanged(arch).leaves.items()
    }


@pytest.mark.parametrize("edits_first", [True, False])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_first_neurons_are_silent_also_where_a_norm_comes_or_goes(norm: str, edits_first: bool) -> None:
    """A gain of 0 where there is a norm in the end, a weight of 0 where there is none; not both."""
    second = {"norm": "none" if norm == "batch" else "batch"}
    arch = arch_of(STEM | {"residual": {"hidden": 0, "second": second}}, HEAD)
    setting = Set(path="a.second", key="norm", old=second["norm"], new=norm)
    edits: list[Edit] = [AddNeurons(site="a.hidden", at=(0, 1)), setting]
    weights = initial_weights(arch)
    _, _, tensors = grown(arch, edits if edits_first else edits[::-1], weights, seed=1, parent="p")
    assert (norm == "batch") == bool((tensors["a.second.weight"] != 0).all())
    assert (norm == "none") == bool((tensors["a.second.weight"] == 0).all())
    if norm == "batch":
        assert [0.0, 0.0, 0.0] == tensors["a.second.norm.weight"].tolist()


def test_restored_shortcut_is_silent() -> None:
    """The output stays until it is trained."""
    arch = arch_of(BLOCK | {"shortcut": False, "norm": "batch"}, HEAD)
    weights = initial_weights(arch)
    after, _, tensors = grown(arch, [RestoreShortcut(path="a", leaf=True)], weights, seed=1, parent="p")
    assert [0.0, 0.0, 0.0] == tensors["a.norm.weight"].tolist()
    x = torch.randn(5, 4)
    assert torch.equal(build(arch, weights).eval()(x), build(after, tensors).eval()(x))


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("nested", [False, True])
def test_node_whose_shortcut_and_residual_change_places_is_heard(norm: str, nested: bool) -> None:
    """There is no output to preserve, and under a ReLU a silent neuron would stay so for ever."""
    layer = STEM | {"norm": norm}
    second = {"second": {"residual": {"hidden": 2}}} if nested else {}
    by_shortcut = arch_of(layer | {"residual": {"hidden": 0}}, HEAD)
    by_residual = arch_of(layer | {"shortcut": False, "residual": {"hidden": 3} | second}, HEAD)
    for old, new in ((by_shortcut, by_residual), (by_residual, by_shortcut)):
        after, _, tensors = grown(old, diff(old, new), initial_weights(old), seed=1, parent="p")
        assert new == after
        # With two outputs of the head that are two of the layer's.
        whole = build(after, tensors | {"head.weight": torch.eye(3)[:2], "head.bias": torch.zeros(2)})
        outputs = whole.eval()(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))
        assert [True] * 2 == (outputs.std(0) > 0.01).tolist()


def test_norm_that_changes_starts_anew_and_the_weight_stays() -> None:
    """1, 0, 0, 1 and a counter at 0; there is no optimizer entry for what is new."""
    arch = arch_of(STEM, HEAD)
    edits = [Set(path="a", key="norm", old=None, new="batch")]
    weights = initial_weights(arch)
    after, recipe, tensors = grown(arch, edits, weights, seed=1, parent="p")
    assert torch.equal(weights["a.weight"], tensors["a.weight"])
    fills = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for entry, fill in fills.items():
        assert [fill] * 3 == tensors[f"a.norm.{entry}"].tolist()
    state = {f"{name}:exp_avg": tensor for name, tensor in weights.items()}
    moved = remap_optimizer(tensor_plans(after, recipe), state)
    assert {"a.weight:exp_avg", "head.weight:exp_avg", "head.bias:exp_avg"} == set(moved)


def test_columns_behind_a_flatten_belong_to_their_channel() -> None:
    """One channel is H·W neighbouring features."""
    conv = {"name": "a", "op": "conv", "width": 2, "kernel": 1}
    arch = arch_of(conv, {"name": "f", "op": "flatten"}, HEAD, size=(1, 1, 3))
    weights = initial_weights(arch)
    _, _, tensors = grown(arch, [AddNeurons(site="a.width", at=(1,))], weights, seed=1, parent="p")
    old, new = weights["head.weight"], tensors["head.weight"]
    assert torch.equal(torch.cat([old[:, :3], torch.zeros(2, 3), old[:, 3:]], 1), new)


def test_optimizer_entries_of_any_name_follow() -> None:
    """Names may hold colons; ages of columns are those of features; dead tensors leave nothing."""
    arch = arch_of(BLOCK | {"name": "x:y"}, HEAD)
    state: dict[str, Tensor] = {
        "x:y.weight:momentum": torch.arange(12.0).reshape(3, 4),
        "x:y.second.weight:momentum": torch.ones(3, 2),
        "head.weight:age.columns": torch.tensor([7, 8, 9]),
        "head.weight:age.rows": torch.tensor([5, 6]),
    }
    edits: list[Edit] = [RemoveNeurons(site="x:y.hidden", at=(0, 1)), AddNeurons(site="x:y.width", at=(0,))]
    after, recipe = compile_recipe(arch, edits)
    moved = remap_optimizer(tensor_plans(after, recipe), state)
    assert {"x:y.weight:momentum", "head.weight:age.columns", "head.weight:age.rows"} == set(moved)
    assert [[0.0] * 4, *state["x:y.weight:momentum"].tolist()] == moved["x:y.weight:momentum"].tolist()
    assert [0, 7, 8, 9] == moved["head.weight:age.columns"].tolist()
    assert [5, 6] == moved["head.weight:age.rows"].tolist()


def test_growth_that_leads_to_an_unsound_architecture_is_refused() -> None:
    """`grown` verifies where the list ends."""
    arch = arch_of(STEM | {"residual": {"hidden": 1}, "shortcut": False}, HEAD)
    with pytest.raises(InputError, match="a node needs a shortcut or hidden neurons"):
        grown(arch, [RemoveNeurons(site="a.hidden", at=(0,))], initial_weights(arch), seed=1, parent="p")
