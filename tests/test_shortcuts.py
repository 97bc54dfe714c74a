"""Shortcuts that the search drops and gives back: what is measured, the rules, and whole steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from nhnas.compiler.build import build, grown
from nhnas.compiler.fade_plan import fade_plan
from nhnas.compiler.store import Snapshot, identify, load_snapshot, save_snapshot
from nhnas.search.restructure import Rule
from nhnas.search.shortcuts import carry_record, droppable, drops, restorable, with_record
from nhnas.spec.apply import apply
from nhnas.spec.document import read_document
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
from nhnas.trainer.fading import Fading
from nhnas.trainer.flatness import FlatnessSettings
from nhnas.trainer.phases import Fit
from nhnas.trainer.shortcut_meter import ShortcutMeter
from tests import tiny
from tests.laws.architectures import random_architecture
from tests.laws.exactness import TOLERANCE, exact_case, faded_tensors, without_dropout
from tests.laws.tensors import random_tensors
from tests.reference_network import Array, SlowNetwork
from tests.test_resume import check_every_batch

RULES: tuple[Rule, ...] = ("auto", "authors")


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


# What is measured


@dataclass(frozen=True)
class Recorder(SlowNetwork):
    """The slow network, which notes what every leaf and every node gives."""

    from_leaf: dict[str, list[Array]] = field(default_factory=dict)
    from_node: dict[str, list[Array]] = field(default_factory=dict)

    def leaf(self, path: str, *given: Any) -> Array:
        """One leaf."""
        self.from_leaf.setdefault(path, []).append(super().leaf(path, *given))
        return self.from_leaf[path][-1]

    def node(self, node: Any, path: str, *given: Any) -> Array:
        """One node."""
        self.from_node.setdefault(path, []).append(super().node(node, path, *given))
        return self.from_node[path][-1]


def deviation(values: Array) -> float:
    """Standard deviation; 0 for what differs from a constant by rounding alone."""
    root_mean_square = float(np.sqrt((values**2).mean()))
    return float(values.std()) if values.std() > 1e-6 * root_mean_square else 0.0


def slow_share(leaf: list[Array], output: list[Array]) -> float:
    """Channel by channel, over all batches, samples and positions."""
    largest = 0.0
    for channel in range(leaf[0].shape[1]):
        ours, whole = (
            deviation(np.concatenate([y[:, channel].ravel() for y in ys])) for ys in (leaf, output)
        )
        ratio = 0.0 if ours == 0.0 else ours / whole if whole else float("inf")
        largest = max(largest, ratio)
    return largest


def summed(arch: Architecture) -> list[NodeView]:
    """Nodes that add neurons to a leaf."""
    return [node for node in nodes(arch) if node.live and node.leaf is not None and node.hidden]


def cases_with(found: Any, count: int) -> list[tuple[int, Architecture]]:
    """The first `count` random architectures, with their seeds, in which `found` finds something."""
    every = ((seed, random_architecture(Random(seed))) for seed in range(10_000))
    picked = (case for case in every if found(case[1]))
    return [next(picked) for _ in range(count)]


def test_shares_of_random_networks() -> None:
    """60 random networks, three batches each: the shares are those of a slow network with loops."""
    forms = {"conv": 0, "no norm": 0, "nested": 0, "second": 0}
    for seed, arch in cases_with(summed, 60):
        tensors, meter = random_tensors(arch, seed), ShortcutMeter()
        network = build(arch, tensors)
        without_dropout(network.train())
        network.probe.comparer = meter.observe
        slow = Recorder({name: t.numpy().copy() for name, t in tensors.items()}, training=True)
        for number, samples in enumerate((6, 4, 5)):
            draw = torch.Generator().manual_seed(100 * seed + number)
            x = torch.randn(samples, *arch.input, generator=draw, dtype=torch.float64)
            network(x)
            y = x.numpy()
            for layer in arch.net:
                y = slow.layer(layer, y)
        expected = {
            node.path: slow_share(slow.from_leaf[node.path], slow.from_node[node.path])
            for node in summed(arch)
        }
        assert pytest.approx(expected, rel=1e-8) == meter.shares(), f"seed {seed}"
        for node in summed(arch):
            forms["conv"] += node.leaf is not None and node.leaf.op == "conv"
            forms["no norm"] += node.leaf is not None and node.leaf.norm == "none"
            forms["nested"] += "." in node.path
            forms["second"] += node.path.endswith("second")
    assert min(forms.values()) >= 10, forms


def test_constant_channels() -> None:
    """0/0 is 0, however large the constant; a varying leaf that the residual cancels has an endless share."""
    varying = torch.tensor([[1.0], [2.0], [4.0]])
    for constant in (0.0, 1e6 / 3.0):
        meter = ShortcutMeter()
        still = torch.full((3, 1), constant)
        for _ in range(3):
            meter.observe("still", still, still)
            meter.observe("silent", still, still + varying)
            meter.observe("cancelled", varying, still)
        assert {"still": 0.0, "silent": 0.0, "cancelled": float("inf")} == meter.shares()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_waves_on_a_large_offset(dtype: torch.dtype) -> None:
    """Squares do not swallow them: the share in float32 or bfloat16 is that of the values as they came."""
    draw, meter, batches = torch.Generator().manual_seed(1), ShortcutMeter(), []
    for _ in range(4):
        leaf, output = (torch.randn(8, 3, 5, 5, generator=draw) * scale + 300 for scale in (3.0, 9.0))
        batches.append((leaf.to(dtype), output.to(dtype)))
        meter.observe("a", *batches[-1])
    leaves_seen, outputs_seen = ([y.double().numpy() for y in ys] for ys in zip(*batches, strict=True))
    assert pytest.approx(slow_share(leaves_seen, outputs_seen), rel=1e-4) == meter.shares()["a"]


def test_a_meter_goes_on_from_its_state() -> None:
    """Half the batches, a new meter, the other half: bit for bit the sums of one meter; reset forgets."""
    draw = torch.Generator().manual_seed(3)
    batches = [torch.randn(2, 4, 3, generator=draw).unbind(0) for _ in range(6)]
    whole, first, second = ShortcutMeter(), ShortcutMeter(), ShortcutMeter()
    for number, (leaf, output) in enumerate(batches):
        whole.observe("a.first", leaf, output)
        if number == 3:
            second.load(first.state())
        (first if number < 3 else second).observe("a.first", leaf, output)
    assert torch.equal(whole.state()["a.first"], second.state()["a.first"])
    assert torch.float64 == whole.state()["a.first"].dtype
    whole.reset()
    assert ({}, {}) == (whole.shares(), whole.state())


BLOCK: dict[str, Any] = {"name": "a", "op": "conv", "width": 2, "residual": {"hidden": 3}}


def chain(**keys: Any) -> Architecture:
    """A block of convolutions 1 → 2 with three neurons, and a head."""
    net = [BLOCK | keys, {"name": "p", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 2}]
    return verify(Architecture.model_validate({"input": [1, 4, 4], "net": net}))


@pytest.mark.parametrize(
    ("arch", "training", "expected"),
    [
        (chain(), True, {"a"}),
        (chain(), False, set()),
        (chain(shortcut=False), True, set()),
        (chain(residual={"hidden": 0}), True, set()),
        (chain(residual={"hidden": 2, "second": {"residual": {"hidden": 1}}}), True, {"a", "a.second"}),
    ],
)
def test_where_shortcuts_are_measured(arch: Architecture, training: bool, expected: set[str]) -> None:
    """In training, at nodes that add neurons to a leaf."""
    network, meter = build(arch).train(training), ShortcutMeter()
    network.probe.comparer = meter.observe
    network(torch.randn(3, 1, 4, 4))
    assert expected == meter.shares().keys()


def test_identity_shortcuts_are_no_leaves() -> None:
    """A stream passes unmeasured."""
    arch = verify(Architecture.model_validate({"input": [2], "net": [
        {"name": "a", "op": "dense", "shortcut": "identity", "residual": {"hidden": 2}},
        {"name": "head", "op": "dense", "width": 2},
    ]}))  # fmt: skip
    network, meter = build(arch).train(), ShortcutMeter()
    network.probe.comparer = meter.observe
    network(torch.randn(3, 2))
    assert {} == meter.shares()


def test_what_counts_is_the_last_complete_epoch() -> None:
    """A part of an epoch adds nothing; without the setting nothing is looked at, nothing in the state."""
    settings = FlatnessSettings(batches_per_epoch=2, min_epochs=1, max_epochs=9)
    network = build(chain()).train()
    plain = Fit(network, frozenset(), settings, 0.1, 0.0)
    assert [None] == [network.probe.comparer]
    assert {"meter", "complete_epoch"} == set(plain.state()[1])
    phase, expected = Fit(network, frozenset(), settings, 0.1, 0.0, shortcuts=True), ShortcutMeter()
    for epoch, complete in enumerate((True, True, False)):
        comparer = network.probe.comparer
        assert comparer is not None
        for batch in range(2):
            draw = torch.Generator().manual_seed(10 * epoch + batch)
            leaf, output = torch.randn(2, 4, 2, generator=draw).unbind(0)
            comparer("a", leaf, output)
            if epoch == 1:
                expected.observe("a", leaf, output)
        phase.after_epoch(complete)
    assert expected.shares() == phase.shares()
    again = Fit(network, frozenset(), settings, 0.1, 0.0, shortcuts=True)
    again.load(*phase.state())
    assert expected.shares() == again.shares()
    again.close()
    assert (network.probe.comparer, network.probe.observer) == (None, None)


# The rules


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


# The record

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


# Fading


def test_a_shortcut_that_faded_goes_unnoticed() -> None:
    """60 random networks lose neurons and a shortcut: the plan is the slow one's, no output moves."""
    found, seed = 0, 0
    while found < 60:
        seed += 1
        case = exact_case(seed)
        if not case.dropped:
            continue
        found += 1
        tensors = {name: tensor.clone() for name, tensor in random_tensors(case.arch, seed).items()}
        plan = fade_plan(case.arch, {e.site: e.at for e in case.leaving}, [e.path for e in case.dropped])
        Fading(tensors, plan.columns, plan.rows, plan.whole).hold(1.0)
        for name, expected in faded_tensors(case).items():
            assert torch.equal(expected, tensors[name]), f"seed {seed}: {name}"
        after, _, moved = grown(case.arch, [*case.leaving, *case.dropped], tensors, seed=seed, parent="p")
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(6, *case.arch.input, generator=draw, dtype=torch.float64)
        for training in (False, True):
            before, now = (build(a, t) for a, t in ((case.arch, tensors), (after, moved)))
            for network in (before, now):
                without_dropout(network.train(training))
            with torch.no_grad():
                wanted = before(x)
                change = float((wanted - now(x)).abs().max())
            assert change <= TOLERANCE * max(1.0, float(wanted.abs().max())), f"seed {seed}"


