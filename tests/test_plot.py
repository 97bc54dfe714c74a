"""`nhnas plot`: the numbers of every figure are those that the versions recorded."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nhnas.compiler.history import Info
from nhnas.compiler.place import store_folder
from nhnas.plot import FIGURES, PANELS, numbers
from nhnas.plot_panel import NOTHING
from nhnas.spec.errors import InputError
from tests import tiny
from tests.here import Here
from tests.plotted import ends, figure, flat, infos, series, totals, trained_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a way up and a way down."""
    return trained_run(tmp_path_factory.mktemp("plot") / "work")


@pytest.mark.parametrize("count", ["parameters", "macs"])
def test_accuracy_against_size(count: str, trained: Path) -> None:
    """The way up to the largest version and the way down from it, each point a version."""
    sizes, known = [totals(info)[count] for info in infos(trained)], infos(trained)
    accuracies = [info.state["info"]["test"]["accuracy"] for info in known]
    peak = max(range(len(known)), key=lambda at: totals(known[at])["parameters"])
    assert 0 < peak < len(sizes) - 1
    expected = {
        "points, growing": (sizes[: peak + 1], accuracies[: peak + 1]),
        "points, shrinking": (sizes[peak:], accuracies[peak:]),
    }
    assert expected == series(trained, count)


def test_a_run_that_only_grows_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It bears the name of the spec alone."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    tiny.step(spec)
    assert ["images"] == list(series(spec, "parameters"))


def test_the_test_set_after_every_epoch_where_it_was_asked_for(tmp_path: Path) -> None:
    """As in the metrics; the last one of a version is what was saved with it; without the setting no line."""
    spec = tiny.make(tmp_path / "run", tiny.DENSE.replace("train: {", "train: {evaluate: true, "))
    tiny.train(spec, epochs=2)
    tiny.edit(spec, "evaluate: true, ", "")
    tiny.train(spec, epochs=1)
    (first, _), name = infos(spec), "test after each epoch"
    tested = [record["test"]["accuracy"] for record in first.metrics]
    assert first.state["info"]["test"]["accuracy"] == tested[-1]
    assert ([1, 2, 3], [*tested, None]) == series(spec, "epochs")[name]
    assert name not in series(tiny_train(tmp_path / "other"), "epochs")


def tiny_train(folder: Path) -> Path:
    """A version of one epoch."""
    spec = tiny.make(folder)
    tiny.train(spec, epochs=1)
    return spec


def test_accuracy_and_parameters_over_epochs(trained: Path) -> None:
    """Versions at the lineage's epoch of their end; training once an epoch, counted on over the versions."""
    drawn, known = series(trained, "epochs"), infos(trained)
    assert (ends(trained), [totals(info)["parameters"] for info in known]) == drawn["parameters"]
    assert (ends(trained), [info.state["info"]["test"]["accuracy"] for info in known]) == drawn["test"]
    epochs = list(range(1, ends(trained)[-1] + 1))
    assert (epochs, flat(trained, "accuracy")) == drawn["training, mean of the epoch"]


def test_depth_and_neurons_over_epochs(trained: Path) -> None:
    """As they were counted when each version was saved."""
    known = infos(trained)
    depths = {key: (ends(trained), [totals(i)[key] for i in known]) for key in ("depth", "depth10")}
    assert depths == series(trained, "depth")
    neurons = {"neurons": (ends(trained), [totals(i)["neurons"] for i in known])}
    assert neurons == series(trained, "neurons")


def test_error_against_capacity(trained: Path) -> None:
    """One minus accuracy; the training error is the mean over a version's last epoch."""
    known, drawn = infos(trained), series(trained, "error")
    sizes = [totals(info)["parameters"] for info in known]
    test = [1.0 - info.state["info"]["test"]["accuracy"] for info in known]
    training = [1.0 - info.metrics[-1]["accuracy"] for info in known]
    assert {"test": (sizes, test), "training": (sizes, training)} == drawn


