"""Whole steps: what they save, what they read again, and what they leave alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
import torch

from nhnas.command import Options
from nhnas.compiler.build import build
from nhnas.compiler.fade_plan import fade_plan
from nhnas.compiler.files import replace_text
from nhnas.compiler.store import Snapshot, load_snapshot
from nhnas.spec.apply import apply
from nhnas.spec.canonical import canonical, from_canonical
from nhnas.spec.document import read_document
from nhnas.spec.edits import edit_from_dict
from nhnas.spec.errors import InputError, Interrupted, TrainingError
from nhnas.spec.measure import measure
from nhnas.spec.structure import sites
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.evaluate import evaluate
from nhnas.trainer.phases import Fade
from nhnas.work import Work
from tests import tiny

SHRINKING = "{add: 0, add_fraction: 0.0, threshold_min: 1.3, max_epochs: 1, fade_epochs: 1, settle_epochs: 1}"


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def snapshot_of(spec: Path) -> Snapshot:
    """The snapshot that a file names."""
    state = read_document(spec).state
    assert state is not None
    return load_snapshot(spec.parent / ".nhnas", state)


class AtBatch(tiny.Counting):
    """Does something in the middle of the training, as a person in an editor would."""

    def __init__(self, batch: int, action: Callable[[], object], stop: int = 0) -> None:
        super().__init__(batch=stop)
        self._at, self._action = batch, action

    def batch(self, *arguments: Any, **named: Any) -> None:
        """A batch is over."""
        super().batch(*arguments, **named)
        if self.batches == self._at:
            self._action()


def test_version_state_file_and_snapshot_belong_together(spec: Path) -> None:
    """Over four steps the file names the snapshot, which holds its text, net, weights and lineage."""
    parent, epochs = None, 0
    for version in range(1, 5):
        before = read_document(spec)
        (saved,) = tiny.step(spec)
        document, snapshot = read_document(spec), snapshot_of(spec)
        assert (version, saved.state) == (document.version, document.state)
        assert (version, saved.state, parent) == (snapshot.version, snapshot.id, snapshot.parent)
        assert spec.read_bytes() == snapshot.spec_text
        assert canonical(document.architecture) == snapshot.state["architecture"]
        build(document.architecture, snapshot.weights)
        edits = [edit_from_dict({k: v for k, v in e.items() if k != "stage"}) for e in snapshot.edits]
        assert document.architecture == apply(before.architecture, edits)
        assert [f"epoch {n}" for n in range(1, len(snapshot.metrics) + 1)] == [
            f"epoch {m['epoch']}" for m in snapshot.metrics
        ]
        assert {version} == {m["version"] for m in snapshot.metrics}
        epochs += len(snapshot.metrics)
        assert epochs == snapshot.state["exact"]["epochs"]
        assert measure(document.architecture).as_dict() == snapshot.state["info"]["totals"]
        assert saved.test == snapshot.state["info"]["test"]
        assert (0, True) == (saved.changed, saved.max_change < 1e-5)
        parent = saved.state


def test_a_step_is_grow_fit_fade_and_what_the_settings_say(spec: Path) -> None:
    """8 + ⌊0.07·7⌋ neurons come, ⌈8/2⌉ go, after at most 2 epochs of fit, 1 of fading and 1 to settle."""
    tiny.step(spec)
    snapshot = snapshot_of(spec)
    count = Counter[str]()
    for edit in snapshot.edits:
        count[edit["kind"]] += len(edit["at"])
    assert {"add_neurons": 8, "remove_neurons": 4} == dict(count)
    assert ["fit", "fit", "fade", "fade"] == [m["phase"] for m in snapshot.metrics]
    assert [3, 3, 3, 3] == [m["batches"] for m in snapshot.metrics]
    assert {"block.width": 4, "block.hidden": 3} != {k: s.neurons for k, s in neurons(spec).items()}


def neurons(spec: Path) -> dict[str, Any]:
    """The sites of the file."""
    return sites(read_document(spec).architecture)


def test_every_kind_of_edit_occurs(spec: Path) -> None:
    """Growing, then shrinking: neurons come and go, residuals open and close; every step is exact."""
    kinds = Counter[str]()
    for number in range(9):
        if number == 5:
            text = spec.read_text()
            spec.write_text(text[: text.index("search:")] + f"search: {SHRINKING}\n")
        (saved,) = tiny.step(spec)
        kinds.update(edit["kind"] for edit in saved.edits)
        assert (0, True) == (saved.changed, saved.max_change < 1e-5)
    assert {"add_neurons", "remove_neurons", "promote", "collapse"} == kinds.keys()
    assert neurons(spec)["block.hidden"].neurons == 0
    assert read_document(spec).architecture.net[0].residual is not None  # type: ignore[union-attr]


def test_moving_averages_and_importances_follow(spec: Path) -> None:
    """MA ← 0.8·MA + 0.2·(added − removed) site by site; an importance for every neuron that was measured."""
    averages: dict[str, float] = {}
    for _ in range(4):
        tiny.step(spec)
        snapshot = snapshot_of(spec)
        change = Counter[str]()
        for edit in snapshot.edits:
            sign = {"add_neurons": 1, "remove_neurons": -1}.get(edit["kind"], 0)
            change[edit.get("site", "")] += sign * len(edit.get("at", ()))
        averages = {key: 0.8 * averages.get(key, 0.0) + 0.2 * change[key] for key in neurons(spec)}
        assert averages == pytest.approx(snapshot.state["exact"]["moving_average"])
        importance = snapshot.state["exact"]["importance"]
        for key, site in neurons(spec).items():
            if key in importance:
                assert site.neurons == len(importance[key])
                assert all(value >= 0.0 for value in importance[key])
        assert {key for key, site in neurons(spec).items() if site.open and site.neurons} == {
            key for key, values in importance.items() if values
        }


def test_the_diff_of_the_file_is_small(spec: Path) -> None:
    """Version and state appear, and of the rest only the lines of sizes that changed; comments stay."""
    old = spec.read_text()
    tiny.step(spec)
    diff = list(unified_diff(old.splitlines(), spec.read_text().splitlines(), lineterm="", n=0))[2:]
    lines = [line for line in diff if not line.startswith("@@")]
    assert ["-    hidden: 3", "-      hidden: 3"] != lines
    removed = [line for line in lines if line.startswith("-")]
    added = [line for line in lines if line.startswith("+")]
    assert len(removed) + 2 == len(added)
    assert all("width: " in line or "hidden: " in line for line in removed)
    assert all(
        any(key in line for key in ("width: ", "hidden: ", "version: 1", "state: s")) for line in added
    )
    assert "# neurons grow here" in spec.read_text()


def test_settings_are_read_again_before_each_step(spec: Path) -> None:
    """A rate that is edited between two steps, or during a run, holds from the next version on."""
    tiny.step(spec)
    tiny.edit(spec, "lr: 0.05", "lr: 0.01")
    tiny.step(spec)
    assert [0.05, 0.01] == [rate_of(spec, back) for back in (1, 0)]
    tiny.run(spec, AtBatch(2, lambda: tiny.edit(spec, "lr: 0.01", "lr: 0.002")), steps=2)
    assert [0.01, 0.002] == [rate_of(spec, back) for back in (1, 0)]


def rate_of(spec: Path, back: int) -> float:
    """The learning rate at the end of the first epoch, so many versions ago."""
    snapshot = snapshot_of(spec)
    for _ in range(back):
        assert snapshot.parent is not None
        snapshot = load_snapshot(spec.parent / ".nhnas", snapshot.parent)
    return float(snapshot.metrics[0]["lr"])


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


def test_a_run_is_as_many_steps(tmp_path: Path) -> None:
    """`run --steps 3` leaves the same bytes as three times `step`, and `run --to 3` does too."""
    one, two, three = (tiny.make(tmp_path / name) for name in ("steps", "run", "to"))
    states = [tiny.step(one)[0].state for _ in range(3)]
    assert states == [saved.state for saved in tiny.run(two, steps=3)]
    assert states[:1] == [saved.state for saved in tiny.run(three, to=1)]
    assert states[1:] == [saved.state for saved in tiny.run(three, to=3)]
    assert tiny.outcome(one) == tiny.outcome(two) == tiny.outcome(three)


def test_nothing_happens_at_the_version_that_is_there(spec: Path) -> None:
    """`step --to 1` and `run --to 1` at version 1 change no file."""
    (saved,) = tiny.step(spec, to=1)
    before, times = tiny.outcome(spec), {p: p.stat().st_mtime_ns for p in spec.parent.glob("*.yaml")}
    assert [] == tiny.step(spec, to=1)
    assert [] == tiny.run(spec, to=1)
    assert before == tiny.outcome(spec)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert 1 == saved.version


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda spec: tiny.step(spec, to=4), "is at version 1: one step leads to 2, not to 4"),
        (lambda spec: tiny.step(spec, to=0), "is at version 1: one step leads to 2, not to 0"),
        (lambda spec: tiny.run(spec, to=0), "is at version 1 already, beyond 0"),
        (lambda spec: tiny.run(spec), "run needs either --steps N or --to VERSION"),
        (lambda spec: tiny.run(spec, steps=1, to=2), "run needs either --steps N or --to VERSION"),
    ],
)
def test_goals_that_cannot_be(call: Callable[[Path], object], message: str, spec: Path) -> None:
    """A version that one step does not reach, one that is past, none or two goals."""
    tiny.step(spec)
    before = tiny.outcome(spec)
    with pytest.raises(InputError, match=message):
        call(spec)
    assert before == tiny.outcome(spec)


def test_what_a_person_writes_at_version_changes_nothing(spec: Path) -> None:
    """The next version is one more than the snapshot's."""
    tiny.step(spec)
    tiny.edit(spec, "version: 1", "version: 40")
    assert [2] == [saved.version for saved in tiny.step(spec)]
    assert 2 == read_document(spec).version


