"""NaN and infinity: nothing of the kind is ever saved, and training goes back to its last good point."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nhnas.trainer.engine as engine_module
import nhnas.work as work_module
from nhnas import measuring
from nhnas.compiler.store import load_snapshot
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError, Interrupted, TrainingError
from nhnas.trainer.engine import Engine
from nhnas.trainer.evaluate import outputs_of
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")

Place = tuple[int, int]
"""Epoch of the version, batch of the epoch."""
Poison = Callable[[Engine, pytest.MonkeyPatch], None]

CONV = tiny.CONV.replace("max_epochs: 2", "max_epochs: 2, min_epochs: 2")


def loss(_engine: Engine, patch: pytest.MonkeyPatch) -> None:
    """The loss of the batch is infinite."""
    honest = engine_module.loss_of
    patch.setattr(engine_module, "loss_of", lambda *arguments: honest(*arguments) * float("inf"))


def gradient(engine: Engine, _patch: pytest.MonkeyPatch) -> None:
    """One cell of one gradient is NaN, while the loss is finite."""

    def spoil(found: Tensor) -> Tensor:
        handle.remove()
        return found.index_fill(0, torch.tensor([0]), float("nan"))

    handle = next(iter(engine.network.trained().values())).register_hook(spoil)  # type: ignore[no-untyped-call]


def weight(engine: Engine, _patch: pytest.MonkeyPatch) -> None:
    """One cell of a weight is infinite."""
    with torch.no_grad():
        next(iter(engine.network.trained().values())).view(-1)[0] = float("inf")


def statistics(engine: Engine, _patch: pytest.MonkeyPatch) -> None:
    """A running variance is NaN, which no loss shows in training mode."""
    name = next(name for name in engine.network.tensors() if name.endswith("running_var"))
    engine.network.tensors()[name].data[0] = float("nan")


def optimizer(engine: Engine, _patch: pytest.MonkeyPatch) -> None:
    """A moment is NaN."""
    state = engine.optimizer.state()
    state[next(key for key in state if key.endswith(":exp_avg"))].view(-1)[0] = float("nan")
    engine.optimizer.load(state)


POISONS: dict[str, Poison] = {f.__name__: f for f in (loss, gradient, weight, statistics, optimizer)}


def poisoned(monkeypatch: pytest.MonkeyPatch, poison: Poison, place: Place, always: bool) -> None:
    """Training meets `poison` at `place`: as long as the rate is whole, or `always`."""
    honest = Engine.train_batch

    def train_batch(self: Engine, batch: Any, epoch: int, lr: float) -> Any:
        with monkeypatch.context() as patch:
            if (epoch, batch.index) == place and (always or self.rate == 1.0):
                poison(self, patch)
            return honest(self, batch, epoch, lr)

    monkeypatch.setattr(Engine, "train_batch", train_batch)


def places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Where all batches of an undisturbed step are."""
    seen: list[Place] = []
    honest = Engine.train_batch

    def train_batch(self: Engine, batch: Any, epoch: int, lr: float) -> Any:
        seen.append((epoch, batch.index))
        return honest(self, batch, epoch, lr)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train_batch", train_batch)
        tiny.step(tiny.make(folder, CONV))
    return seen