def test_the_training_loss_by_phase(trained: Path) -> None:
    """Every epoch is in exactly one of the phases; the end of each fit is marked, as it was found."""
    drawn = series(trained, "loss")
    phases = ["until flat", "fading and settling", "training alone"]
    losses = [
        [y for y in column if y is not None] for column in zip(*(drawn[p][1] for p in phases), strict=True)
    ]
    assert [[loss] for loss in flat(trained, "loss")] == losses
    fits = [(i, [r for r in i.metrics if r["phase"] == "fit"]) for i in infos(trained)]
    verdicts = [i.state["info"]["facts"]["fit"] for i, fit in fits if fit]
    for words, is_flat in (("found flat", True), ("out of epochs", False)):
        wanted = [f[-1]["loss"] for _, f in fits if f]
        wanted = [x for x, v in zip(wanted, verdicts, strict=True) if v.startswith("flat") == is_flat]
        assert wanted == drawn.get(words, ([], []))[1]


def test_settings_as_the_schedule_gave_them(trained: Path) -> None:
    """Each from the start of a version to the start of the next; those that never change are left out."""
    drawn, starts = series(trained, "settings"), [0, *ends(trained)]
    early = [start < 5 for start in starts[:-1]]
    assert {True, False} == set(early)
    for key, first, second in (("add", 30, 4), ("add_to_remove", 9.0, 0.2), ("lr", 0.01, 0.05)):
        given: list[float] = [first if one else second for one in early]
        assert (starts, [*given, given[-1]]) == drawn[key], key
    assert ([*range(1, starts[-1] + 1)], flat(trained, "lr")) == drawn["lr of each epoch's last batch"]
    assert {"lr", "lr of each epoch's last batch", "add", "add_to_remove", "max_epochs"} == set(drawn)


def test_a_setting_that_a_person_changed_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever it is, from the version on that was made with it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    tiny.edit(spec, "batch: 8", "batch: 6")
    tiny.step(spec)
    assert [8, 6, 6] == series(spec, "settings")["batch"][1]