def test_an_older_file_goes_on_from_its_own_snapshot(spec: Path) -> None:
    """An earlier text put back: the same settings give the same version 2 again, others a branch of 1."""
    (first,) = tiny.step(spec)
    old = spec.read_bytes()
    (second,) = tiny.step(spec)
    spec.write_bytes(old)
    assert second.state == tiny.step(spec)[0].state
    spec.write_bytes(old.replace(b"lr: 0.05", b"lr: 0.03"))
    (branch,) = tiny.step(spec)
    assert (2, first.state) == (branch.version, snapshot_of(spec).parent)
    assert branch.state not in (first.state, second.state)


def test_a_missing_state_says_what_to_do(spec: Path) -> None:
    """The message has the choices, and `--fresh` is one of them for each command."""
    tiny.step(spec)
    tiny.edit(spec, f"state: {read_document(spec).state}", "state: s0123456789abcdef")
    for command in (tiny.step, lambda s: tiny.run(s, steps=1), tiny.train):
        with pytest.raises(InputError, match=r"state s0123456789abcdef is not in .*--fresh") as caught:
            command(spec)
        assert "\n" not in str(caught.value)
    text = spec.read_bytes()
    for fresh in (
        tiny.step,
        lambda s, **o: tiny.run(s, steps=2, **o),
        lambda s, **o: tiny.step(s, to=1, **o),
    ):
        spec.write_bytes(text)
        assert 1 == fresh(spec, fresh=True)[0].version


