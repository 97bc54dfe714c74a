"""Another bound for the work of an interrupted command: less of it, or more, without losing what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nhnas.base import load_base
from nhnas.command import Options
from nhnas.command import run as run_command
from nhnas.compiler.history import load_info
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import read_slot
from nhnas.report import Report
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError, Interrupted, TrainingError
from nhnas.trainer.engine import Engine
from tests import tiny
from tests.stopping import killer

pytestmark = pytest.mark.usefixtures("no_fsync")

SLOW = tiny.DENSE.replace("lr: 0.05", "lr: 0.05, schedule: cosine")


def until(spec: Path, report: Report | None = None, goals: Sequence[str] = ("epochs=8",)) -> Any:
    """A run to an age that the second step reaches."""
    return run_command(spec, None, None, Options(), report, goals)


def interrupted(spec: Path, command: Callable[..., Any], batch: int = 3, **words: Any) -> Path:
    """The spec after a command that stopped in a batch."""
    with pytest.raises(Interrupted):
        command(spec, tiny.Counting(batch=batch), **words)
    return spec


def is_clear(spec: Path) -> bool:
    """Whether no command is left to go on with."""
    return read_slot(store_folder(spec), spec_key(spec)) is None


@pytest.mark.parametrize(
    ("first", "second", "versions"),
    [
        ((tiny.run, {"steps": 3}), (tiny.step, {}), 1),
        ((tiny.run, {"steps": 3}), (tiny.run, {"steps": 2}), 2),
        ((tiny.run, {"to": 5}), (tiny.run, {"to": 2}), 2),
        ((tiny.step, {}), (tiny.run, {"steps": 2}), 2),
        ((tiny.step, {"to": 1}), (until, {}), 2),
        ((until, {}), (tiny.step, {}), 1),
    ],
)
def test_a_step_is_a_run_of_one(
    first: tuple[Any, Any], second: tuple[Any, Any], versions: int, tmp_path: Path
) -> None:
    """The version that had begun is the first of the new command, in the same bytes; nothing is left."""
    whole, spec = tiny.make(tmp_path / "whole"), tiny.make(tmp_path / "spec")
    tiny.run(whole, steps=versions)
    interrupted(spec, first[0], **first[1])
    report = tiny.Counting()
    second[0](spec, report, **second[1])
    assert report.lines[0].endswith(" was interrupted: this goes on with its work")
    assert tiny.outcome(whole) == tiny.outcome(spec)
    assert is_clear(spec)


def test_a_run_that_is_cut_short_after_some_steps(tmp_path: Path) -> None:
    """Steps count from the version before the one that had begun; stopped again, the new bound holds."""
    whole, spec = tiny.make(tmp_path / "whole"), tiny.make(tmp_path / "spec")
    tiny.run(whole, steps=3)
    interrupted(spec, tiny.run, batch=15, steps=9)
    assert 1 == read_document(spec).version
    interrupted(spec, tiny.run, batch=2, steps=2)
    assert [2, 3] == [saved.version for saved in tiny.run(spec, steps=2)]
    assert tiny.outcome(whole) == tiny.outcome(spec)


@pytest.mark.parametrize(("text", "epochs"), [(tiny.DENSE, 4), (tiny.DENSE, 9), (SLOW, 4)])
def test_a_training_may_end_sooner_or_later(text: str, epochs: int, tmp_path: Path) -> None:
    """At a constant rate in the same bytes as if that had been asked for; else along the other curve."""
    whole, spec = tiny.make(tmp_path / "whole", text), tiny.make(tmp_path / "spec", text)
    tiny.train(whole, epochs=epochs)
    interrupted(spec, tiny.train, batch=5, epochs=6)
    tiny.train(spec, epochs=epochs)
    info = load_info(store_folder(spec), str(read_document(spec).state))
    assert epochs == len(info.metrics) == info.state["exact"]["epochs"]
    assert (text == tiny.DENSE) == (tiny.outcome(whole) == tiny.outcome(spec))
    rates = [load_info(store_folder(s), str(read_document(s).state)).metrics[-1]["lr"] for s in (whole, spec)]
    assert rates[0] == rates[1]
    assert is_clear(spec)


@pytest.mark.parametrize(("batch", "epochs"), [(5, 2), (6, 2), (7, 3)])
def test_a_training_that_has_done_enough_ends_with_its_epoch(batch: int, epochs: int, tmp_path: Path) -> None:
    """Epochs stay whole: the one that had begun is finished, another one is not begun."""
    spec = interrupted(tiny.make(tmp_path / "spec"), tiny.train, batch=batch, epochs=6)
    tiny.train(spec, epochs=1)
    assert epochs == load_info(store_folder(spec), str(read_document(spec).state)).state["exact"]["epochs"]


def test_a_mean_of_the_last_weights_needs_to_know_which_are_the_last(tmp_path: Path) -> None:
    """With `train.average` the bound stays."""
    text = tiny.DENSE.replace("lr: 0.05", "lr: 0.05, average: 0.5")
    spec = interrupted(tiny.make(tmp_path / "spec", text), tiny.train, batch=5, epochs=6)
    words = (
        r"`nhnas train --epochs 6` was interrupted, whose last part is averaged \(train.average\); go on with"
    )
    with pytest.raises(InputError, match=words):
        tiny.train(spec, epochs=4)
    assert 1 == tiny.train(spec, epochs=6)[0].version


def test_the_new_bound_outlives_a_rollback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes back to a good point goes on to the bound of now, also after another interruption."""
    spec = interrupted(tiny.make(tmp_path / "spec"), tiny.run, batch=5, steps=9)
    honest, failures = Engine.train_batch, iter([TrainingError("the loss is nan")])

    def train_batch(self: Engine, batch: Any, epoch: int, lr: float) -> Any:
        for failure in failures:
            raise failure
        return honest(self, batch, epoch, lr)

    monkeypatch.setattr(Engine, "train_batch", train_batch)
    report = tiny.Counting(batch=1)
    with pytest.raises(Interrupted):
        tiny.run(spec, report, steps=1)
    assert any("back to the last good point" in line for line in report.lines)
    slot = read_slot(store_folder(spec), spec_key(spec), between_epochs=True)
    assert slot is not None
    assert {"command": "run", "steps": 1} == slot.goal["request"]
    assert 1 == len(tiny.run(spec, steps=1))