def is_finite(spec: Path) -> bool:
    """Whether every number of the snapshot is one."""
    snapshot = load_snapshot(spec.parent / ".nhnas", read_document(spec).state or "")
    tensors = [*snapshot.weights.values(), *snapshot.optimizer.values()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", POISONS)
def test_a_passing_poison_costs_at_most_an_epoch(
    kind: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back to the last good point with half the rate: the step ends, and all that it saves is finite."""
    every = places(tmp_path / "clean", monkeypatch)
    place = every[{"first": 0, "middle": len(every) // 2, "last": -1}[where]]
    poisoned(monkeypatch, POISONS[kind], place, always=False)
    spec, report = tiny.make(tmp_path / "work", CONV), tiny.Counting()
    (saved,) = tiny.step(spec, report)
    (line,) = [line for line in report.lines if "back to the last good point" in line]
    assert line.endswith("learning rate halved (1 of 3)")
    assert (1, True) == (saved.version, is_finite(spec))
    assert report.batches <= len(every) + 3 * 2  # the rate may end a fit an epoch later
    rates = [record["lr"] for record in load_metrics(spec)]
    assert min(rates) <= 0.005


def load_metrics(spec: Path) -> list[dict[str, Any]]:
    """A record an epoch of the version that the file names."""
    return load_snapshot(spec.parent / ".nhnas", read_document(spec).state or "").metrics


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("kind", POISONS)
def test_a_poison_that_stays_ends_with_4_and_the_version_before(
    kind: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third rollback; every file is as it was, and no slot is left."""
    every = places(tmp_path / "clean", monkeypatch)
    spec = tiny.make(tmp_path / "work", CONV)
    tiny.step(spec)
    before = tiny.outcome(spec)
    place = every[{"first": 0, "middle": len(every) // 2, "last": -1}[where]]
    poisoned(monkeypatch, POISONS[kind], place, always=True)
    report = tiny.Counting()
    with pytest.raises(
        TrainingError, match=r"after 3 rollbacks, each at half the rate; nothing was"
    ) as caught:
        tiny.step(spec, report)
    assert (4, 3) == (caught.value.exit_code, sum("back to the last" in line for line in report.lines))
    assert before == tiny.outcome(spec)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("what", ["x", "y"])
@pytest.mark.parametrize("sample", [0, 11, 23])
def test_data_that_are_not_finite_end_at_once(sample: int, what: str, split: str, tmp_path: Path) -> None:
    """Exit code 2 with the sample's number, before anything is trained or written."""
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("train: {", "train: {loss: mse, "))
    n = {"train": 24, "test": 40}[split]
    (spec.parent / "mydata.py").write_text(
        "import torch\nfrom nhnas.trainer.datasets import Dataset, Split\n"
        "def split(n, bad):\n    x, y = torch.rand(n, 2), torch.rand(n, 2)\n"
        f"    if bad: {what}[{sample}, 1] = float('nan')\n    return Split(x, y)\n"
        "def points():\n"
        f"    return Dataset('points', train=split(24, {n == 24}), test=split(40, {n == 40}))\n"
    )
    before = tiny.outcome(spec)
    with pytest.raises(InputError, match=f"of sample {sample} is NaN or infinite"):
        tiny.step(spec)
    assert {**before, ".nhnas/.gitignore": b"*\n"} == tiny.outcome(spec)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_rollback_leads_to_the_same_bytes_wherever_the_step_was_interrupted(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before, at and after the batch that is poisoned: the good point is that between two epochs."""
    poisoned(monkeypatch, loss, (1, 1), always=False)
    whole = tiny.make(tmp_path / "whole", CONV)
    tiny.step(whole)
    cut = tiny.make(tmp_path / "cut", CONV)
    with pytest.raises(Interrupted):
        tiny.step(cut, tiny.Counting(batch=stop))
    tiny.step(cut)
    assert tiny.outcome(whole) == tiny.outcome(cut)


def test_saving_within_an_epoch_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ten minutes are over at every batch, the bytes are the same, and there are at most two slots."""
    whole = tiny.make(tmp_path / "whole", CONV)
    tiny.step(whole)
    monkeypatch.setattr(work_module, "SAVE_SECONDS", -1.0)
    often = tiny.make(tmp_path / "often", CONV)
    slots = set[frozenset[str]]()

    class Looking(tiny.Counting):
        def batch(self, *arguments: Any, **options: Any) -> None:
            """Look at the slots."""
            super().batch(*arguments, **options)
            folder = often.parent / ".nhnas" / "slots" / "spec.yaml"
            slots.add(frozenset(name.partition(".")[2] for name in os.listdir(folder)))

    tiny.step(often, Looking())
    assert tiny.outcome(whole) == tiny.outcome(often)
    assert {frozenset(["slot"]), frozenset(["slot", "midway.slot"])} == slots


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_out_of_memory_undoes_the_growth_and_says_so(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before stays, no slot is left, and the line says what to lower."""
    spec = tiny.make(tmp_path / "work", CONV)
    tiny.step(spec)
    before = tiny.outcome(spec)

    def fails(_engine: Engine, _patch: pytest.MonkeyPatch) -> None:
        raise error

    with monkeypatch.context() as patch:
        poisoned(patch, fails, (0, 1), always=True)
        with pytest.raises(
            TrainingError, match=r"^out of memory with [\d,]+ parameters; what grew is undone"
        ):
            tiny.step(spec)
    assert before == tiny.outcome(spec)
    assert 2 == tiny.step(spec)[0].version


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_before_the_first_batch(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement of the next version needs the most: one line, exit code 4, and nothing is lost.

    A step has grown by then, `train` has not.
    """
    spec = tiny.make(tmp_path / "work", CONV)
    tiny.step(spec)
    before = tiny.outcome(spec)

    def fails(*_arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measured", fails)
        with pytest.raises(
            TrainingError, match=r"^out of memory before version 2 began to train; nothing is"
        ):
            tiny.train(spec)
        with pytest.raises(
            TrainingError, match=r"^out of memory with [\d,]+ parameters; what grew is undone"
        ):
            tiny.step(spec)
    assert before == tiny.outcome(spec)
    assert 2 == tiny.step(spec)[0].version


def test_a_bug_before_the_first_batch_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only running out of memory is the user's to solve."""

    def fails(*_arguments: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(measuring, "measured", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        tiny.step(tiny.make(tmp_path / "work", CONV))


@pytest.mark.parametrize("evaluate", ["", ", evaluate: true"])
def test_a_training_that_diverges_ends_alike_with_figures_of_the_test_set(
    evaluate: str, tmp_path: Path
) -> None:
    """Weights that are finite while the test loss is not: `train.evaluate` decides nothing, exit code 4."""
    text = tiny.DENSE.replace("lr: 0.05, batch: 8", f"lr: 1.0e+20, batch: 24{evaluate}")
    with pytest.raises(TrainingError, match=r"^the loss .* after 3 rollbacks") as caught:
        tiny.train(tiny.make(tmp_path / "work", text), epochs=3)
    assert 4 == caught.value.exit_code


def test_outputs_that_overflow_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the output that is no number ends the command in one line, exit code 4."""
    monkeypatch.setattr(work_module, "outputs_of", lambda *given: outputs_of(*given) * float("inf"))
    with pytest.raises(TrainingError, match=r"^the outputs are not finite \(grow\)"):
        tiny.step(tiny.make(tmp_path / "work", CONV))


def test_another_error_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only running out of memory is the user's to solve."""

    def fails(_engine: Engine, _patch: pytest.MonkeyPatch) -> None:
        raise RuntimeError("a bug")

    poisoned(monkeypatch, fails, (0, 0), always=True)
    with pytest.raises(RuntimeError, match="a bug"):
        tiny.step(tiny.make(tmp_path / "work", CONV))
