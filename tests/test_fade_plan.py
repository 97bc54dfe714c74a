"""What becomes of every single cell while neurons leave, against DESIGN §6 read cell by cell."""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random
from typing import Any

import pytest

from nhnas.compiler.fade_plan import FadePlan, fade_plan, with_nested
from nhnas.search.neuron_edits import removals
from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.model import Architecture
from nhnas.spec.structure import biases, leaves, nodes, sites
from nhnas.spec.verify import verify
from tests.laws.architectures import random_architecture
from tests.laws.tensors import is_trained, shapes_of
from tests.leavers import Leavers, emptied, random_choice, random_leavers

CASES = 200
Cells = dict[tuple[str, tuple[int, ...]], str]
"""(tensor, row, or row and column) → fades, held; the others train."""


def is_second_of(path: str, outer: str) -> bool:
    """`outer.second`, `outer.second.second`, …: what writes the output of `outer` from its residual."""
    return path.startswith(f"{outer}.second") and set(path.removeprefix(f"{outer}.").split(".")) == {"second"}


def cells_by_the_rules(arch: Architecture, leavers: Leavers) -> Cells:
    """One cell at a time."""
    silent = emptied(arch, leavers)
    unheard = {key for key, at in leavers.items() if len(at) == sites(arch)[key].neurons and "hidden" in key}
    found: Cells = {}
    for leaf in leaves(arch):
        goes = any(is_second_of(leaf.path, path) for path in silent)
        going = leavers.get(leaf.writes.site, ())
        for row, column in product(range(leaf.writes.neurons), range(leaf.reads.features)):
            left = column // leaf.reads.columns in leavers.get(leaf.reads.site, ())
            cell = (f"{leaf.path}.weight", (row, column))
            if (goes and leaf.norm == "none") or (left and leaf.reads.site not in unheard):
                found[cell] = "fades"
            elif row in going:
                found[cell] = "held"
        for row, entry in product(
            range(leaf.writes.neurons if leaf.norm == "batch" else 0), ("weight", "bias")
        ):
            if goes or row in going:
                found[f"{leaf.path}.norm.{entry}", (row,)] = "fades" if goes else "held"
    for node in biases(arch):
        found |= {(f"{node.path}.bias", (row,)): "held" for row in leavers.get(node.writes.site, ())}
    return found


def cells_of_plan(arch: Architecture, plan: FadePlan) -> Cells:
    """What a plan says of each cell: held rows first, then what fades, as `Fading` does it."""
    shapes, found = shapes_of(arch), Cells()
    for name, at in plan.rows.items():
        found |= {(name, cell): "held" for cell in grid(shapes[name]) if cell[0] in at}
    for name in plan.whole:
        found |= {(name, cell): "fades" for cell in grid(shapes[name])}
    for name, at in plan.columns.items():
        found |= {(name, cell): "fades" for cell in grid(shapes[name]) if cell[1] in at}
    return found


