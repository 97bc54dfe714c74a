"""The edits between two files, case by case; that they always lead there is a law in `tests/laws`."""

from __future__ import annotations

from typing import Any

from nhnas.spec.apply import apply
from nhnas.spec.diff import diff
from nhnas.spec.edits import (
    AddNeurons,
    Collapse,
    DropShortcut,
    Edit,
    InsertLayer,
    Promote,
    RemoveLayer,
    RemoveNeurons,
    Rename,
    RestoreShortcut,
    Set,
    SwapLayer,
    invert,
)
from nhnas.spec.model import Architecture, Residual
from nhnas.spec.turnover import LeastImportant, Recorded

STEM = {"name": "stem", "op": "dense", "width": 4}
HEAD = {"name": "head", "op": "dense", "width": 2}


def arch_of(*net: dict[str, Any]) -> Architecture:
    return Architecture.model_validate({"input": [3], "net": net})


def leads(old: Architecture, new: Architecture, **options: Any) -> list[Edit]:
    """The edits, which must lead there and back."""
    edits = diff(old, new, **options)
    assert new == apply(old, edits)
    assert old == apply(new, invert(edits))
    return list(edits)


def test_equal_files_need_no_edit() -> None:
    """Also where one writes down a default that the other leaves out."""
    written = STEM | {"residual": {"hidden": 0, "act": "relu", "first": {}}, "shortcut": True}
    assert [] == leads(arch_of(written), arch_of(STEM | {"residual": {"hidden": 0}}))


def test_numbers_that_grow_add_neurons_at_the_end() -> None:
    """Sites of every depth, the chain's first."""
    old = arch_of(STEM | {"residual": {"hidden": 1}}, HEAD)
    new = arch_of(STEM | {"width": 6, "residual": {"hidden": 3}}, HEAD)
    expected = [AddNeurons(site="stem.width", at=(4, 5)), AddNeurons(site="stem.hidden", at=(1, 2))]
    assert expected == leads(old, new)


def test_numbers_that_shrink_remove_the_last_or_the_chosen_neurons() -> None:
    """The turnover is asked with the site, how many there are and how many are wanted."""
    old, new = arch_of(STEM, HEAD), arch_of(STEM | {"width": 2}, HEAD)
    assert [RemoveNeurons(site="stem.width", at=(2, 3))] == leads(old, new)
    turnover = LeastImportant({"stem.width": [0.1, 0.2, 0.3, 0.4]})
    assert [RemoveNeurons(site="stem.width", at=(0, 1))] == leads(old, new, turnover=turnover)


def test_the_record_of_neurons_that_came_and_went_is_used() -> None:
    """Two of four went and three others came: one record, although the number only rose by one."""
    old, new = arch_of(STEM, HEAD), arch_of(STEM | {"width": 5}, HEAD)
    record = Recorded({"stem.width": (-1, 1, 3, -1, -1)})
    expected: list[Edit] = [
        RemoveNeurons(site="stem.width", at=(0, 2)),
        AddNeurons(site="stem.width", at=(0, 3, 4)),
    ]
    assert (expected, set()) == (leads(old, new, turnover=record), record.guessed)


def test_where_the_record_is_silent_a_site_that_shrank_is_a_guess() -> None:
    """A record of another size is none, and one that keeps nothing would leave a layer without neurons."""
    old, new = arch_of(STEM, HEAD), arch_of(STEM | {"width": 2}, HEAD)
    for origins in ((0, 1, 2), (-1, -1)):
        record = Recorded({"stem.width": origins})
        edits = leads(old, new, turnover=record)
        assert [RemoveNeurons(site="stem.width", at=(2, 3))] == edits
        assert {"stem.width"} == record.guessed


def test_residual_that_goes_is_emptied_from_the_inside() -> None:
    """Nothing full ever hangs in an empty residual."""
    inner = {"residual": {"hidden": 2}}
    old = arch_of(STEM | {"residual": {"hidden": 1, "first": inner}}, HEAD)
    expected: list[Edit] = [
        RemoveNeurons(site="stem.first.hidden", at=(0, 1)),
        Collapse(path="stem.first", residual=Residual(hidden=0)),
        RemoveNeurons(site="stem.hidden", at=(0,)),
        Collapse(path="stem", residual=Residual(hidden=0)),
    ]
    assert expected == leads(old, arch_of(STEM, HEAD))


def test_residual_that_comes_is_filled_from_the_outside() -> None:
    """It comes with all that is in it, but without neurons."""
    new = arch_of(STEM | {"residual": {"hidden": 1, "first": {"residual": {"hidden": 2}}}}, HEAD)
    empty = Residual.model_validate({"hidden": 0, "first": {"residual": {"hidden": 0}}})
    expected: list[Edit] = [
        Promote(path="stem", residual=empty),
        AddNeurons(site="stem.hidden", at=(0,)),
        AddNeurons(site="stem.first.hidden", at=(0, 1)),
    ]
    assert expected == leads(arch_of(STEM, HEAD), new)


