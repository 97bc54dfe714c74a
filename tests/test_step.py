"""Whole steps: what they save, and that it is exact."""

from __future__ import annotations

from collections import Counter
from difflib import unified_diff
from pathlib import Path

import pytest
import torch

from nhnas.command import Options
from nhnas.compiler.build import build
from nhnas.compiler.store import load_snapshot
from nhnas.spec.apply import apply
from nhnas.spec.canonical import canonical, from_canonical
from nhnas.spec.document import read_document
from nhnas.spec.edits import edit_from_dict
from nhnas.spec.measure import measure
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.evaluate import evaluate
from tests import tiny
from tests.saved import neurons, snapshot_of

pytestmark = pytest.mark.usefixtures("no_fsync")

SHRINKING = "{add: 0, add_fraction: 0.0, threshold_min: 1.3, max_epochs: 1, fade_epochs: 1, settle_epochs: 1}"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


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