# Whole steps

SHRINK = "add: 0, add_fraction: 0.0, threshold_min: 1.0e+9"
DENSE = tiny.DENSE.replace("width: 4", "width: 4\n    fixed: true").replace(
    "search: {", "search: {drop_shortcut: true, "
)
"""Promotion from 4 hidden neurons on: (2·4²)^(1/3) = 3.17."""
CONV = """\
format: 1
name: images
input: [2, 5, 5]
net:
  - name: block
    op: conv
    stride: 2
    width: 2
    fixed: true
    shortcut: {kernel: 1}   # a small one
    residual: {hidden: 3, dropout: 0.2}
  - {name: flat, op: flatten}
  - {name: head, op: dense, width: 3}
data: {dataset: "mydata:images"}
train: {lr: 0.01, batch: 10, deterministic: true}
search: {drop_shortcut: true, add: 4, max_epochs: 2, fade_epochs: 1, settle_epochs: 1}
"""


def snapshot_of(spec: Path) -> Snapshot:
    """The snapshot that a file names."""
    state = read_document(spec).state
    assert state is not None
    return load_snapshot(spec.parent / ".nhnas", state)


def whisper(spec: Path, factor: float) -> None:
    """Another snapshot of the same version, whose shortcut is so much quieter."""
    old = snapshot_of(spec)
    weights = {**old.weights, "block.weight": old.weights["block.weight"] * factor}
    identity = identify(old.parent, old.version, weights, old.optimizer, old.state)
    save_snapshot(spec.parent / ".nhnas", replace(old, id=identity, weights=weights))
    tiny.edit(spec, old.id, identity)


