"""What each edit does to an architecture, and what it refuses; the laws are in `tests/laws`."""

from __future__ import annotations

from typing import Any

import pytest

from nhnas.spec.apply import apply, site_size
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
    edit_from_dict,
    edit_to_dict,
    invert,
)
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Dense, Residual

NET: list[dict[str, Any]] = [
    {"name": "a", "op": "conv", "width": 4, "residual": {"hidden": 3, "second": {"residual": {"hidden": 0}}}},
    {"name": "b", "op": "conv", "shortcut": "identity", "residual": {"hidden": 0}},
    {"name": "p", "op": "global_avg_pool"},
    {"name": "head", "op": "dense", "width": 2},
]
EMPTY = Residual(hidden=0)
DENSE = Dense(name="d", width=5)
BORN = {"kernel": 1, "norm": "none", "init": "identity"}


def arch_of(net: list[dict[str, Any]] = NET) -> Architecture:
    return Architecture.model_validate({"input": [3, 6, 6], "net": net})


def plain(arch: Architecture) -> list[dict[str, Any]]:
    """The layers as a file would have them."""
    return [{"op": x.op, **x.model_dump(mode="json", exclude_defaults=True)} for x in arch.net]


EDITS: list[tuple[Edit, str, dict[str, Any]]] = [
    (AddNeurons(site="a.width", at=(0, 5)), "a", {"width": 6}),
    (RemoveNeurons(site="a.width", at=(1, 2)), "a", {"width": 2}),
    (AddNeurons(site="b.hidden", at=(0,)), "b", {"residual": {"hidden": 1}}),
    (Promote(path="head", residual=EMPTY), "head", {"residual": {"hidden": 0}}),
    (Collapse(path="a.second", residual=EMPTY), "a", {"residual": {"hidden": 3}}),
    (DropShortcut(path="a", leaf=True), "a", {"shortcut": False}),
    (InsertLayer(index=3, layer=DENSE), "d", {"name": "d", "width": 5, "op": "dense"}),
    (RemoveLayer(index=1, layer=arch_of().net[1]), "b", {}),
    (Rename(old="a", new="c"), "c", {"name": "c"}),
    (Set(path="a", key="stride", old=None, new=2), "a", {"stride": 2}),
    (Set(path="a", key="stride", old=1, new=3), "a", {"stride": 3}),
    (Set(path="a.residual", key="act", old="relu", new="gelu"), "a", {}),
    (Set(path="a.second", key="norm", old=None, new="none"), "a", {}),
    (Set(path="b", key="shortcut", old="identity", new=BORN), "b", {"shortcut": BORN, "width": 4}),
]


@pytest.mark.parametrize(("edit", "name", "fields"), EDITS, ids=lambda v: getattr(v, "kind", None))
def test_edit_changes_its_own_place_and_its_inverse_changes_it_back(
    edit: Edit, name: str, fields: dict[str, Any]
) -> None:
    """Everything outside the named layer stays; the inverse gives the very same architecture."""
    before = arch_of()
    after = apply(before, edit)
    assert before != after
    assert before == apply(after, edit.inverse)
    found = {layer["name"]: layer for layer in plain(after)}
    assert fields.items() <= found.get(name, {}).items()
    others = [layer for layer in plain(before) if layer["name"] not in (name, getattr(edit, "old", None))]
    assert others == [layer for layer in plain(after) if layer["name"] != name]


@pytest.mark.parametrize("edit", [edit for edit, _, _ in EDITS], ids=lambda edit: edit.kind)
def test_edit_survives_as_plain_data(edit: Edit) -> None:
    """`edit_from_dict(edit_to_dict(e)) == e`; `kind` comes first and defaults are left out."""
    data = edit_to_dict(edit)
    assert edit == edit_from_dict(data)
    assert "kind" == next(iter(data))


def test_list_is_undone_by_its_inverse() -> None:
    """`invert` turns the order round and each edit into its inverse."""
    edits = (
        AddNeurons(site="b.hidden", at=(0,)),
        Rename(old="b", new="c"),
        DropShortcut(path="a", leaf=True),
    )
    assert arch_of() == apply(apply(arch_of(), edits), invert(edits))


def test_only_the_ends_of_a_list_must_be_sound() -> None:
    """A shortcut may go before the neurons that replace it have come."""
    edits = (DropShortcut(path="head", leaf=True), Promote(path="head", residual=EMPTY))
    with pytest.raises(InputError, match="a node needs a shortcut or hidden neurons"):
        apply(arch_of(), edits)
    after = apply(arch_of(), (*edits, AddNeurons(site="head.hidden", at=(0, 1))))
    assert 2 == site_size(after, "head.hidden")
    restored = apply(after, RestoreShortcut(path="head", leaf=True))
    assert {"name": "head", "op": "dense", "width": 2, "residual": {"hidden": 2}} == plain(restored)[3]


