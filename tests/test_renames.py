"""Layers that take over the name of one that goes: `renamed_from` says whose weights they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from pathlib import Path

from nhnas.comparison import compare
from nhnas.compiler.place import store_folder
from nhnas.planning import plan_spec
from nhnas.spec.apply import applied, apply
from nhnas.spec.diff import diff
from nhnas.spec.document import read_document
from nhnas.spec.drawing_pairs import paired
from nhnas.spec.edits import Edit, RemoveLayer, Rename, invert
from nhnas.spec.model import Architecture
from nhnas.spec.renames import renames
from tests import tiny

OLD = "abc"
NAMES = "abcx"

THREE = """\
format: 1
name: three
input: [2]
net:
  - {name: block1, op: dense, width: 2, residual: {hidden: 4}}
  - {name: block2, op: dense, width: 2, residual: {hidden: 9}}
  - {name: block3, op: dense, width: 2, residual: {hidden: 3}}
  - {name: head, op: dense, width: 2}
data: {dataset: "mydata:points"}
train: {batch: 8, deterministic: true}
search: {add: 2, max_epochs: 1, fade_epochs: 1, settle_epochs: 0}
"""


def chain(names: Mapping[str, str]) -> Architecture:
    """The layers of these old names under the new ones, as a person writes it."""
    net = [
        {"name": new, "op": "dense", "width": 2 + OLD.index(old)}
        | ({} if new == old else {"renamed_from": old})
        for old, new in names.items()
    ]
    head = {"name": "head", "op": "dense", "width": 2}
    return Architecture.model_validate({"input": [2], "net": [*net, head]})


def ways() -> Iterator[dict[str, str]]:
    """Every way to keep some of three layers, in their order, under names out of four."""
    for count in (1, 2, 3):
        for kept in combinations(OLD, count):
            for names in permutations(NAMES, count):
                yield dict(zip(kept, names, strict=True))


def followed(edits: tuple[Edit, ...]) -> dict[str, str]:
    """Old name → new name of what the edits leave of the old layers."""
    now = {name: name for name in OLD}
    for edit in edits:
        if isinstance(edit, RemoveLayer):
            now = {old: name for old, name in now.items() if name != edit.layer.name}
        elif isinstance(edit, Rename):
            now = {old: edit.new if name == edit.old else name for old, name in now.items()}
    return now


def test_every_layer_is_the_one_that_renamed_from_says() -> None:
    """Whatever of three layers is kept, under any names, also those of layers that go."""
    old = chain({name: name for name in OLD})
    for names in ways():
        new = chain(names)
        edits = diff(old, new, renamed=renames(old, new))
        assert names == followed(edits), names
        assert [layer.name for layer in new.net] == [layer.name for layer in apply(old, edits).net]
        assert old == apply(apply(old, edits), invert(edits))
        pairs = {b.layer.name: a.layer.name for b, a in paired(old, new) if b is not None and a is not None}
        assert names | {"head": "head"} == pairs, names


def test_a_name_that_is_taken_over_is_free_first() -> None:
    """The layer that had it is removed before anything is renamed."""
    old, new = chain({name: name for name in OLD}), chain({"b": "a", "c": "b"})
    expected = [
        RemoveLayer(index=0, layer=old.net[0]),
        Rename(old="b", new="a"),
        Rename(old="c", new="b"),
    ]
    edits = diff(old, new, renamed=renames(old, new))
    assert expected == [edit for edit in edits if isinstance(edit, RemoveLayer | Rename)]
    for edit in edits:
        old = applied(old, edit)
    assert [layer.name for layer in new.net] == [layer.name for layer in old.net]


def renumbered(folder: Path) -> Path:
    """Three blocks after a step, then the first one deleted and the others renumbered."""
    spec = tiny.make(folder, THREE)
    tiny.step(spec)
    (folder / "before.yaml").write_text(spec.read_text())
    lines = [line for line in spec.read_text().splitlines(keepends=True) if "name: block1," not in line]
    text = "".join(lines).replace("name: block2,", "name: block1, renamed_from: block2,")
    spec.write_text(text.replace("name: block3,", "name: block2, renamed_from: block3,"))
    return spec


def test_renumbered_blocks_keep_weights_importance_and_record(tmp_path: Path) -> None:
    """Delete the first, renumber the others, step: the plan counts all cells, the record knows who went."""
    spec = renumbered(tmp_path / "work")
    plan = plan_spec(spec)
    assert plan.before is not None
    sources = {change.name: change.source for change in plan.tensors if change.new is not None}
    assert ("block2.bias", "block3.bias") == (sources["block1.bias"], sources["block2.bias"])
    cells = plan.as_dict()["before"]["parameters"]
    assert cells == sum(change.kept + change.dropped for change in plan.tensors)
    tiny.step(spec)
    found = compare(read_document(spec.parent / "before.yaml"), read_document(spec), store_folder(spec))
    kinds = [edit for edit in found.edits if isinstance(edit, RemoveLayer | Rename)]
    assert ["block1", ("block2", "block1"), ("block3", "block2")] == [
        edit.layer.name if isinstance(edit, RemoveLayer) else (edit.old, edit.new) for edit in kinds
    ]
    assert () == found.guessed
