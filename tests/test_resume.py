"""A command stopped at any batch and started again ends in the same bytes as one that was never stopped."""

from __future__ import annotations

import multiprocessing
import random
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import torch

from nhnas import command
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import read_slot, write_slot
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError, Interrupted
from nhnas.trainer.augment import AUGMENTATIONS
from tests import tiny
from tests.stopping import check_every_batch, copied, killer, prepared, run_two, stopped, train_one, train_two

pytestmark = pytest.mark.usefixtures("no_fsync")

OPTIMIZERS = ("adam", "adamw, weight_decay: 0.02", "sgd, momentum: 0.9, weight_decay: 0.01")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_stopped_at_any_batch(optimizer: str, tmp_path: Path) -> None:
    """Points in the plane: weights, moments, metrics, edits and file are those of the whole step."""
    text = tiny.DENSE.replace("train: {", f"train: {{optimizer: {optimizer}, ")
    check_every_batch(tiny.step, prepared(tmp_path, text, 3))


def test_a_step_on_images_stopped_at_any_batch(tmp_path: Path) -> None:
    """Batch norm, dropout and augmented images go on where they were, too."""
    check_every_batch(tiny.step, prepared(tmp_path, tiny.CONV, 2))


def long_epochs(folder: Path, optimizer: str) -> Path:
    """21 batches an epoch, on images; convolutions with batch norm, dropout and every augmentation."""
    text = tiny.CONV.replace("train: {", f"train: {{optimizer: {optimizer}, ").replace(
        "batch: 10", "batch: 2"
    )
    text = text.replace("[crop, flip]", f"[{', '.join(AUGMENTATIONS)}]")
    text = text.replace("max_epochs: 2", "max_epochs: 1").replace("settle_epochs: 1", "settle_epochs: 0")
    spec = tiny.make(folder / "start", text)
    module = spec.with_name("mydata.py")
    module.write_text(module.read_text().replace("split(20)", "split(42)"))
    tiny.step(spec)
    return spec


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_epoch_cut_at_twenty_points(optimizer: str, tmp_path: Path) -> None:
    """After each of its batches but the last: norms, dropout and all augmentations go on where they were."""
    check_every_batch(train_one, long_epochs(tmp_path, optimizer), batches=range(1, 21))


def test_the_fit_of_a_step_cut_at_twenty_points(tmp_path: Path) -> None:
    """Sums of importance over half an epoch, and neurons of three ages, go on where they were."""
    check_every_batch(tiny.step, long_epochs(tmp_path, "adamw"), batches=range(1, 21))


@pytest.mark.parametrize(
    ("rate", "verdict", "batches"),
    [(0.05, b"flat: within noise", tuple(range(1, 21))), (0.005, b"flat: a=-", (500,))],
)
def test_the_loss_is_flat_at_the_same_batch(
    rate: float, verdict: bytes, batches: tuple[int, ...], tmp_path: Path
) -> None:
    """Wherever the fit was stopped, it ends by the same test after as many batches as the whole one."""
    text = tiny.DENSE.replace("max_epochs: 2", "max_epochs: 400").replace("lr: 0.05", f"lr: {rate}")
    whole = check_every_batch(tiny.step, tiny.make(tmp_path / "start", text), batches=batches)
    (state,) = [content for name, content in whole.items() if name.endswith("state.json")]
    assert verdict in state


def test_the_first_step_stopped_at_any_batch(tmp_path: Path) -> None:
    """An untrained file, no store yet."""
    check_every_batch(tiny.step, prepared(tmp_path, tiny.DENSE, 0))


def test_a_run_stopped_at_any_batch(tmp_path: Path) -> None:
    """`run --steps 2` does the rest, no more."""
    check_every_batch(run_two, prepared(tmp_path, tiny.DENSE, 1), every=2)


def test_a_training_whose_weights_are_averaged_stopped_at_any_batch(tmp_path: Path) -> None:
    """The mean over the last half of the batches is that of all of them, wherever it was cut."""
    text = tiny.CONV.replace("train: {", "train: {average: 0.5, ")
    check_every_batch(train_two, prepared(tmp_path, text, 1))


def test_newcomers_that_warm_up_go_on_at_their_own_rates(tmp_path: Path) -> None:
    """Neurons of three ages, those of the last growth at rates of their own, over four of its batches."""
    text = tiny.DENSE.replace("train: {", "train: {warmup: 1.5, warmup_for: newcomers, ")
    check_every_batch(tiny.step, prepared(tmp_path, text, 2))


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_training_stopped_at_any_batch(schedule: str, tmp_path: Path) -> None:
    """`train --epochs 2` goes on at the same place of its schedule."""
    text = tiny.CONV.replace("train: {", f"train: {{optimizer: sgd, schedule: {schedule}, ")
    check_every_batch(train_two, prepared(tmp_path, text, 1))


def test_a_hand_edit_survives_the_stop(tmp_path: Path) -> None:
    """Neurons that a person gave and took are in the snapshot as if nothing had happened."""
    spec = prepared(tmp_path, tiny.DENSE, 1)
    hidden = read_document(spec).architecture.net[0].residual.hidden  # type: ignore[union-attr]
    tiny.edit(spec, f"hidden: {hidden}", f"hidden: {hidden + 2}")
    check_every_batch(tiny.step, spec, every=4)


def test_stopped_again_and_again(tmp_path: Path) -> None:
    """Stopped after every single batch, a run of two steps still ends in the same bytes."""
    spec = prepared(tmp_path, tiny.DENSE, 2)
    whole, again = copied(spec, "whole"), copied(spec, "stopped")
    run_two(whole, tiny.Counting())
    stops = 0
    while stopped(run_two, again, tiny.Counting(batch=1)):
        stops += 1
    assert 24 >= stops >= 16
    assert tiny.outcome(whole) == tiny.outcome(again)


