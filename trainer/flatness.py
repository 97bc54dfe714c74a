"""When has the loss flattened? (DESIGN §6 Fit; paper, section 2)

The batch losses are smoothed by an exponential moving average with time constant
q = max(¼ epoch, 20 batches), divided by the sum of its weights so that it starts unbiased. A tenth
of q apart, the average is written down: that is the *curve*. Every q it is judged:

1. Within noise? Consecutive losses differ by noise alone, hardly by the trend, so half their mean
   squared difference is the variance of one loss, and over half an epoch (2q batches, so that short
   epochs are no exception) the standard error is s = √(variance/2q). The average has exactly that
   error in the end and √coth(t/2q) times as much after t batches. A fall from the point at t to
   the last one is noise where it is below twice its own standard error, s·√(1 + coth(t/2q)). The
   largest of ever more noisy falls exceeds any fixed bound sooner or later, and a flat loss has to
   be seen as flat by 2½ epochs: the bound therefore grows with the batches seen, from t = 3q to
   1.75 times as much (with a fixed bound 1 flat loss in 500 went on, with this one 1 in 10,000).
2. Otherwise the curve from its maximum on, if it is at least 4q long, is compared with
   y = e^{ax}(1-x) + c: flat when a < -5. y = (L - L_last)/(L₀ - L_min) clamped to ±1.1, x in
   [0, 1]. The offset c, free in the fit, takes up the noise of the single point L_last; without
   it the times at which noisy losses stop spread by half as much again.

Stop when flat and `min_epochs` are done, or at `max_epochs`.

`authors`: an average with factor 0.999 a batch that starts at the first loss, and a, b, c fitted
in L = b·e^{ax}(1-x) + c over the curve from its maximum on; flat when a < -5, without a test of noise. For
comparison only: with a growth that preserves the function it never fires or fires on noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT = -5.0
POINTS_PER_Q = 10
SHORTEST_CURVE = 4.0
"""Below this length, in q, the curve holds too few independent points for its shape to count."""
AUTHORS_DECAY = 0.999
ROUNDED = 1e-12
"""Share of the loss by which averages of the same losses may differ, since each is rounded."""
LOWEST, HIGHEST = -60.0, 20.0
"""Range in which a is sought."""


@dataclass(frozen=True)
class FlatnessSettings:
    """`batches_per_epoch` at least 1; epochs count from the start of the fit."""

    batches_per_epoch: int
    min_epochs: int
    max_epochs: int
    mode: Literal["auto", "authors"] = "auto"

    @property
    def q(self) -> float:
        """Time constant of the smoothing and distance of the tests, in batches."""
        return max(self.batches_per_epoch / 4, 20.0)


@dataclass(frozen=True)
class FittedCurve:
    """The last shape that was judged: points x in [0, 1], y, and y ≈ scale·e^{ax}(1-x) + offset."""

    x: Floats
    y: Floats
    a: float
    scale: float
    offset: float


@dataclass
class Flatness:
    """Watches one fit; everything it knows is in plain numbers, so it can stop and go on anywhere."""

    settings: FlatnessSettings
    batches: int = 0
    smooth: float = 0.0
    """Unnormalised moving average; `weight` is the sum of its weights."""
    weight: float = 0.0
    previous: float = 0.0
    squares: float = 0.0
    """Sum of squared differences of consecutive losses since the curve's last point."""
    times: list[int] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    """`squares` of each point of the curve."""
    verdict: str | None = None
    """Why the fit is over (`flat: …` or `max_epochs`), None while it goes on."""

    @property
    def should_stop(self) -> bool:
        """Whether the loss has flattened, or the time is up."""
        return self.verdict is not None

    def __post_init__(self) -> None:
        # looked up here once, because `observe` runs at every batch; not part of the state
        self._q = self.settings.q
        self._spacing = max(1, round(self._q / POINTS_PER_Q))
        self._last = self.settings.max_epochs * self.settings.batches_per_epoch
        self._factor = AUTHORS_DECAY if self.settings.mode == "authors" else math.exp(-1.0 / self._q)

    def observe(self, loss: float) -> bool:
        """Take in the mean loss of one batch; True when the fit is over. Finite losses only."""
        self._smooth_in(loss)
        is_test = self._is_test()
        if self.batches >= self._q / 2 and (is_test or self.batches % self._spacing == 0):
            self._note_point()
        if is_test or self.batches >= self._last:
            self._judge()
        return self.should_stop

    def fitted(self) -> FittedCurve | None:
        """The curve and its fit as of now, for a plot; None while there are fewer than three points."""
        times, values = self._from_maximum()
        if len(times) < 3 or values[0] <= values.min():
            return None
        x = (times - times[0]) / (times[-1] - times[0])
        if self.settings.mode == "authors":
            return _fit(x, values, scale=None)
        y = np.clip((values - values[-1]) / (values[0] - values.min()), -1.1, 1.1)
        return _fit(x, y, scale=1.0)

    def to_json(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists; `from_json` restores it exactly."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also after a trip through JSON text."""
        return cls(**{**state, "settings": FlatnessSettings(**state["settings"])})

    def _smooth_in(self, loss: float) -> None:
        keep = self._factor
        if self.batches:
            self.squares += (loss - self.previous) ** 2
        elif self.settings.mode == "authors":
            keep = 0.0  # their average starts at the first loss
        self.batches += 1
        self.previous = loss
        self.smooth = keep * self.smooth + (1.0 - keep) * loss
        self.weight = keep * self.weight + (1.0 - keep)

    def _is_test(self) -> bool:
        """Whether a multiple of q, rounded down, is now."""
        return math.ceil((self.batches + 1) / self._q) > math.ceil(self.batches / self._q)

    def _note_point(self) -> None:
        self.times.append(self.batches)
        self.curve.append(self.smooth / self.weight)
        self.noise.append(self.squares)
        self.squares = 0.0

    def _judge(self) -> None:
        epochs = self.batches / self.settings.batches_per_epoch
        if epochs >= self.settings.min_epochs and self.curve:
            self.verdict = self._flat()
        if self.verdict is None and epochs >= self.settings.max_epochs:
            self.verdict = "max_epochs"

    def _flat(self) -> str | None:
        authors = self.settings.mode == "authors"
        if not authors and self._within_noise():
            return "flat: within noise"
        times, _ = self._from_maximum()
        if not authors and times[-1] - times[0] < SHORTEST_CURVE * self._q:
            return None
        fit = self.fitted()
        return f"flat: a={fit.a:.2f}" if fit is not None and fit.a < FLAT else None

    def _from_maximum(self) -> tuple[Floats, Floats]:
        start = int(np.argmax(self.curve)) if self.curve else 0
        return np.array(self.times[start:], dtype=float), np.array(self.curve[start:], dtype=float)

    def _within_noise(self) -> bool:
        times, curve, q = np.array(self.times, dtype=float), np.array(self.curve), self._q
        error = self._standard_error() * np.sqrt(1.0 + 1.0 / np.tanh(times / (2.0 * q)))
        bound = 2.0 * min(max(self.batches / (3.0 * q), 1.0), 1.75)
        return not bool(np.any(curve - curve[-1] > bound * error + ROUNDED * np.abs(curve)))

    def _standard_error(self) -> float:
        """Of the mean raw loss over 2q batches, from the differences of the last 2q batches or more."""
        first = len(self.times) - 1
        while first > 0 and self.times[-1] - self.times[first] < 2.0 * self._q:
            first -= 1
        batches = self.times[-1] - self.times[first]
        if batches == 0:
            return 0.0
        variance = sum(self.noise[first + 1 :]) / batches / 2.0
        return math.sqrt(variance / (2.0 * self._q))


def _fit(x: Floats, y: Floats, scale: float | None) -> FittedCurve:
    """Least squares of y ≈ scale·e^{ax}(1-x) + offset in a, the offset, and the scale if None.

    x, y: [points]. Scale and offset have closed forms for each a; a is sought on ever finer grids.
    """
    low, high = LOWEST, HIGHEST
    for _ in range(5):
        grid = np.linspace(low, high, 33)
        shape = np.exp(grid[:, None] * x) * (1.0 - x)
        scales, offsets = _linear_part(shape, y, scale)
        misfit = ((scales[:, None] * shape + offsets[:, None] - y) ** 2).sum(axis=1)
        best = int(misfit.argmin())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 32)]
    return FittedCurve(x, y, float(grid[best]), float(scales[best]), float(offsets[best]))


def _linear_part(shape: Floats, y: Floats, scale: float | None) -> tuple[Floats, Floats]:
    """Best scale (at least 0) and offset for each row of shape: [grid, points]."""
    means = shape.mean(axis=1)
    if scale is not None:
        scales = np.full(len(shape), scale)
    else:
        centred = shape - means[:, None]
        scales = np.maximum(centred @ (y - y.mean()) / (centred**2).sum(axis=1), 0.0)
    return scales, y.mean() - scales * means