def test_fresh_starts_untrained(tmp_path: Path) -> None:
    """`--fresh` at version 3 gives the version 1 that the same file without a state gives."""
    spec = tiny.make(tmp_path / "work")
    tiny.run(spec, steps=3)
    plain = tiny.make(tmp_path / "plain")
    plain.write_text(
        "".join(x for x in spec.read_text().splitlines(True) if not x.startswith(("version", "state")))
    )
    (expected,) = tiny.step(plain)
    for goal in (None, 1):
        before = spec.read_bytes()
        (saved,) = tiny.step(spec, to=goal, fresh=True)
        assert (1, expected.state) == (saved.version, saved.state)
        assert snapshot_of(spec).parent is None
        spec.write_bytes(before)


def test_a_net_edited_meanwhile_stays(spec: Path) -> None:
    """The result of the step lies beside the person's file, complete, and the person's text is untouched."""
    tiny.step(spec)
    report = AtBatch(4, lambda: tiny.edit(spec, "name: head, ", "name: head, act: tanh, "))
    (saved,) = tiny.step(spec, report)
    beside = spec.with_name("spec.v2.yaml")
    assert saved.path == beside
    assert "act: tanh" in spec.read_text()
    assert 1 == read_document(spec).version
    assert (2, saved.state) == (read_document(beside).version, read_document(beside).state)
    assert any("spec.v2.yaml" in line for line in report.lines)
    assert not list((spec.parent / ".nhnas" / "slots").rglob("*.slot"))
    assert 3 == tiny.step(beside)[0].version