def test_stopped_between_the_batches(tmp_path: Path) -> None:
    """A signal that comes while the command chooses, edits or saves is obeyed at once; nothing is lost."""
    spec = prepared(tmp_path, tiny.DENSE, 2)
    whole, counting = copied(spec, "whole"), tiny.Counting()
    run_two(whole, counting)
    for line in range(1, len(counting.lines) + 1):
        again = copied(spec, "stopped")
        if stopped(run_two, again, tiny.Counting(line=line)):
            run_two(again, tiny.Counting())
        assert tiny.outcome(whole) == tiny.outcome(again), counting.lines[line - 1]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("at", ["write_slot", "load_base"])
def test_a_run_killed_between_two_steps(
    at: str, fresh: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a version was saved and before the next one began, it does the rest, no more."""
    spec = prepared(tmp_path, tiny.DENSE, 1)
    whole, again = copied(spec, "whole"), copied(spec, "stopped")
    expected = [saved.state for saved in tiny.run(whole, steps=3, fresh=fresh)]
    with monkeypatch.context() as patch:
        patch.setattr(f"nhnas.command.{at}", killer(getattr(command, at), call={"write_slot": 1}.get(at, 2)))
        with pytest.raises(KeyboardInterrupt):
            tiny.run(again, steps=3, fresh=fresh)
    assert expected[1:] == [saved.state for saved in tiny.run(again, steps=3, fresh=fresh)]
    assert tiny.outcome(whole) == tiny.outcome(again)


LONG = tiny.DENSE.replace("max_epochs: 2", "min_epochs: 40, max_epochs: 40")
"""126 batches a step."""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 at random moments, each time on top of the one before, and the end is the same."""
    spec = prepared(tmp_path, LONG, 0)
    whole, again = copied(spec, "whole"), copied(spec, "stopped")
    tiny.run(whole, to=2)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.tiny"])
    delay, kills = random.Random(5), 0
    for turn in range(100):
        process = server.Process(target=run_to_two, args=(again,))
        process.start()
        process.join(delay.uniform(0.05, 0.3) + turn / 50)  # a slow machine gets on, too
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            break
    assert kills >= 2
    assert tiny.outcome(whole) == tiny.outcome(again)


def run_to_two(spec: Path) -> None:
    """What the processes do that are killed."""
    tiny.run(spec, to=2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_so_and_goes_on(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end the command with their own codes and one line; it goes on to the same id."""
    spec = prepared(tmp_path, LONG, 0)
    whole, again = copied(spec, "whole"), copied(spec, "stopped")
    expected = tiny.step(whole)[0]
    words = [sys.executable, "-m", "nhnas", "step", "spec.yaml"]
    with subprocess.Popen(words, cwd=again.parent, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch" in line:
                process.send_signal(number)
                break
        error = process.communicate()[1]
    assert code == process.returncode
    assert "stopped; all is saved, and the same command goes on from here\n" == error
    assert again.read_text() == spec.read_text()
    done = subprocess.run(words, cwd=again.parent, capture_output=True, text=True, check=True)
    assert f"version 1 ({expected.state}) in spec.yaml" in done.stdout
    assert tiny.outcome(whole) == tiny.outcome(again)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "width: 4",
            "width: 5",
            "net was edited meanwhile: this version goes on with the one that it began with",
        ),
        (
            "lr: 0.05",
            "lr: 0.02",
            "settings edited meanwhile are read from the next version on: train.lr 0.05 → 0.02",
        ),
        ("note: the end", "note: an end", None),
    ],
)
def test_edits_during_an_interruption_are_told(
    old: str, new: str, expected: str | None, tmp_path: Path
) -> None:
    """When the command goes on, not after hours of it."""
    spec, report = tiny.make(tmp_path / "spec"), tiny.Counting()
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=2))
    tiny.edit(spec, old, new)
    tiny.step(spec, report)
    told = [line for line in report.lines if "edited meanwhile" in line and "stays; version" not in line]
    assert (expected is not None) == bool(told)
    assert expected is None or told[0].startswith(expected)
    assert report.lines.index("continuing version 1 (fit)") == 0


def test_a_command_of_a_gpu_goes_on_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it is one line with what to do, exit code 2; the slot stays, and --discard begins anew."""
    spec = tiny.make(tmp_path / "spec")
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=2))
    store, key = store_folder(spec), spec_key(spec)
    slot = read_slot(store, key)
    assert slot is not None
    numerics = {**slot.data["numerics"], "device": "cuda", "deterministic": False}
    write_slot(store, key, slot.goal, slot.tensors, {**slot.data, "numerics": numerics})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"computed on cuda, and there is none here; .*--discard it$"):
        tiny.step(spec)
    assert read_slot(store, key) is not None
    assert 1 == tiny.step(spec, discard=True)[0].version


def test_a_sibling_version_is_not_taken_for_the_saved_one(tmp_path: Path) -> None:
    """Another branch's version of the same number and parent does not end an interrupted step silently."""
    spec = prepared(tmp_path, tiny.DENSE, 1)
    sibling = spec.with_name("sibling.yaml")
    sibling.write_text(spec.read_text().replace("lr: 0.05", "lr: 0.01"))
    tiny.step(sibling)
    assert stopped(tiny.step, spec, tiny.Counting(2))
    spec.write_bytes(sibling.read_bytes())
    with pytest.raises(InputError, match="--discard"):
        tiny.step(spec)