def grid(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All rows and columns; a kernel's cells share the fate of their row and column."""
    return list(product(*map(range, shape[:2])))


def test_random_architectures() -> None:
    """200 random architectures and leavers: each cell of each tensor is treated as the rules say."""
    forms = Counter[str]()
    for seed in range(CASES):
        rng = Random(seed)
        arch = random_architecture(rng)
        leavers = random_leavers(rng, arch)
        plan = fade_plan(arch, leavers)
        assert cells_by_the_rules(arch, leavers) == cells_of_plan(arch, plan), f"seed {seed}"
        assert {True} >= {is_trained(name) for name in plan.names}
        forms["empties"] += bool(emptied(arch, leavers))
        forms["nested"] += sum("." in path for path in emptied(arch, leavers))
        forms["flatten"] += any(
            leaf.reads.columns > 1 and leaf.reads.site in leavers for leaf in leaves(arch)
        )
        forms["no norm"] += any(name.endswith(".second.weight") for name in plan.whole)
        forms["identity"] += any(layer_is_identity(layer) for layer in arch.net)
    assert min(forms.values()) >= CASES / 50, forms
    assert 5 == len(forms)


def layer_is_identity(layer: Any) -> bool:
    """Whether a layer adds to its stream."""
    return getattr(layer, "shortcut", None) == "identity"


def test_an_emptied_residual_takes_what_is_inside_along() -> None:
    """200 random choices: exactly the neurons inside emptied residuals join, in file order."""
    joined = 0
    for seed in range(CASES):
        rng = Random(seed)
        arch = random_architecture(rng)
        chosen = random_choice(rng, arch)
        expected = dict(chosen)
        for node, outer in product(nodes(arch), emptied(arch, chosen)):
            if node.hidden and node.path.startswith(f"{outer}."):
                expected[node.hidden_site] = tuple(range(node.hidden))
        found = with_nested(arch, chosen)
        assert expected == found, f"seed {seed}"
        assert [key for key in sites(arch) if key in found] == list(found)
        joined += expected != chosen
    assert joined >= CASES / 20


def chain(residual: dict[str, Any], norm: str = "batch") -> Architecture:
    """One layer with that residual, and a head."""
    net = [
        {"name": "a", "op": "dense", "width": 2, "norm": norm, "residual": residual},
        {"name": "head", "op": "dense", "width": 2},
    ]
    return verify(Architecture.model_validate({"input": [2], "net": net}))


def test_an_outer_residual_empties_the_inner_ones() -> None:
    """All of a.hidden leaves: a.first.hidden and a.second.hidden go with it, in file order."""
    inner = {"residual": {"hidden": 2}}
    arch = chain({"hidden": 3, "first": inner, "second": inner})
    found = with_nested(arch, {"a.hidden": (0, 1, 2), "a.width": (1,)})
    every = {"a.width": (1,), "a.hidden": (0, 1, 2), "a.first.hidden": (0, 1), "a.second.hidden": (0, 1)}
    assert list(every.items()) == list(found.items())
    assert {"a.hidden": (0, 2)} == with_nested(arch, {"a.hidden": (0, 2), "a.width": ()})


def test_every_writer_of_an_emptied_residual_falls_silent() -> None:
    """Gains and offsets of a.second and a.second.second fade; what feeds a.hidden is held, norms too."""
    inner = {"residual": {"hidden": 1}}
    arch = chain({"hidden": 2, "first": inner, "second": inner})
    plan = fade_plan(arch, with_nested(arch, {"a.hidden": (0, 1)}))
    norms = [
        f"{path}.norm.{entry}" for path in ("a.second", "a.second.second") for entry in ("weight", "bias")
    ]
    assert norms == list(plan.whole)
    assert {} == plan.columns
    held = {
        name: at for name, at in plan.rows.items() if name.startswith("a.first") and "first.first" not in name
    }
    leaves_of_first = ("a.first", "a.first.second")
    entries = ("weight", "norm.weight", "norm.bias")
    assert {f"{path}.{entry}": (0, 1) for path in leaves_of_first for entry in entries} == held


def test_without_norm_the_weights_of_the_writers_fade() -> None:
    """Without norm a.second.weight fades as a whole; the bias of the layer stays and trains."""
    plan = fade_plan(chain({"hidden": 2}, norm="none"), {"a.hidden": (0, 1)})
    assert ("a.second.weight",) == plan.whole
    assert {"a.first.weight": (0, 1), "a.first.bias": (0, 1)} == plan.rows


@pytest.mark.parametrize(
    "inner", [{"shortcut": False, "residual": {"hidden": 2}}, {"residual": {"hidden": 2, "fixed": True}}]
)
def test_a_residual_around_neurons_that_stay_keeps_one(inner: dict[str, Any]) -> None:
    """A node without shortcut, or a fixed residual, would go with the residual around it: that keeps one."""
    arch = chain({"hidden": 3, "first": inner})
    assert sites(arch)["a.hidden"].keep_one
    assert not sites(chain({"hidden": 3, "first": {"residual": {"hidden": 2}}}))["a.hidden"].keep_one


def test_columns_behind_a_flatten_fade_together() -> None:
    """Channel 1 of a map of 2×2 is the columns 4 to 7 of the matrix behind the flatten."""
    net = [
        {"name": "c", "op": "conv", "width": 3},
        {"name": "flat", "op": "flatten"},
        {"name": "head", "op": "dense", "width": 2},
    ]
    plan = fade_plan(Architecture.model_validate({"input": [1, 2, 2], "net": net}), {"c.width": (1,)})
    assert {"head.weight": (4, 5, 6, 7)} == plan.columns
    assert {"c.weight": (1,), "c.norm.weight": (1,), "c.norm.bias": (1,)} == plan.rows


def test_a_stream_fades_in_all_its_readers() -> None:
    """A neuron of a stream goes from all identity layers and the head; all that writes it is held."""
    net = [
        {"name": "stem", "op": "dense", "width": 3},
        {"name": "i1", "op": "dense", "shortcut": "identity", "residual": {"hidden": 2}},
        {"name": "i2", "op": "dense", "shortcut": "identity", "residual": {"hidden": 1}},
        {"name": "head", "op": "dense", "width": 2},
    ]
    arch = verify(Architecture.model_validate({"input": [2], "net": net}))
    plan = fade_plan(arch, {"stem.width": (2,)})
    assert dict.fromkeys(("i1.first.weight", "i2.first.weight", "head.weight"), (2,)) == plan.columns
    assert (
        dict.fromkeys(("stem.weight", "i1.second.weight", "i2.second.weight", "stem.bias"), (2,)) == plan.rows
    )
    assert () == plan.whole


def test_a_residual_around_an_empty_fixed_one_may_empty() -> None:
    """No neuron inside stays, so that none has to stay for it."""
    arch = chain({"hidden": 3, "first": {"residual": {"hidden": 0, "fixed": True}}})
    assert not sites(arch)["a.hidden"].keep_one


def test_neurons_inside_a_residual_go_before_those_around_it() -> None:
    """In whichever order the leavers are given: nothing full ever hangs in an empty residual."""
    arch = chain({"hidden": 2, "first": {"residual": {"hidden": 3}}})
    leavers = {"a.hidden": (0, 1), "a.first.hidden": (0, 1, 2)}
    expected = [RemoveNeurons(site="a.first.hidden", at=(0, 1, 2)), RemoveNeurons(site="a.hidden", at=(0, 1))]
    for given in (leavers, dict(reversed(leavers.items()))):
        assert expected == removals(arch, given)
