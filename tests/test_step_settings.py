"""Settings of a step: read again before each one, and exact under every one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nhnas.compiler.fade_plan import fade_plan
from nhnas.spec.document import read_document
from nhnas.trainer.fading import Fading
from nhnas.trainer.phases import Fade
from nhnas.work import Work
from tests import tiny
from tests.at_batch import AtBatch
from tests.saved import neurons, rate_of, snapshot_of
from tests.stopping import Command, check_every_batch, prepared

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_settings_are_read_again_before_each_step(spec: Path) -> None:
    """A rate that is edited between two steps, or during a run, holds from the next version on."""
    tiny.step(spec)
    tiny.edit(spec, "lr: 0.05", "lr: 0.01")
    tiny.step(spec)
    assert [0.05, 0.01] == [rate_of(spec, back) for back in (1, 0)]
    tiny.run(spec, AtBatch(2, lambda: tiny.edit(spec, "lr: 0.01", "lr: 0.002")), steps=2)
    assert [0.01, 0.002] == [rate_of(spec, back) for back in (1, 0)]


def test_the_schedule_of_the_search_counts_epochs_of_the_lineage(tmp_path: Path) -> None:
    """Until epoch 5 of the lineage, here two versions, another rate and another number of neurons hold."""
    schedule = "schedule: [{until: 5, add: 3, lr: 0.5}], add: 8"
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("add: 8", schedule))
    added = []
    for _ in range(3):
        (saved,) = tiny.step(spec)
        added.append(sum(len(e["at"]) for e in saved.edits if e["kind"] == "add_neurons"))
    assert [3, 3, 8] == added
    assert [0.5, 0.5, 0.05] == [rate_of(spec, back) for back in (2, 1, 0)]


@pytest.mark.parametrize("command", [tiny.step, lambda spec, report: tiny.train(spec, report, epochs=1)])
def test_an_edit_that_the_schedule_hides_is_told(command: Command, tmp_path: Path) -> None:
    """While an entry sets the same keys it says which, and until when; not of other keys, nor after it."""
    schedule = "schedule: [{until: 9, add: 3, lr: 0.5}], add: 8"
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("add: 8", schedule))
    for old, new in (("}], add: 8", "}], add: 7"), ("lr: 0.05", "lr: 0.02"), ("batch: 8", "batch: 6")):
        tiny.step(spec)  # 4 epochs
        tiny.edit(spec, old, new)
    first, second = tiny.Counting(), tiny.Counting()
    command(spec, first)
    assert ["settings changed since version 3: train.batch 8 → 6"] == _about_settings(first)
    spec = tiny.make(tmp_path / "other", tiny.DENSE.replace("add: 8", schedule))
    tiny.step(spec)
    tiny.edit(spec, "}], add: 8", "}], add: 7")
    tiny.edit(spec, "lr: 0.05", "lr: 0.02")
    command(spec, second)
    changed = "settings changed since version 1: search.add 8 → 7, train.lr 0.05 → 0.02"
    hidden = "search.schedule sets add 3, lr 0.5 until epoch 9, and goes before your change"
    assert [changed, hidden] == _about_settings(second)
    assert 0.5 == rate_of(spec, 0)


def _about_settings(report: tiny.Counting) -> list[str]:
    return [line for line in report.lines if line.startswith(("settings", "search.schedule"))]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("add: 8", "add: 0, add_fraction: 0.0"),
        ("settle_epochs: 1", "settle_epochs: 0"),
        ("add: 8", "add: 8, random_remove: 1.0"),
        ("add: 8", "add: 8, cost: params"),
        ("add: 8", "add: 8, cost: macs, add_to_remove: 0.5"),
        ("add: 8", "add: 8, promote: authors, flat: authors, min_epochs: 2"),
        ("width: 4", "width: 4\n    fixed: true"),
        ("hidden: 3", "hidden: 3\n      fixed: true"),
        ("hidden: 3", "hidden: 3\n      act: tanh\n      dropout: 0.3"),
        ("hidden: 3", "hidden: 3\n      first: {norm: batch, residual: {hidden: 2}}"),
        ("batch: 8", "batch: 8, label_smoothing: 0.1, schedule: cosine, warmup: 0"),
        ("data: {", "data: {val: 0.2, "),
    ],
)
def test_settings(old: str, new: str, tmp_path: Path) -> None:
    """Two steps under each setting: exact edits, a whole file, and no prediction changes."""
    spec = tiny.make(tmp_path / "work", tiny.DENSE)
    tiny.edit(spec, old, new)
    for saved in tiny.run(spec, steps=2):
        assert (0, True) == (saved.changed, saved.max_change < 1e-5)
    assert 2 == read_document(spec).version


@pytest.mark.parametrize(
    "inner", ["{shortcut: false, residual: {hidden: 2}}", "{residual: {hidden: 2, fixed: true}}"]
)
def test_a_residual_around_neurons_that_stay_is_never_emptied(inner: str, tmp_path: Path) -> None:
    """However unimportant all are, one neuron stays where a node inside cannot do without its own."""
    text = tiny.DENSE.replace("hidden: 3", f"hidden: 3\n      first: {inner}").replace("add: 8", "add: 2")
    spec = tiny.make(tmp_path / "work", text.replace("threshold_max: 2.0", "threshold_min: 99.0"))
    tiny.run(spec, steps=2)
    assert 1 == neurons(spec)["block.hidden"].neurons
    assert neurons(spec)["block.first.hidden"].neurons in (1, 2)


def test_everything_fixed_trains_only(tmp_path: Path) -> None:
    """Without an open site a step adds and removes nothing."""
    text = tiny.DENSE.replace("width: 4", "width: 4\n    fixed: true").replace(
        "hidden: 3", "hidden: 3\n      fixed: true"
    )
    (saved,) = tiny.step(tiny.make(tmp_path / "work", text))
    assert [] == saved.edits


def test_fading_over_no_epochs_is_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `fade_epochs: 0` what leaves is silent before the first batch that follows."""
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("fade_epochs: 1", "fade_epochs: 0"))
    loudest, save = list[float](), Work.save

    def look(work: Work, phase: Any, midway: bool = False) -> None:
        save(work, phase, midway)
        if isinstance(phase, Fade):
            plan = fade_plan(work.arch, work.facts["leavers"])
            tensors = {name: t.detach() for name, t in work.engine.network.tensors().items()}
            cells = [tensors[name][:, at] for name, at in plan.columns.items()]
            loudest.append(max(float(cell.abs().max()) for cell in cells))

    monkeypatch.setattr(Work, "save", look)
    tiny.step(spec)
    assert [0.0, 0.0] == loudest  # at the start, and after the epoch to settle


