"""Figure 5 of the paper: the training loss, where it was found flat, and the curve fitted to a fit.

The test of flatness looks at batch losses, which are not kept. It is replayed here on the means of the
epochs (`nhnas.trainer.flatness`: the same smoothing, the same fit); what the test itself found is told in
words, as it was recorded. On 25 fits of the spirals the replayed a differed by 0.9 in the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from nhnas.plot_panel import Chart, Number, Panel, Series, panel
from nhnas.plot_settings import in_force
from nhnas.plot_track import Epoch, Track, Version
from nhnas.trainer.flatness import SHORTEST_CURVE, FittedCurve, Flatness, FlatnessSettings

PHASES = {"fit": "until flat", "fade": "fading and settling", "train": "training alone"}
FLATNESS, BATCHES = "the test of flatness", "batches since neurons were added"
FORMULA = "fitted: b·e^(ax)·(1 - x) + c"
SAMPLES = 60
"""Points at which a fitted curve is drawn."""


def loss_panel(track: Track) -> Panel:
    """The training loss of every epoch, and how each fit ended: flat, or out of epochs."""
    epochs = [epoch for version in track.versions for epoch in version.epochs]
    phases = [
        Series(words, tuple(e.at for e in epochs), _only(epochs, phase), "curve")
        for phase, words in PHASES.items()
    ]
    ends = [(fit[-1], v.verdict) for v in track.versions if v.verdict is not None and (fit := _fit_of(v))]
    marks = [
        Series(
            words,
            tuple(e.at for e, verdict in ends if verdict.startswith("flat") == flat),
            tuple(e.loss for e, verdict in ends if verdict.startswith("flat") == flat),
            "marks",
        )
        for words, flat in (("found flat", True), ("out of epochs", False))
    ]
    chart = Chart("training loss", (*phases, *marks), log=True)
    return panel("loss", "training loss over epochs", "epochs of the lineage", [chart])


def _only(epochs: Sequence[Epoch], phase: str) -> tuple[Number, ...]:
    return tuple(e.loss if e.phase == phase else None for e in epochs)


def _fit_of(version: Version) -> list[Epoch]:
    return [epoch for epoch in version.epochs if epoch.phase == "fit"]


def flatness_panel(track: Track) -> Panel:
    """The last fit that was flat by its curve, or else has one: losses, smoothed, the fit, and the end."""
    # first those that the shape of the curve ended, the last one first
    candidates = sorted(track.versions, key=lambda v: (not (v.verdict or "").startswith("flat: a"), -v.end))
    for version in candidates:
        watch = _replayed(version, track)
        fitted = watch.fitted()
        if (
            fitted is not None
            and fitted.x.size
            and _length(watch, fitted) >= SHORTEST_CURVE * watch.settings.q
        ):
            return _flatness(version, watch, fitted)
    none = "no fit of this run fell for long enough to be compared with a curve"
    return panel("flatness", FLATNESS, BATCHES, (), none)


def _replayed(version: Version, track: Track) -> Flatness:
    """The test of flatness after a fit each of whose batches had the mean loss of its epoch."""
    fit = _fit_of(version)
    mode = in_force(version, track)[0].flat if fit else "auto"
    never = max(len(fit), 1) + 1
    settings = FlatnessSettings(max((e.batches for e in fit), default=1), never, never, mode)
    watch = Flatness(settings)
    for epoch in fit:
        for _ in range(epoch.batches):
            watch.observe(epoch.loss)
    return watch


def _length(watch: Flatness, fitted: FittedCurve) -> int:
    """Batches from the curve's maximum to its end."""
    return watch.times[-1] - watch.times[-fitted.x.size]


def _flatness(version: Version, watch: Flatness, fitted: FittedCurve) -> Panel:
    fit = _fit_of(version)
    ends = tuple(accumulate(e.batches for e in fit))
    times, curve = watch.times, watch.curve
    start = len(times) - fitted.x.size
    x = np.linspace(times[start], times[-1], SAMPLES)
    y = _heights(fitted, curve[start:], watch.settings.mode)
    losses = Series("mean loss of an epoch", (0, *ends), (*(e.loss for e in fit), fit[-1].loss), "steps")
    drawn = (
        losses,
        Series("smoothed", tuple(times), tuple(curve), "curve"),
        Series(f"{FORMULA}, a = {fitted.a:.2f}", tuple(x.tolist()), tuple(y), "curve"),
        Series("end of the fit", ends[-1:], (curve[-1],), "marks"),
    )
    says = (
        f"version {version.number}, from the means of its epochs; the test itself, by its batch losses, "
        f"which are not kept: {version.verdict}"
    )
    return panel("flatness", FLATNESS, BATCHES, [Chart("training loss", drawn)], says)


def _heights(fitted: FittedCurve, curve: Sequence[float], mode: str) -> list[float]:
    """The fitted curve in units of the loss, at `SAMPLES` points from the maximum of `curve` to its end."""
    x = np.linspace(0.0, 1.0, SAMPLES)
    y = fitted.scale * np.exp(fitted.a * x) * (1.0 - x) + fitted.offset
    if mode != "authors":  # there y is the loss itself, else its share of the fall
        y = curve[-1] + y * (curve[0] - min(curve))
    found: list[float] = y.tolist()
    return found
