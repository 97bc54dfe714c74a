"""Running a phase of training, epoch by epoch, so that it can stop and go on at any batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from nhnas.spec.errors import Interrupted
from nhnas.trainer.engine import BatchResult, Engine


class Phase(Protocol):
    """One stretch of training with its own learning rate, side effects and end."""

    @property
    def name(self) -> str:
        """What its records are called."""
        ...

    def lr(self, done: int) -> float:
        """Rate of the next batch when `done` batches of the phase are behind."""
        ...

    def before_batch(self, done: int, /) -> None:
        """Called before every batch when `done` batches of the phase are behind."""
        ...

    def after_batch(self, loss: float, done: int, /) -> None:
        """Called after every optimizer step."""
        ...

    def after_epoch(self, complete: bool) -> None:
        """Called at the end of every epoch; `complete` unless the phase ended inside it."""
        ...

    def finished(self, done: int, /) -> bool:
        """Whether the phase is over."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Plain data and tensors from which an equal phase goes on."""
        ...


@dataclass
class Progress:
    """Where a command is: all that decides what comes next, apart from weights and phase.

    `epoch` counts within the version and keys all randomness; `batch` is the next one of the epoch;
    `done` counts batches of the phase; the sums are over the current epoch.
    """

    epoch: int = 0
    batch: int = 0
    done: int = 0
    loss: float = 0.0
    correct: int = 0
    samples: int = 0

    def add(self, result: BatchResult) -> None:
        """Take in one batch."""
        self.batch += 1
        self.done += 1
        self.loss += result.loss * result.samples
        self.correct += result.correct
        self.samples += result.samples

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.batch, self.loss, self.correct, self.samples = 0, 0.0, 0, 0

    def next_phase(self) -> None:
        """Begin the next phase."""
        self.done = 0

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Hooks:
    """The loop's effects: what to do with an epoch's record, how to save, whether to stop.

    `save` is told whether it is midway through an epoch, and `due` whether such a save is wanted; `stop`
    gives the number of the signal that asked for it, 0 while none did; `batch` is told of every batch (for
    a progress bar).
    """

    epoch: Callable[[dict[str, Any]], None]
    save: Callable[[bool], None]
    due: Callable[[], bool]
    stop: Callable[[], int]
    batch: Callable[[str, int, int, float], None]


def run_phase(engine: Engine, phase: Phase, progress: Progress, hooks: Hooks) -> None:
    """Train until `phase` is over, saving after every epoch.

    Raises Interrupted, with all saved at the current batch, when asked to stop.
    """
    while not phase.finished(progress.done):
        complete = _run_epoch(engine, phase, progress, hooks)
        phase.after_epoch(complete)
        hooks.epoch(_record(engine, phase, progress))
        progress.next_epoch()
        hooks.save(False)
        _check_stop(hooks)


def _run_epoch(engine: Engine, phase: Phase, progress: Progress, hooks: Hooks) -> bool:
    """The rest of the current epoch, or of the phase; True when the epoch came to its end."""
    for batch in engine.batches(progress.epoch, progress.batch):
        phase.before_batch(progress.done)
        result = engine.train_batch(batch, progress.epoch, phase.lr(progress.done))
        progress.add(result)
        phase.after_batch(result.loss, progress.done)
        hooks.batch(phase.name, progress.batch, engine.batch_count, result.loss)
        if progress.batch == engine.batch_count or phase.finished(progress.done):
            break
        if hooks.stop() or hooks.due():
            hooks.save(True)
            _check_stop(hooks)
    return progress.batch == engine.batch_count


def _check_stop(hooks: Hooks) -> None:
    number = hooks.stop()
    if number:
        raise Interrupted("stopped; all is saved, and the same command goes on from here", number)


def _record(engine: Engine, phase: Phase, progress: Progress) -> dict[str, Any]:
    """What is kept of an epoch: running means over its batches."""
    samples = max(progress.samples, 1)
    measure = {"accuracy": progress.correct / samples} if engine.dataset.is_classification else {}
    return {
        "version": engine.version,
        "phase": phase.name,
        "epoch": progress.epoch + 1,
        "batches": progress.batch,
        "lr": phase.lr(max(progress.done - 1, 0)) * engine.rate,
        "loss": progress.loss / samples,
        **measure,
    }