@pytest.mark.parametrize("settle", [0, 1])
@pytest.mark.parametrize(
    "text", [tiny.DENSE, tiny.CONV, tiny.REGRESSION], ids=["dense", "conv", "regression"]
)
def test_what_is_cut_without_fading_is_told(
    text: str, settle: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `fade_epochs: 0` the jump of the outputs is in the version's record, as well as the removal."""
    epochs = f"fade_epochs: 0, settle_epochs: {settle}, threshold_max: 100.0"
    cutting = re.sub(r"fade_epochs: 1, settle_epochs: \d(, threshold_max: 2.0)?", epochs, text)
    spec, report, seen = tiny.make(tmp_path / "work", cutting), tiny.Counting(), list[tuple[float, int]]()
    works, hold, edit = list[Work](), Fading.hold, Work.edit

    def note(work: Work, *arguments: Any, **named: Any) -> None:
        works.append(work)
        edit(work, *arguments, **named)

    def look(fading: Fading, progress: float) -> None:
        before = works[0].probe()
        hold(fading, progress)
        after = works[0].probe()
        changed = int((before.argmax(1) != after.argmax(1)).sum())
        seen.append((float((before - after).abs().max()), changed))

    monkeypatch.setattr(Work, "edit", note)
    monkeypatch.setattr(Fading, "hold", look)
    (saved,) = tiny.step(spec, report)
    largest, changed = seen[0]  # the first time that what leaves is set
    assert largest > 1e-3
    assert (largest, changed) == (saved.max_change, saved.changed)
    count = {tiny.DENSE: 40, tiny.CONV: 30, tiny.REGRESSION: 256}[text]
    told = f"cut at once (search.fade_epochs: 0): largest |Δoutput| {largest:.1e} over {count} samples"
    if text != tiny.REGRESSION:
        told += f", {changed} predictions change"
    assert 1 == report.lines.count(told)


def test_a_cut_is_told_once_whenever_it_is_stopped(tmp_path: Path) -> None:
    """Stopped after any batch, before the cut or while the rest settles: the same record, the same bytes."""
    epochs = "fade_epochs: 0, settle_epochs: 1, threshold_max: 100.0"
    text = tiny.DENSE.replace("fade_epochs: 1, settle_epochs: 1, threshold_max: 2.0", epochs)
    check_every_batch(lambda spec, report: tiny.step(spec, report), prepared(tmp_path, text, 1))
    changes = snapshot_of(tmp_path / "stopped" / "spec.yaml").state["info"]["changes"]
    assert ["grow", "cut", "remove"] == [change["stage"] for change in changes][:3]