def test_recorded_settings_come_before_those_of_the_file(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a version was trained with is drawn, not what its file said later; nonsense is passed over."""
    before, known = series(trained, "settings")["add"][1], infos(trained)
    record: dict[str, Any] = {"train": {"lr": 0.5}, "search": {"add": 77}}
    known[1].state["info"]["settings"] = record
    known[2].state["info"]["settings"] = {"train": {}, "search": {"schedule": [{"add": 3}]}}
    known[3].state["info"]["settings"] = {"train": {"lr": "fast"}, "search": {}}
    monkeypatch.setattr("nhnas.plot_track.lineage", lambda *_: known)
    after = series(trained, "settings")
    assert (0.5, [before[0], 77, *before[2:]]) == (after["lr"][1][1], after["add"][1])


def test_fits_too_short_for_a_curve_say_so(trained: Path) -> None:
    """Two epochs have no shape: words instead of a picture, and no series."""
    found = figure(trained, "flatness")
    words = "no fit of this run fell for long enough to be compared with a curve"
    assert (words, []) == (found["says"], found["series"])


def test_the_fitted_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a falling loss: the means of its epochs, the curve through the smoothed ones, and the fit's end."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    text = tiny.DENSE.replace("max_epochs: 2", "min_epochs: 60, max_epochs: 60").replace(
        "lr: 0.05", "lr: 0.005"
    )
    spec = tiny.make(tmp_path / "work", text)
    tiny.step(spec)
    found = {one["name"]: one for one in figure(spec, "flatness")["series"]}
    (info,) = infos(spec)
    fit = [record for record in info.metrics if record["phase"] == "fit"]
    losses, batches = [r["loss"] for r in fit], sum(r["batches"] for r in fit)
    assert (losses, losses[-1]) == (
        found["mean loss of an epoch"]["y"][:-1],
        found["mean loss of an epoch"]["y"][-1],
    )
    assert [batches] == found["end of the fit"]["x"]
    (curve,) = [one for name, one in found.items() if name.startswith("fitted: ")]
    smoothed = dict(zip(found["smoothed"]["x"], found["smoothed"]["y"], strict=True))
    assert (max(smoothed, key=lambda x: smoothed[x]), batches) == (curve["x"][0], curve["x"][-1])
    between = [abs(a - smoothed[x]) for x, a in zip(curve["x"], curve["y"], strict=True) if x in smoothed]
    assert max(between) < 0.1 * (max(smoothed.values()) - min(smoothed.values()))


def test_the_architecture_is_that_of_show(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same data, layer by layer, also of an untrained file."""
    _, out, _ = Here(capfd)("show", str(trained), "--json")
    assert {"figure": "architecture", **json.loads(out)} == figure(trained, "architecture")


def test_a_regression_has_mse_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test and training are the mse that was recorded; nothing is called accuracy."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path / "work", tiny.REGRESSION)
    tiny.run(spec, steps=2)
    known, drawn = infos(spec), series(spec, "error")
    assert [info.state["info"]["test"]["mse"] for info in known] == drawn["test"][1]
    assert [info.metrics[-1]["loss"] for info in known] == drawn["training"][1]
    assert (flat(spec, "loss")) == series(spec, "epochs")["training, mean of the epoch"][1]
    assert "accuracy" not in json.dumps(numbers(spec))


def test_versions_without_training_are_drawn_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version saved by `apply` alone has no epochs: its test error stands, and the loss says so."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    (info,) = infos(spec)
    monkeypatch.setattr("nhnas.plot_track.lineage", lambda *_: [without_training(info)])
    assert ["test"] == list(series(spec, "error"))
    assert (NOTHING, []) == (figure(spec, "loss")["says"], figure(spec, "loss")["series"])


def without_training(info: Info) -> Info:
    """The same version as if nothing had been trained."""
    return Info(info.id, None, info.version, info.spec_text, info.state, info.edits, [])


def test_a_store_that_begins_in_the_middle(trained: Path, tmp_path: Path) -> None:
    """Without its ancestors a run begins at the epoch where its first known version began."""
    shutil.copytree(trained.parent, tmp_path / "copy")
    spec, first = tmp_path / "copy" / "spec.yaml", infos(trained)[0]
    shutil.rmtree(store_folder(spec) / "snapshots" / first.id)
    begin = first.state["exact"]["epochs"]
    assert ends(trained)[1:] == series(spec, "depth")["depth"][0]
    assert [*range(begin + 1, ends(trained)[-1] + 1)] == series(spec, "epochs")[
        "training, mean of the epoch"
    ][0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state["exact"].pop("epochs"),
        lambda state: state["info"].pop("totals"),
        lambda state: state["info"].update(test=["accuracy"]),
        lambda state: state["info"]["test"].update(accuracy="good"),
        lambda state: state["info"]["facts"].update(policy={"add": "many"}),
    ],
)
def test_a_record_that_makes_no_sense(
    spoil: Callable[[Any], Any], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot from elsewhere may hold anything: one clear line that names it."""
    known = infos(trained)
    spoil(known[1].state)
    monkeypatch.setattr("nhnas.plot_track.lineage", lambda *_: known)
    with pytest.raises(InputError, match=f"snapshot {known[1].id}: "):
        numbers(trained, "epochs")


def test_what_a_policy_decided_is_what_is_drawn(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers stand for the file's in the versions where it was at work."""
    known = infos(trained)
    known[1].state["info"]["facts"]["policy"] = {"add": 12, "remove": 8, "rate": 0.5, "because": "x"}
    before = series(trained, "settings")
    monkeypatch.setattr("nhnas.plot_track.lineage", lambda *_: known)
    after = series(trained, "settings")
    assert [12, 1.5, 0.5 * (before["lr"][1][1] or 0)] == [
        after[key][1][1] for key in ("add", "add_to_remove", "lr")
    ]
    for key in ("add", "add_to_remove", "lr"):
        assert [y for n, y in enumerate(before[key][1]) if n != 1] == [
            y for n, y in enumerate(after[key][1]) if n != 1
        ]


def test_all_figures_as_json(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One object a line in the order of the page, finite numbers alone, no picture; the boundary has none."""
    before = tiny.outcome(trained)
    code, out, error = Here(capfd)("plot", str(trained), "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (0, "", [*PANELS, "architecture"]) == (code, error, [one["figure"] for one in found])
    values = [y for one in found for s in one.get("series", ()) for y in (*s["x"], *s["y"]) if y is not None]
    assert (True, True) == (len(values) > 100, all(map(math.isfinite, values)))
    assert before == tiny.outcome(trained)
    code, out, error = Here(capfd)("plot", str(trained), "--json", "--figure", "boundary")
    assert (2, "", "--json: boundary has no series of numbers; name another figure\n") == (code, out, error)


def test_figures_that_are_not_there(trained: Path) -> None:
    """The message names those that are."""
    with pytest.raises(InputError) as caught:
        numbers(trained, "figure7")
    assert f"--figure: 'figure7' is none of {', '.join(FIGURES)}" == str(caught.value)