def test_nothing_is_overwritten_beside_the_file(spec: Path) -> None:
    """Where spec.v1.yaml is there already, the result has its state in its name, too."""
    beside = spec.with_name("spec.v1.yaml")
    beside.write_text("the person's own")
    (saved,) = tiny.step(spec, AtBatch(4, lambda: tiny.edit(spec, "width: 4", "width: 5")))
    assert spec.with_name(f"spec.v1-{saved.state}.yaml") == saved.path
    assert "the person's own" == beside.read_text()


def test_a_file_saved_in_the_very_last_moment(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that a person saves while the file is replaced are kept; a net sends the result beside."""

    def racing(old: str, new: str) -> None:
        raced: list[bool] = []

        def late(path: Path, expected: bytes | None, text: bytes) -> bool:
            if not raced:
                raced.append(True)
                tiny.edit(spec, old, new)
            return replace_text(path, expected, text)

        monkeypatch.setattr("nhnas.commit.replace_text", late)

    racing("lr: 0.05", "lr: 0.04")
    assert [spec] == [saved.path for saved in tiny.step(spec)]
    assert (1, 0.04) == (read_document(spec).version, read_document(spec).train.lr)
    monkeypatch.undo()
    racing("note: the end", "act: tanh")
    assert [spec.with_name("spec.v2.yaml")] == [saved.path for saved in tiny.step(spec)]
    assert "act: tanh" in spec.read_text()


def test_a_run_ends_where_the_net_was_edited(spec: Path) -> None:
    """The person decides from which of the two files it goes on."""
    report = AtBatch(1, lambda: tiny.edit(spec, "width: 4", "width: 5"))
    assert [spec.with_name("spec.v1.yaml")] == [saved.path for saved in tiny.run(spec, report, steps=3)]


def test_a_file_that_cannot_be_read_any_more_stays(spec: Path) -> None:
    """Broken or gone at the end of a step: the version lies beside it, and the step is no error."""
    (saved,) = tiny.step(spec, AtBatch(2, lambda: spec.write_text("net: [")))
    assert "net: [" == spec.read_text()
    assert (spec.with_name("spec.v1.yaml"), 1) == (saved.path, read_document(saved.path).version)


def test_settings_edited_meanwhile_stay_and_the_version_goes_into_the_file(spec: Path) -> None:
    """Comments, notes and settings that change during a step are in the file that the version is in."""

    def edit() -> None:
        tiny.edit(spec, "# the plane", "# my plane")
        tiny.edit(spec, "lr: 0.05", "lr: 0.04")
        tiny.edit(spec, "note: the end", "note: the very end")

    (saved,) = tiny.step(spec, AtBatch(5, edit))
    assert spec == saved.path
    document = read_document(spec)
    assert (1, saved.state, 0.04) == (document.version, document.state, document.train.lr)
    assert spec.read_text().startswith("# my plane\n")
    assert "note: the very end" in spec.read_text()
    assert 0.05 == rate_of(spec, 0)
    assert ["spec.yaml"] == [path.name for path in spec.parent.glob("*.yaml")]


def test_a_net_edited_while_the_step_was_stopped_stays(spec: Path) -> None:
    """The interrupted step ends as it began, and its result lies beside."""
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    tiny.edit(spec, "width: 4", "width: 6")
    (saved,) = tiny.step(spec)
    assert (spec.with_name("spec.v1.yaml"), True) == (saved.path, "width: 6" in spec.read_text())


def test_another_command_is_refused_while_one_waits(spec: Path) -> None:
    """Every one that does other work, or begins untrained; --discard goes."""
    with pytest.raises(Interrupted):
        tiny.run(spec, tiny.Counting(batch=3), steps=2)
    before = tiny.outcome(spec)
    others: list[Callable[..., object]] = [
        tiny.train,
        lambda s: tiny.run(s, steps=2, fresh=True),
        lambda s: tiny.step(s, fresh=True),
    ]
    for other in others:
        with pytest.raises(InputError) as caught:
            other(spec)
        message = (
            f"{spec}: `nhnas run --steps 2` was interrupted; go on with the same command, or --discard it"
        )
        assert message == str(caught.value)
    assert before == tiny.outcome(spec)
    (saved,) = tiny.step(spec, discard=True)
    assert 1 == saved.version
    assert [2, 3] == [s.version for s in tiny.run(spec, steps=2)]


@pytest.mark.parametrize(("first", "second"), [(None, 1), (1, None)])
def test_a_step_may_name_its_version_or_not(first: int | None, second: int | None, spec: Path) -> None:
    """`step` and `step --to 1` continue each other."""
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3), to=first)
    assert [1] == [saved.version for saved in tiny.step(spec, to=second)]


def test_fresh_is_part_of_the_command(spec: Path) -> None:
    """An interrupted step is not continued by `step --fresh`, nor the other way round."""
    tiny.step(spec)
    for first, second in ((False, True), (True, False)):
        with pytest.raises(Interrupted):
            tiny.step(spec, tiny.Counting(batch=3), fresh=first)
        words = "`nhnas step --fresh`" if first else "`nhnas step`"
        with pytest.raises(InputError, match=words):
            tiny.step(spec, fresh=second)
        assert [1 if first else 2] == [saved.version for saved in tiny.step(spec, fresh=first)]


def test_a_file_of_another_version_is_not_continued(spec: Path) -> None:
    """A step that was interrupted at version 2 does not end in a file that names version 1."""
    tiny.step(spec)
    old = spec.read_bytes()
    tiny.step(spec)
    new = spec.read_bytes()
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    spec.write_bytes(old)
    with pytest.raises(InputError, match=r"started from state s\w+, the file now names s\w+;.*--discard"):
        tiny.step(spec)
    spec.write_bytes(new)
    assert [3] == [saved.version for saved in tiny.step(spec)]


def test_the_file_of_an_interrupted_first_step_changed(spec: Path) -> None:
    """No state is told in words, whichever of the two has none."""
    untrained = spec.read_bytes()
    tiny.step(spec)
    trained = spec.read_bytes()
    spec.write_bytes(untrained)
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    spec.write_bytes(trained)
    with pytest.raises(InputError, match=r"started from an untrained file, the file now names s\w+;"):
        tiny.step(spec)


def test_training_that_fails_leaves_the_version_and_can_be_tried_again(spec: Path) -> None:
    """A loss that is not finite: exit code 4, nothing saved; with another rate the same command works."""
    tiny.step(spec)
    before = tiny.outcome(spec)
    tiny.edit(spec, "lr: 0.05", "lr: 1.0e30")
    broken = spec.read_bytes()
    with pytest.raises(
        TrainingError, match=r"the loss is .* at epoch 1, batch 2 after 3 rollbacks, .*; nothing was saved"
    ) as caught:
        tiny.step(spec)
    assert 4 == caught.value.exit_code
    assert {**before, "spec.yaml": broken} == tiny.outcome(spec)
    tiny.edit(spec, "lr: 1.0e30", "lr: 0.05")
    assert [2] == [saved.version for saved in tiny.step(spec)]


def test_a_run_that_fails_knows_how_far_it_was_to_go(spec: Path) -> None:
    """Failed in its second version, `run --steps 3` does the two that are left."""
    report = AtBatch(2, lambda: tiny.edit(spec, "lr: 0.05", "lr: 1.0e30"))
    with pytest.raises(TrainingError):
        tiny.run(spec, report, steps=3)
    assert 1 == read_document(spec).version
    tiny.edit(spec, "lr: 1.0e30", "lr: 0.05")
    assert [2, 3] == [saved.version for saved in tiny.run(spec, steps=3)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_that_the_last_batch_spoils_is_not_saved(optimizer: str, tmp_path: Path) -> None:
    """No loss comes after the last batch: the test loss tells."""
    text = tiny.DENSE.replace(
        "lr: 0.05, batch: 8", f"lr: 1.0e18, batch: 24, warmup: 0, optimizer: {optimizer}"
    )
    epochs = "max_epochs: 2, fade_epochs: 1, settle_epochs: 1"
    spec = tiny.make(
        tmp_path / "work", text.replace(epochs, "max_epochs: 1, fade_epochs: 0, settle_epochs: 0")
    )
    before = spec.read_bytes()
    with pytest.raises(TrainingError, match=r"nothing was saved; lower train\.lr"):
        tiny.step(spec)
    assert before == spec.read_bytes()
    assert not (spec.parent / ".nhnas" / "snapshots").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("add: 8", "add: 0, add_fraction: 0.0"),
        ("fade_epochs: 1, settle_epochs: 1", "fade_epochs: 0, settle_epochs: 0"),
        ("fade_epochs: 1, settle_epochs: 1", "fade_epochs: 0, settle_epochs: 1"),
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


def test_train_keeps_the_architecture(spec: Path) -> None:
    """`train --epochs 3` adds a version with the same net, three epochs and the schedule's rates."""
    tiny.edit(spec, "batch: 8", "batch: 8, schedule: cosine, warmup: 0")
    tiny.step(spec)
    before = read_document(spec).architecture
    (saved,) = tiny.train(spec, epochs=3)
    snapshot = snapshot_of(spec)
    assert (2, before, []) == (saved.version, read_document(spec).architecture, snapshot.edits)
    assert ["train"] * 3 == [m["phase"] for m in snapshot.metrics]
    rates = [m["lr"] for m in snapshot.metrics]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05 / 10
    importance = [
        load_snapshot(spec.parent / ".nhnas", s).state["exact"] for s in (snapshot.parent or "", snapshot.id)
    ]
    assert importance[0]["importance"] == importance[1]["importance"]


def test_images_and_streams(tmp_path: Path) -> None:
    """Convolutions, a stream of identities, batch norm, dropout, flatten: three steps, each exact."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    sites_changed = set()
    for saved in tiny.run(spec, steps=4):
        assert (0, True) == (saved.changed, saved.max_change < 1e-5)
        sites_changed |= {edit["site"] for edit in saved.edits if "site" in edit}
    assert {"stem.width", "stream.hidden", "block.width", "block.hidden"} <= sites_changed


@pytest.mark.parametrize("text", [tiny.DENSE, tiny.CONV], ids=["points", "images"])
def test_the_saved_figures_are_those_of_the_weights(text: str, tmp_path: Path) -> None:
    """Test loss and accuracy are the weights' own, summed sample by sample in float64."""
    spec = tiny.make(tmp_path / "work", text)
    (saved,) = tiny.step(spec)
    snapshot, document = snapshot_of(spec), read_document(spec)
    network = build(from_canonical(snapshot.state["architecture"]), snapshot.weights).eval()
    dataset = load_dataset(document.data, seed=0, folder=spec.parent)
    assert saved.test == evaluate(network, dataset, dataset.test, document.train)
    inputs = dataset.test.inputs.double()
    if dataset.mean is not None and dataset.std is not None:
        shape = (1, -1, 1, 1)
        inputs = (inputs / 255 - dataset.mean.double().view(shape)) / dataset.std.double().view(shape)
    with torch.no_grad():
        outputs = network.double()(inputs)
    chances = outputs.log_softmax(1)[torch.arange(len(outputs)), dataset.test.targets]
    correct = (outputs.argmax(1) == dataset.test.targets).double().mean()
    assert saved.test == pytest.approx({"loss": -float(chances.mean()), "accuracy": float(correct)}, rel=1e-5)


def test_options_are_the_ones_documented() -> None:
    """A command takes no option by accident: the names are part of the interface."""
    assert ["fresh", "discard", "wait", "allow_import", "probe_samples"] == list(Options.__dataclass_fields__)
