"""The kinds of training: fit until the loss is flat, fade what leaves, follow a schedule (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor

from nhnas.compiler.network import Network
from nhnas.spec.config import Search, Train
from nhnas.trainer.averaging import WeightAverage
from nhnas.trainer.fading import Fading
from nhnas.trainer.flatness import Flatness, FlatnessSettings
from nhnas.trainer.importance import ImportanceMeter, Measured
from nhnas.trainer.schedules import scheduled, warmed_up
from nhnas.trainer.shortcut_meter import ShortcutMeter

Saved = tuple[dict[str, Any], dict[str, dict[str, Tensor]]]
METER, COMPLETE, INITIAL = "meter", "complete_epoch", "fade_initial"
SHORTCUTS, COMPLETE_SHORTCUTS = "shortcuts", "complete_shortcuts"
AVERAGED, AVERAGE = "averaged", "average"
EVERY, ENOUGH = 4, 100
"""Importance is measured in every fourth batch, or in more, until it is 100 an epoch."""


class Meter(Protocol):
    """Something that adds up over an epoch and survives an interruption."""

    def state(self) -> dict[str, Tensor]:
        """All sums by name."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        ...

    def reset(self) -> None:
        """Begin anew."""
        ...


class Fit:
    """Train until the loss is flat, measuring importance; what counts is the last complete epoch.

    `shortcuts`: measure their shares as well; otherwise they cost nothing and are not in the state. Measured
    is in every so many batches (`measured_batches`).
    """

    name = "fit"

    def __init__(
        self,
        network: Network,
        sites: frozenset[str],
        settings: FlatnessSettings,
        lr: float,
        warmup: float,
        shortcuts: bool = False,
        every: int = 1,
    ):
        self._lr, self._warmup = lr, warmup
        self.flatness = Flatness(settings)
        meter, self._complete = ImportanceMeter(), ImportanceMeter()
        shares, self._shares = ShortcutMeter(), ShortcutMeter()
        self._meters: dict[tuple[str, str], tuple[Meter, Meter]] = {
            (METER, COMPLETE): (meter, self._complete)
        }
        self._probe, self._every = network.probe, every
        self._probe.sites, self._observer, self._comparer = sites, meter.observe, shares.observe
        self._with_shortcuts = shortcuts
        self.before_batch(0)
        if shortcuts:
            self._meters[SHORTCUTS, COMPLETE_SHORTCUTS] = (shares, self._shares)

    def load(self, data: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `state` gave."""
        self.flatness = Flatness.from_json(data["flatness"])
        for name, meter in self._named():
            meter.load(tensors[name])

    def lr(self, done: int) -> float:
        """Constant after a quadratic warm-up."""
        return warmed_up(self._lr, done, self._warmup)

    def before_batch(self, done: int) -> None:
        """Look at the network in some batches, and do not pay for it in the others."""
        looks = done % self._every == 0
        self._probe.observer = self._observer if looks else None
        self._probe.comparer = self._comparer if looks and self._with_shortcuts else None

    def after_batch(self, loss: float, _done: int) -> None:
        """Watch the loss."""
        self.flatness.observe(loss)

    def after_epoch(self, complete: bool) -> None:
        """Keep the measurements of a complete epoch."""
        for meter, kept in self._meters.values():
            if complete:
                kept.load(meter.state())
            meter.reset()

    def finished(self, _done: int) -> bool:
        """Whether the loss is flat, or max_epochs are over."""
        return self.flatness.should_stop

    def state(self) -> Saved:
        """Flatness as numbers; measurements as tensors."""
        return {"flatness": self.flatness.to_json()}, {name: meter.state() for name, meter in self._named()}

    def _named(self) -> Iterator[tuple[str, Meter]]:
        for names, meters in self._meters.items():
            yield from zip(names, meters, strict=True)

    def close(self) -> None:
        """Stop looking at the network: what comes next need not pay for it."""
        self._probe.observer = self._probe.comparer = None

    def measured(self) -> dict[str, Measured]:
        """Sensitivity and share of positive activations, by site, of the last complete epoch."""
        return self._complete.result()

    def shares(self) -> dict[str, float]:
        """Share of the shortcut in each node's output, by path, in the last complete epoch."""
        return self._shares.shares()


class Fade:
    """Fade what leaves over `fade` batches, then let the rest settle for `settle` batches."""

    name = "fade"

    def __init__(self, fading: Fading, fade: int, settle: int, lr: float, warmup: float) -> None:
        self.fading = fading
        self._fade, self._settle, self._lr, self._warmup = fade, settle, lr, warmup

    def lr(self, done: int) -> float:
        """Constant after a quadratic warm-up."""
        return warmed_up(self._lr, done, self._warmup)

    def before_batch(self, done: int) -> None:
        """Nothing is measured while neurons fade."""

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


class Follow:
    """Train for `total` batches along the spec's schedule, without a change of the architecture.

    At the end the network has the mean of its weights over the last `train.average` of the batches.
    """

    name = "train"

    def __init__(self, network: Network, train: Train, total: int, warmup: float) -> None:
        self._train, self._total, self._warmup = train, total, warmup
        self._averaged = round(train.average * total)
        self._average = WeightAverage(network.tensors()) if self._averaged else None

    def load(self, data: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `state` gave."""
        if self._average is not None:
            self._average.load(data[AVERAGED], tensors[AVERAGE])

    def lr(self, done: int) -> float:
        """`train.schedule` over `total` batches."""
        return scheduled(self._train.schedule, self._train.lr, done, self._total, self._warmup)

    def before_batch(self, done: int) -> None:
        """Nothing but training happens."""

    def after_batch(self, _loss: float, done: int) -> None:
        """Take the weights into their mean, near the end."""
        if self._average is not None and done > self._total - self._averaged:
            self._average.add()

    def after_epoch(self, complete: bool) -> None:
        """Nothing is measured."""

    def finished(self, done: int) -> bool:
        """Whether all batches are over."""
        return done >= self._total

    def close(self) -> None:
        """Leave the mean of the weights in the network, where it is asked for."""
        if self._average is not None:
            self._average.finish()

    def state(self) -> Saved:
        """The mean so far; without one, progress alone says where it is."""
        if self._average is None:
            return {}, {}
        return {AVERAGED: self._average.count}, {AVERAGE: self._average.means}


def measured_batches(batches_per_epoch: int) -> int:
    """In every how many batches importance is measured: every fourth, in small data sets more.

    Against all batches every fourth of some 400 keeps a rank correlation of 0.995 (docs/LOG.md) at a
    quarter of the cost; 25 of 100 do not always keep 0.99.
    """
    return max(1, min(EVERY, batches_per_epoch // ENOUGH))


def fit_settings(search: Search, batches_per_epoch: int) -> FlatnessSettings:
    """The flatness test that a spec asks for."""
    return FlatnessSettings(
        batches_per_epoch=batches_per_epoch,
        min_epochs=search.min_epochs,
        max_epochs=max(search.max_epochs, search.min_epochs),
        mode=search.flat,
    )
