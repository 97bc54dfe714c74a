"""Shortcuts that fade, go and come back in whole steps: no output moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nhnas.compiler.build import build, grown
from nhnas.compiler.fade_plan import fade_plan
from nhnas.compiler.store import identify, save_snapshot
from nhnas.spec.document import read_document
from nhnas.trainer.fading import Fading
from tests import tiny
from tests.laws.exactness import TOLERANCE, exact_case, faded_tensors, without_dropout
from tests.laws.tensors import random_tensors
from tests.saved import snapshot_of
from tests.stopping import check_every_batch

pytestmark = pytest.mark.usefixtures("no_fsync")

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
