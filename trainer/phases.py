"""The kinds of training: fit until the loss is flat, fade what leaves, follow a schedule (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nhnas.compiler.network import Network
from nhnas.spec.config import Search, Train
from nhnas.trainer.fading import Fading
from nhnas.trainer.flatness import Flatness, FlatnessSettings
from nhnas.trainer.importance import ImportanceMeter, Measured
from nhnas.trainer.schedules import scheduled, warmed_up

Saved = tuple[dict[str, Any], dict[str, dict[str, Tensor]]]
METER, COMPLETE, INITIAL = "meter", "complete_epoch", "fade_initial"


class Fit:
    """Train until the loss is flat, measuring importance; what counts is the last complete epoch."""

    name = "fit"

    def __init__(
        self, network: Network, sites: frozenset[str], settings: FlatnessSettings, lr: float, warmup: float
    ):
        self._lr, self._warmup = lr, warmup
        self.flatness = Flatness(settings)
        self._meter, self._complete = ImportanceMeter(), ImportanceMeter()
        self._probe = network.probe
        self._probe.observer, self._probe.sites = self._meter.observe, sites

    def load(self, data: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `state` gave."""
        self.flatness = Flatness.from_json(data["flatness"])
        self._meter.load(tensors[METER])
        self._complete.load(tensors[COMPLETE])

    def lr(self, done: int) -> float:
        """Constant after a quadratic warm-up."""
        return warmed_up(self._lr, done, self._warmup)

    def after_batch(self, loss: float, _done: int) -> None:
        """Watch the loss."""
        self.flatness.observe(loss)

    def after_epoch(self, complete: bool) -> None:
        """Keep the measurement of a complete epoch."""
        if complete:
            self._complete.load(self._meter.state())
        self._meter.reset()

    def finished(self, _done: int) -> bool:
        """Whether the loss is flat, or max_epochs are over."""
        return self.flatness.should_stop

    def state(self) -> Saved:
        """Flatness as numbers; both measurements as tensors."""
        tensors = {METER: self._meter.state(), COMPLETE: self._complete.state()}
        return {"flatness": self.flatness.to_json()}, tensors

    def close(self) -> None:
        """Stop looking at the network: what comes next need not pay for it."""
        self._probe.observer = None

    def measured(self) -> dict[str, Measured]:
        """Sensitivity and share of positive activations, by site, of the last complete epoch."""
        return self._complete.result()


class Fade:
    """Fade what leaves over `fade` batches, then let the rest settle for `settle` batches."""

    name = "fade"

    def __init__(self, fading: Fading, fade: int, settle: int, lr: float, warmup: float) -> None:
        self.fading = fading
        self._fade, self._settle, self._lr, self._warmup = fade, settle, lr, warmup

    def lr(self, done: int) -> float:
        """Constant after a quadratic warm-up."""
        return warmed_up(self._lr, done, self._warmup)

    def after_batch(self, _loss: float, done: int) -> None:
        """Set all that fades for the progress so far."""
        self.fading.hold(done / self._fade if self._fade else 1.0)

    def after_epoch(self, complete: bool) -> None:
        """Nothing is measured while neurons fade."""

    def finished(self, done: int) -> bool:
        """Whether all batches are over."""
        return done >= self._fade + self._settle

    def state(self) -> Saved:
        """The initial values of what fades."""
        return {}, {INITIAL: self.fading.initial}


@dataclass(frozen=True)
class Follow:
    """Train for `total` batches along the spec's schedule, without a change of the architecture."""

    train: Train
    total: int
    warmup: float
    name: str = "train"

    def lr(self, done: int) -> float:
        """`train.schedule` over `total` batches."""
        return scheduled(self.train.schedule, self.train.lr, done, self.total, self.warmup)

    def after_batch(self, loss: float, done: int) -> None:
        """Nothing but training happens."""

    def after_epoch(self, complete: bool) -> None:
        """Nothing is measured."""

    def finished(self, done: int) -> bool:
        """Whether all batches are over."""
        return done >= self.total

    def state(self) -> Saved:
        """Progress alone says where it is."""
        return {}, {}


def fit_settings(search: Search, batches_per_epoch: int) -> FlatnessSettings:
    """The flatness test that a spec asks for."""
    return FlatnessSettings(
        batches_per_epoch=batches_per_epoch,
        min_epochs=search.min_epochs,
        max_epochs=max(search.max_epochs, search.min_epochs),
        mode=search.flat,
    )