def test_layers_are_told_by_name_and_move_as_little_as_possible() -> None:
    """Of a, b, c that become c, a, b only c moves."""
    layers = [{"name": name, "op": "activation", "act": "relu"} for name in "abc"]
    old, new = arch_of(*layers, HEAD), arch_of(layers[2], *layers[:2], HEAD)
    assert [RemoveLayer(index=2, layer=old.net[2]), InsertLayer(index=0, layer=new.net[0])] == leads(old, new)


def test_layer_of_another_operation_is_another_layer() -> None:
    """The name alone does not make it the same; without weights one makes way for the other."""
    old = arch_of({"name": "x", "op": "activation", "act": "relu"}, HEAD)
    new = arch_of({"name": "x", "op": "dropout", "p": 0.5}, HEAD)
    assert [SwapLayer(index=0, old=old.net[0], new=new.net[0])] == leads(old, new)
    old, new = arch_of(STEM | {"op": "dense", "name": "x"}, HEAD), new
    assert [RemoveLayer, InsertLayer] == [type(edit) for edit in leads(old, new)]


def test_renaming_is_found_where_it_is_told() -> None:
    """Told so, the weights stay; otherwise one layer goes and another comes."""
    old, new = arch_of(STEM, HEAD), arch_of(STEM | {"name": "trunk"}, HEAD)
    assert [Rename(old="stem", new="trunk")] == leads(old, new, renamed={"stem": "trunk"})
    assert [RemoveLayer, InsertLayer] == [type(edit) for edit in leads(old, new)]


def test_names_that_are_swapped_go_round_through_a_third() -> None:
    """No name is ever there twice."""
    old = arch_of(STEM | {"name": "a"}, STEM | {"name": "b", "norm": "batch"}, HEAD)
    new = arch_of(STEM | {"name": "b"}, STEM | {"name": "a", "norm": "batch"}, HEAD)
    expected = [Rename(old="a", new="~0"), Rename(old="b", new="a"), Rename(old="~0", new="b")]
    assert expected == leads(old, new, renamed={"a": "b", "b": "a"})
    chain = arch_of(STEM | {"name": "b"}, STEM | {"name": "c", "norm": "batch"}, HEAD)
    assert [Rename(old="b", new="c"), Rename(old="a", new="b")] == leads(
        old, chain, renamed={"a": "b", "b": "c"}
    )


def test_settings_are_set_at_their_own_place() -> None:
    """Of a layer, a residual, a nested node and a layer without weights."""
    old = arch_of(STEM | {"residual": {"hidden": 1}}, {"name": "t", "op": "activation", "act": "relu"}, HEAD)
    new = arch_of(
        STEM | {"act": "silu", "residual": {"hidden": 1, "dropout": 0.5, "second": {"norm": "batch"}}},
        {"name": "t", "op": "activation", "act": "tanh"},
        HEAD,
    )
    expected = [
        Set(path="t", key="act", old="relu", new="tanh"),
        Set(path="stem", key="act", old=None, new="silu"),
        Set(path="stem.residual", key="dropout", old=None, new=0.5),
        Set(path="stem.second", key="norm", old=None, new="batch"),
    ]
    assert expected == leads(old, new)


def test_shortcuts_are_dropped_and_restored() -> None:
    """A leaf that goes or comes travels in its edit."""
    full = STEM | {"residual": {"hidden": 1}, "shortcut": {"norm": "batch"}}
    old, new = arch_of(full, HEAD), arch_of(full | {"shortcut": False}, HEAD)
    leaf = old.net[0].shortcut  # type: ignore[union-attr]
    assert [DropShortcut(path="stem", leaf=leaf)] == leads(old, new)
    assert [RestoreShortcut(path="stem", leaf=leaf)] == leads(new, old)


def test_layer_that_leaves_a_growing_stream_has_its_new_width() -> None:
    """The stream's own neurons come first; the layer then takes all of them along."""
    block = {"name": "b", "op": "dense"}
    old = arch_of(STEM, block | {"shortcut": "identity"}, HEAD)
    new = arch_of(STEM | {"width": 6}, block | {"width": 7}, HEAD)
    expected: list[Edit] = [
        AddNeurons(site="stem.width", at=(4, 5)),
        Set(path="b", key="shortcut", old="identity", new=None),
        AddNeurons(site="b.width", at=(6,)),
    ]
    assert expected == leads(old, new)


def test_layer_that_joins_a_stream_gets_its_width_first() -> None:
    """Otherwise the way back would not know how wide it was."""
    block = {"name": "b", "op": "dense"}
    old = arch_of(STEM, block | {"width": 7}, HEAD)
    expected: list[Edit] = [
        RemoveNeurons(site="b.width", at=(4, 5, 6)),
        Set(path="b", key="shortcut", old=None, new="identity"),
    ]
    assert expected == leads(old, arch_of(STEM, block | {"shortcut": "identity"}, HEAD))


def test_a_record_of_neurons_that_were_not_there_is_none() -> None:
    """A position behind the last old neuron tells of another file: the last ones go, as a guess."""
    old, new = arch_of(STEM, HEAD), arch_of(STEM | {"width": 2}, HEAD)
    record = Recorded({"stem.width": (0, 4)})
    assert [RemoveNeurons(site="stem.width", at=(2, 3))] == leads(old, new, turnover=record)
    assert {"stem.width"} == record.guessed