REFUSED: list[tuple[Edit, str]] = [
    (AddNeurons(site="a.width", at=(7,)), r"a\.width: positions must rise and lie below 5"),
    (AddNeurons(site="a.width", at=(1, 1)), "positions must rise"),
    (AddNeurons(site="b.width", at=(0,)), r"there is no site 'b\.width'"),
    (AddNeurons(site="p.width", at=(0,)), "'p' .global_avg_pool. is not a node"),
    (AddNeurons(site="x.hidden", at=(0,)), "there is no layer 'x'; the layers are a, b, p, head"),
    (AddNeurons(site="head.hidden", at=(0,)), "'head' has no residual"),
    (AddNeurons(site="a.second.hidden.hidden", at=(0,)), "there is no node"),
    (RemoveNeurons(site="a.width", at=(4,)), "positions must rise and lie below 4"),
    (RemoveNeurons(site="a.width", at=(0, 1, 2, 3)), r"a\.width: a layer keeps at least one neuron"),
    (RemoveNeurons(site="b.hidden", at=(0,)), "positions must rise and lie below 0"),
    (Promote(path="a", residual=EMPTY), r"a\.residual is .* but the edit expects None"),
    (Promote(path="head", residual=Residual(hidden=1)), "only an empty one comes or goes"),
    (Collapse(path="b", residual=Residual(hidden=0, act="gelu")), r"b\.residual is .* but the edit expects"),
    (Collapse(path="head", residual=EMPTY), "'head' has no residual"),
    (DropShortcut(path="a", leaf=False), r"a\.shortcut is True, but the edit expects False"),
    (RestoreShortcut(path="a", leaf=True), r"a\.shortcut is True, but the edit expects False"),
    (InsertLayer(index=5, layer=DENSE), "there are 4 layers"),
    (InsertLayer(index=0, layer=DENSE), "dense reads features, not a map"),
    (RemoveLayer(index=1, layer=DENSE), "layer 2 is .* but the edit expects"),
    (RemoveLayer(index=9, layer=DENSE), "layer 10 is None, but the edit expects"),
    (Rename(old="a", new="b"), "a layer 'b' is there already"),
    (Rename(old="x", new="y"), "there is no layer 'x'"),
    (Rename(old="a", new="a.b"), "name cannot be 'a.b'"),
    (Set(path="a", key="stride", old=2, new=3), r"a\.stride is None, but the edit expects 2"),
    (Set(path="a", key="stride", old=1, new="2"), "stride cannot be '2'"),
    (Set(path="a", key="width", old=4, new=5), "'width' cannot be set by an edit of this kind"),
    (Set(path="a.first", key="stride", old=None, new=2), "'stride' cannot be set"),
    (Set(path="p", key="act", old=None, new="relu"), "'act' cannot be set"),
    (Set(path="a", key="shortcut", old=None, new="identity"), r"a\.width, which must be the stream's, is 4"),
    (Set(path="head.residual", key="act", old=None, new="relu"), "'head' has no residual"),
]


@pytest.mark.parametrize(("edit", "message"), REFUSED, ids=lambda v: getattr(v, "kind", None))
def test_edit_that_does_not_fit_is_refused(edit: Edit, message: str) -> None:
    """One line says where, what is there and what the edit expected."""
    with pytest.raises(InputError, match=message):
        apply(arch_of(), edit)


def test_unsound_architecture_is_refused_before_any_edit() -> None:
    """`apply` verifies what it is given, too."""
    with pytest.raises(InputError, match="width is missing"):
        apply(arch_of([{"name": "a", "op": "conv"}]), Rename(old="a", new="b"))


def test_layer_that_left_its_stream_grows_on_its_own() -> None:
    """After its birth a leaf with `init: identity` is like any other: either end may grow."""
    after = apply(arch_of(), Set(path="b", key="shortcut", old="identity", new=BORN))
    for site in ("a.width", "b.width"):
        assert 5 == site_size(apply(after, AddNeurons(site=site, at=(4,))), site)


def test_input_architecture_is_not_changed() -> None:
    """Edits return a new architecture."""
    before = arch_of()
    apply(before, AddNeurons(site="a.width", at=(0,)))
    assert arch_of() == before
