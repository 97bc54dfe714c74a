"""The record of neurons, against index maps that were compiled for tensors."""

from __future__ import annotations

from nhnas.compiler.recipe import compile_recipe
from nhnas.spec.diff import diff
from nhnas.spec.edits import invert
from nhnas.spec.moves import origins
from nhnas.spec.turnover import Recorded
from tests.laws.case import random_case


def test_a_record_is_what_the_recipe_says_of_every_site() -> None:
    """Over 300 random edit lists; a site that left its stream is a new one in the record."""
    followed = 0
    for seed in range(300):
        case = random_case(seed)
        after, found = origins(case.arch, case.edits)
        assert case.after == after
        recipe = compile_recipe(case.arch, case.edits)[1]
        assert recipe.sites.keys() == found.keys()
        for key, rows in recipe.sites.items():
            if rows.source is not None and any(origin >= 0 for origin in found[key]):
                assert [max(row, -1) for row in rows.rows.tolist()] == list(found[key]), (seed, key)
                followed += 1
    assert followed > 600


def test_a_diff_with_the_record_moves_the_same_neurons() -> None:
    """Where layers stay, edits found from the record carry each neuron where the first ones carried it."""
    compared = 0
    for seed in range(300):
        case = random_case(seed)
        edits = [edit for edit in case.edits if edit.kind in ("add_neurons", "remove_neurons")]
        if len(edits) < len(case.edits) or not edits:
            continue
        record = Recorded(origins(case.arch, edits)[1])
        found = origins(case.arch, diff(case.arch, case.after, record))[1]
        emptied = {key for key, origin in record.origins.items() if not any(o >= 0 for o in origin)}
        for key, origin in record.origins.items():
            if key not in emptied:
                assert list(origin) == list(found[key]), (seed, key)
                compared += 1
        assert set() == record.guessed - emptied
    assert compared > 50


def test_back_and_forth_leaves_a_new_neuron() -> None:
    """A neuron that goes and comes back is another one."""
    case = next(c for c in map(random_case, range(100)) if any(e.kind == "remove_neurons" for e in c.edits))
    after, found = origins(case.arch, [*case.edits, *invert(case.edits)])
    assert case.arch == after
    assert any(-1 in origin for origin in found.values())
