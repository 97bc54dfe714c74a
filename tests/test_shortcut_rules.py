"""Which shortcuts the search drops and gives back, and the record of those that it dropped."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest

from nhnas.search.restructure import Rule
from nhnas.search.shortcuts import carry_record, droppable, drops, restorable, with_record
from nhnas.spec.apply import apply
from nhnas.spec.edits import (
    Collapse,
    DropShortcut,
    Edit,
    Promote,
    RemoveLayer,
    RemoveNeurons,
    Rename,
    RestoreShortcut,
    edit_to_dict,
)
from nhnas.spec.model import Architecture, Residual, ShortcutLeaf
from nhnas.spec.structure import NodeView, leaves, nodes
from nhnas.spec.verify import verify
from tests.laws.architectures import random_architecture
from tests.shortcut_nets import chain, summed

RULES: tuple[Rule, ...] = ("auto", "authors")


def promotion(node: NodeView, rule: Rule) -> float:
    """M; rounded, since a cube root is often off by a bit."""
    inputs, outputs = node.reads.features, node.writes.features
    if rule == "authors":
        return round(float(np.cbrt(max(inputs, outputs) * min(inputs, outputs) ** 2)) + 1, 9)
    return round(float(np.cbrt(inputs * outputs**2)), 9)


@pytest.mark.parametrize("rule", RULES)
def test_which_shortcuts_go(rule: Rule) -> None:
    """200 random networks: leaves of live nodes with H > M and a share below 2%."""
    found = 0
    for seed in range(200):
        rng = Random(seed)
        arch = random_architecture(rng)
        shares = {n.path: rng.choice((0.0, 0.0199, 0.02, 0.5)) for n in nodes(arch) if rng.random() < 0.9}
        expected = []
        for node in nodes(arch):
            has_leaf = node.path in {leaf.path for leaf in leaves(arch)}
            if has_leaf and node.hidden > promotion(node, rule) and shares.get(node.path, 1.0) < 0.02:
                expected.append(node.path)
        assert tuple(expected) == droppable(arch, shares, rule), f"seed {seed}"
        assert expected == [edit.path for edit in drops(arch, sorted(expected))]
        apply(arch, drops(arch, expected))
        found += len(expected)
    assert found >= 20


@pytest.mark.parametrize("rule", RULES)
def test_which_shortcuts_come_back(rule: Rule) -> None:
    """200 random networks, shortcuts taken at random: those on record with H < 0.95·M, as they were."""
    found, kept = 0, 0
    for seed in range(200):
        rng = Random(seed)
        arch = random_architecture(rng)
        taken = drops(arch, [node.path for node in summed(arch) if rng.random() < 0.8])
        arch = apply(arch, taken)
        record = {e.path: edit_to_dict(e)["leaf"] for e in taken if rng.random() < 0.8}
        expected = [
            next(edit.inverse for edit in taken if edit.path == node.path)
            for node in nodes(arch)
            if node.path in record and node.hidden < round(0.95 * promotion(node, rule), 9)
        ]
        assert tuple(expected) == restorable(arch, record, rule), f"seed {seed}"
        apply(arch, expected)
        found, kept = found + len(expected), kept + len(record) - len(expected)
    assert min(found, kept) >= 20, (found, kept)


@pytest.mark.parametrize(("hidden", "gone", "back"), [(18, False, True), (19, False, False)])
@pytest.mark.parametrize("rule", RULES)
def test_between_the_two_sizes_nothing_happens(rule: Rule, hidden: int, gone: bool, back: bool) -> None:
    """M = 20: at 21 it goes, at 18 it comes back; 19 = 0.95·M and 20 are neither."""
    size = 20 if rule == "auto" else 19
    for count, goes, comes in ((hidden, gone, back), (20, False, False), (21, True, False)):
        net = [{"name": "a", "op": "dense", "width": size, "residual": {"hidden": count}}]
        arch = verify(Architecture.model_validate({"input": [size], "net": net}))
        assert goes == bool(droppable(arch, {"a": 0.0}, rule))
        without = apply(arch, drops(arch, ["a"]))
        assert comes == bool(restorable(without, {"a": True}, rule))


LEAF = {"kernel": 1}
DEEP = chain(shortcut=False, residual={"hidden": 3, "first": {"shortcut": False, "residual": {"hidden": 2}}})
BOTH = {"a": LEAF, "a.first": True}
EMPTIED: list[Edit] = [
    RestoreShortcut(path="a.first", leaf=True),
    RemoveNeurons(site="a.first.hidden", at=(0, 1)),
    Collapse(path="a.first", residual=Residual(hidden=0)),
]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([Promote(path="head", residual=Residual(hidden=0))], BOTH),
        ([Rename(old="a", new="b")], {"b": LEAF, "b.first": True}),
        ([Rename(old="p", new="q")], BOTH),
        ([RestoreShortcut(path="a", leaf=True)], {"a.first": True}),
        ([RestoreShortcut(path="a", leaf=True), DropShortcut(path="a", leaf=True)], {"a.first": True}),
        (EMPTIED, {"a": LEAF}),
        ([RemoveLayer(index=0, layer=DEEP.net[0])], {}),
    ],
)
def test_the_record_follows_hand_edits(edits: list[Edit], expected: Mapping[str, Any]) -> None:
    """It is renamed with its layer; a node that went, or whose shortcut a person gave back, has none."""
    exact = carry_record({"epochs": 3, "dropped": BOTH}, DEEP, edits)
    assert {"epochs": 3} | ({"dropped": expected} if expected else {}) == exact


def test_the_record_is_there_only_while_it_holds_something() -> None:
    """So that the exact part of other searches, and their ids, are as they were."""
    arch = chain(shortcut={"kernel": 1})
    edit = DropShortcut(path="a", leaf=ShortcutLeaf(kernel=1))
    assert {"epochs": 3} == with_record({"epochs": 3}, (), arch)
    exact = with_record({"epochs": 3}, (edit,), apply(arch, edit))
    assert {"epochs": 3, "dropped": {"a": LEAF}} == exact
    assert {"epochs": 3} == with_record(exact, (), arch)