def test_the_new_bound_outlives_a_kill_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last batch and the snapshot, where nothing else is saved."""
    spec = tiny.make(tmp_path / "spec")
    interrupted(spec, tiny.train, batch=6, epochs=6)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nhnas.commit.save_snapshot", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(spec, epochs=1)
    slot = read_slot(store_folder(spec), spec_key(spec))
    assert slot is not None
    assert {"command": "train", "epochs": 1} == slot.goal["request"]


@pytest.mark.parametrize(
    ("command", "words"),
    [(tiny.step, {"to": 1}), (tiny.run, {"to": 1}), (partial(until, goals=["epochs=3"]), {})],
)
@pytest.mark.parametrize("midway", [True, False])
def test_a_bound_that_is_met_already_leaves_what_waits(
    command: Callable[..., Any],
    words: dict[str, int],
    midway: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is trained beyond it; the interrupted run, midway or between two steps, still goes on."""
    whole, spec = tiny.make(tmp_path / "whole"), tiny.make(tmp_path / "spec")
    tiny.run(whole, steps=3)
    with monkeypatch.context() as patch:
        if not midway:
            patch.setattr("nhnas.command.load_base", killer(load_base, call=2))
        with pytest.raises(Interrupted if midway else KeyboardInterrupt):
            tiny.run(spec, tiny.Counting(batch=14 if midway else 0), steps=3)
    assert 1 == read_document(spec).version
    before = tiny.outcome(spec)
    assert [] == command(spec, report := tiny.Counting(), **words)
    told = "`nhnas run --steps 3` was interrupted and waits: the same command goes on, --discard drops it"
    assert told == report.lines[-1]
    assert before == tiny.outcome(spec)
    tiny.run(spec, steps=3)
    assert tiny.outcome(whole) == tiny.outcome(spec)