def quiet_spec(folder: Path, text: str = DENSE) -> Path:
    """At version 1, with a shortcut that is nearly silent and cannot learn."""
    spec = tiny.make(folder, text)
    tiny.step(spec)
    whisper(spec, 1e-4)
    tiny.edit(spec, "lr: 0.05", "lr: 0.00001")
    return spec


def shrinking(spec: Path) -> Path:
    """The same spec, whose next step takes all neurons that it may."""
    tiny.edit(spec, "add: 8", SHRINK)
    return spec


def of_shortcuts(edits: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Edits of shortcuts, by stage, kind and path."""
    return [(e["stage"], e["kind"], e["path"]) for e in edits if e["kind"].endswith("_shortcut")]


def test_a_useless_shortcut_goes_and_comes_back(tmp_path: Path) -> None:
    """It fades while H > M, is on record, and is back, quiet, when H < 0.95·M; no output ever moves."""
    spec, report = quiet_spec(tmp_path / "work"), tiny.Counting()
    head = read_document(spec).architecture.net[1]
    (saved,) = tiny.step(spec, report)
    assert [("remove", "drop_shortcut", "block")] == of_shortcuts(saved.edits)
    assert (0, True) == (saved.changed, saved.max_change < 1e-6)
    assert 1 == sum(line.startswith("fade: the shortcut of block, at most 0.") for line in report.lines)
    assert 1 == spec.read_text().count("    shortcut: false\n")
    snapshot = snapshot_of(spec)
    assert {"block": True} == snapshot.state["exact"]["dropped"]
    assert not [n for n in [*snapshot.weights, *snapshot.optimizer] if n.startswith("block.weight")]
    (saved,) = tiny.step(spec)
    assert [] == of_shortcuts(saved.edits)
    assert {"block": True} == snapshot_of(spec).state["exact"]["dropped"]
    (saved,) = tiny.step(shrinking(spec), report := tiny.Counting())
    assert [("restructure", "restore_shortcut", "block")] == of_shortcuts(saved.edits)
    assert (0, True, 1) == (
        saved.changed,
        saved.max_change < 1e-6,
        report.lines.count("restore_shortcut: block"),
    )
    assert "shortcut: false" not in spec.read_text()
    assert head == read_document(spec).architecture.net[1]
    snapshot = snapshot_of(spec)
    assert "dropped" not in snapshot.state["exact"]
    assert 0.0 == float(snapshot.weights["block.weight"].abs().max())
    tiny.edit(spec, "lr: 0.00001", "lr: 0.05")
    tiny.train(spec, epochs=1)
    assert 0.0 < float(snapshot_of(spec).weights["block.weight"].abs().max())


def test_without_the_setting_nothing_happens(tmp_path: Path) -> None:
    """A quiet shortcut stays; and where none goes, the setting changes no snapshot's id."""
    spec = quiet_spec(tmp_path / "quiet")
    tiny.edit(spec, "drop_shortcut: true", "drop_shortcut: false")
    assert [] == of_shortcuts(tiny.step(spec)[0].edits)
    texts = (DENSE, DENSE.replace("drop_shortcut: true, ", ""))
    with_it, plain = (tiny.run(tiny.make(tmp_path / f"{n}", t), steps=2) for n, t in enumerate(texts))
    assert [s.state for s in with_it] == [s.state for s in plain]


def test_what_the_author_left_out_stays_out(tmp_path: Path) -> None:
    """A `shortcut: false` of the file's own is not given back, however few neurons remain."""
    text = DENSE.replace("fixed: true", "fixed: true\n    shortcut: false")
    spec = shrinking(tiny.make(tmp_path / "work", text))
    (saved,) = tiny.step(spec)
    assert [] == of_shortcuts(saved.edits)
    assert "shortcut: false" in spec.read_text()
    assert "hidden: 1" in spec.read_text()


def test_a_renamed_layer_gets_its_shortcut_back(tmp_path: Path) -> None:
    """The record goes along with the name that a person gives."""
    spec = quiet_spec(tmp_path / "work")
    tiny.step(spec)
    tiny.edit(spec, "name: block ", "name: body ")
    tiny.train(spec, epochs=1)
    assert {"body": True} == snapshot_of(spec).state["exact"]["dropped"]
    assert [("restructure", "restore_shortcut", "body")] == of_shortcuts(tiny.step(shrinking(spec))[0].edits)


def test_a_leaf_of_its_own_kernel_comes_back_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A convolution with norm: `{kernel: 1}` turns into false and back; its comment stays."""
    spec = tiny.make(tmp_path / "work", CONV)
    with monkeypatch.context() as patch:
        patch.setattr("nhnas.search.shortcuts.LEAST_SHARE", 10.0)
        (saved,) = tiny.step(spec)
    assert [("remove", "drop_shortcut", "block")] == of_shortcuts(saved.edits)
    assert (0, True) == (saved.changed, saved.max_change < 1e-5)
    assert "    shortcut: false   # a small one\n" in spec.read_text()
    assert {"block": {"kernel": 1}} == snapshot_of(spec).state["exact"]["dropped"]
    tiny.edit(spec, "add: 4", SHRINK)
    (saved,) = tiny.step(spec)
    assert [("restructure", "restore_shortcut", "block")] == of_shortcuts(saved.edits)
    assert (0, True) == (saved.changed, saved.max_change < 1e-5)
    assert "    shortcut: {kernel: 1}   # a small one\n" in spec.read_text()
    assert (2, 2, 1, 1) == snapshot_of(spec).weights["block.weight"].shape


def test_a_step_that_drops_stopped_at_any_batch(tmp_path: Path) -> None:
    """Measured, faded and taken out: it ends as the whole step does, and so does the next, which restores."""
    spec = quiet_spec(tmp_path / "start")
    check_every_batch(tiny.step, spec)
    tiny.step(spec)
    assert "dropped" in snapshot_of(spec).state["exact"]
    check_every_batch(tiny.step, shrinking(spec), every=3)


def test_images_stopped_at_any_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with norms, whose gains fade."""
    monkeypatch.setattr("nhnas.search.shortcuts.LEAST_SHARE", 10.0)
    spec = tiny.make(tmp_path / "start", CONV)
    check_every_batch(tiny.step, spec)
    assert [("remove", "drop_shortcut", "block")] == of_shortcuts(tiny.step(spec)[0].edits)


def test_a_quiet_shortcut_stays_where_its_neurons_leave(tmp_path: Path) -> None:
    """What counts is the network that is left: without neurons its shortcut is all that is heard."""
    spec = shrinking(quiet_spec(tmp_path / "work"))
    (saved,) = tiny.step(spec)
    assert [] == of_shortcuts(saved.edits)
    assert {"remove_neurons"} <= {edit["kind"] for edit in saved.edits}
