"""The flatness test against a slow reference, its figures, and exact resuming."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from nhnas.spec.config import Search
from nhnas.trainer.flatness import Flatness, FlatnessSettings
from nhnas.trainer.phases import fit_settings

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]
Verdict = tuple[str, float | None]

SEEDS = 100


def decay(epochs: Floats, tau: float, floor: float = 1.0) -> Floats:
    """A loss that falls by 1, with time constant tau in epochs, to its floor."""
    return floor + np.exp(-epochs / tau)


def flat(epochs: Floats) -> Floats:
    """A loss that does not fall."""
    return np.ones_like(epochs)


def losses(curve: Curve, batches: int, epochs: int, sigma: float, seed: int) -> list[float]:
    """Batch losses: the curve plus sigma·N(0, 1), independent from batch to batch."""
    t = np.arange(batches * epochs) / batches
    noise: list[float] = (curve(t) + sigma * np.random.default_rng(seed).standard_normal(t.size)).tolist()
    return noise


def watch(settings: FlatnessSettings, values: list[float]) -> Flatness:
    """A watcher that has seen the losses up to its stop."""
    watcher = Flatness(settings)
    for value in values:
        if watcher.observe(value):
            break
    return watcher


def stop_epochs(curve: Curve, batches: int, sigma: float, seeds: range) -> list[float]:
    """Where each seed stops, in epochs, with more epochs allowed than should be needed."""
    settings = FlatnessSettings(batches, 1, 12)
    runs = (watch(settings, losses(curve, batches, 12, sigma, seed)) for seed in seeds)
    return [run.batches / batches for run in runs]


@pytest.mark.parametrize("batches", [60, 391, 1563])
@pytest.mark.parametrize(
    ("curve", "low", "high"),
    [(partial(decay, tau=0.5), 3.0, 6.0), (partial(decay, tau=1.0), 4.0, 10.0), (flat, 1.0, 2.5)],
    ids=["half", "one", "flat"],
)
def test_every_seed_stops_within_the_figures(batches: int, curve: Curve, low: float, high: float) -> None:
    """100 of 100 seeds stop in the interval of DESIGN §6, with noise of 5, 10, 15 and 20% of the fall."""
    stops = [
        stop
        for part, sigma in enumerate((0.05, 0.10, 0.15, 0.20))
        for stop in stop_epochs(curve, batches, sigma, range(part, SEEDS, 4))
    ]
    assert len(stops) == SEEDS
    assert low <= min(stops)
    assert high >= max(stops)


@pytest.mark.parametrize(("tau", "low", "high"), [(0.5, 3.0, 6.0), (1.0, 4.0, 10.0)])
def test_noise_of_a_third_of_the_fall_is_borne_at_391_batches(tau: float, low: float, high: float) -> None:
    """With ordinary epochs the figures hold in noise of a third of what the loss falls by."""
    stops = stop_epochs(partial(decay, tau=tau), 391, 1 / 3, range(20))
    assert low <= min(stops)
    assert high >= max(stops)


def test_neither_scale_nor_offset_of_the_loss_matters() -> None:
    """A loss measured in other units stops at the same batch."""
    settings = FlatnessSettings(60, 1, 12)
    values = losses(partial(decay, tau=0.5), 60, 12, 0.1, 3)
    other = [1024.0 * value - 4096.0 for value in values]
    assert watch(settings, values).batches == watch(settings, other).batches


def test_without_noise_the_loss_is_flat_at_once_or_never_too_early() -> None:
    """A constant loss stops after the first epoch; a smooth exponential is not called noise."""
    for loss in (2.0, 0.6931471824645996, 2.302585, 1e-8, 0.0):
        found = [watch(FlatnessSettings(n, 1, 400), [loss] * 400 * n).batches for n in (1, 7, 25, 60, 100)]
        assert [20, 20, 40, 60, 100] == found  # tests are 20 batches apart, or a quarter of an epoch
    smooth = watch(FlatnessSettings(100, 1, 12), losses(partial(decay, tau=0.5), 100, 12, 0.0, 0))
    assert smooth.verdict is not None
    assert smooth.verdict.startswith("flat: a=")


def test_the_fit_lasts_at_least_min_epochs() -> None:
    """A flat loss does not end the fit before min_epochs."""
    assert watch(FlatnessSettings(60, 3, 9), losses(flat, 60, 9, 0.1, 0)).batches >= 180


@pytest.mark.parametrize("mode", ["auto", "authors"])
@pytest.mark.parametrize("batches", [7, 60])
def test_max_epochs_ends_a_steady_fall(mode: Literal["auto", "authors"], batches: int) -> None:
    """A loss that falls along a line is never flat and stops with the last batch of max_epochs."""
    values = [10.0 - 0.01 * i for i in range(batches * 30)]
    watcher = watch(FlatnessSettings(batches, 1, 20, mode), values)
    assert (batches * 20, "max_epochs") == (watcher.batches, watcher.verdict)


@pytest.mark.parametrize("mode", ["auto", "authors"])
@pytest.mark.parametrize("stop", [0, 1, 19, 20, 63, 150])
def test_a_state_saved_at_any_batch_goes_on_exactly(mode: Literal["auto", "authors"], stop: int) -> None:
    """Through JSON text and back, the rest of the losses leads to the very same state."""
    settings = FlatnessSettings(60, 1, 6, mode)
    values = losses(partial(decay, tau=0.5), 60, 6, 0.2, 5)
    first = Flatness(settings)
    for value in values[:stop]:
        first.observe(value)
    second = Flatness.from_json(json.loads(json.dumps(first.to_json())))
    for value in values[stop:]:
        assert first.observe(value) == second.observe(value)
    assert first == second


def test_the_authors_fit_finds_the_numbers_it_was_made_from() -> None:
    """In `authors` mode scale, exponent and offset of a curve of their shape are recovered."""
    watcher = Flatness(FlatnessSettings(100, 1, 2, "authors"))
    watcher.times = list(range(0, 201, 5))
    x = np.linspace(0.0, 1.0, 41)
    watcher.curve = (3.0 * np.exp(-4.0 * x) * (1.0 - x) + 0.7).tolist()
    fit = watcher.fitted()
    assert fit is not None
    assert (-4.0, 3.0, 0.7) == pytest.approx((fit.a, fit.scale, fit.offset), abs=1e-2)


def test_a_watcher_without_a_fall_has_nothing_to_plot() -> None:
    """Before the third point, and where the curve has not fallen, there is no fit."""
    watcher = Flatness(FlatnessSettings(100, 1, 2))
    assert watcher.fitted() is None
    for value in range(100):
        watcher.observe(float(value))
    assert watcher.fitted() is None


CASES = [
    (batches, tau, sigma, mode, seed)
    for seed, (batches, tau, sigma) in enumerate(
        [(7, 5.0, 0.1), (60, 0.5, 0.1), (60, 1.0, 0.3), (83, 0.3, 0.02), (100, 1e9, 0.2), (130, 2.0, 0.5)]
    )
    for mode in ("auto", "authors")
] + [(60, 0.5, 0.3, "auto", seed) for seed in range(20, 32)]


@pytest.mark.parametrize(("batches", "tau", "sigma", "mode", "seed"), CASES)
def test_the_verdict_is_that_of_the_formulas(
    batches: int, tau: float, sigma: float, mode: Literal["auto", "authors"], seed: int
) -> None:
    """Batch of the stop and reason agree with a reference that keeps all losses and computes anew."""
    settings = FlatnessSettings(batches, 1, 10, mode)
    values = losses(partial(decay, tau=tau), batches, 10, sigma, seed)
    watcher = watch(settings, values)
    expected = next(
        (count, verdict)
        for count in range(1, len(values) + 1)
        if (verdict := reference(settings, values[:count])) is not None
    )
    count, (reason, a) = expected
    said, _, found = (watcher.verdict or "").partition("=")
    assert (count, reason) == (watcher.batches, said)
    assert a == pytest.approx(float(found) if found else None, abs=0.02)


def reference(settings: FlatnessSettings, values: list[float]) -> Verdict | None:
    """The rule at the last of these losses, with loops, from all of them (module's docstring)."""
    per_epoch, n = settings.batches_per_epoch, len(values)
    q = max(per_epoch / 4, 20)
    last = n == settings.max_epochs * per_epoch
    tests = {math.floor(k * q) for k in range(1, n + 1)}
    if (n in tests or last) and n >= settings.min_epochs * per_epoch:
        spacing = max(1, round(q / 10))
        times = [t for t in range(1, n + 1) if t >= q / 2 and (t % spacing == 0 or t in tests)]
        verdict = reference_verdict(settings.mode, q, times, values)
        if verdict is not None:
            return verdict
    return ("max_epochs", None) if last else None


def reference_verdict(mode: str, q: float, times: list[int], values: list[float]) -> Verdict | None:
    """The verdict on a curve with points at `times`."""
    averages = all_averages(values, 0.999 if mode == "authors" else math.exp(-1 / q), mode == "auto")
    curve = [averages[t - 1] for t in times]
    if mode == "auto" and within_noise(q, times, curve, values):
        return "flat: within noise", None
    top = curve.index(max(curve))
    times, curve = times[top:], curve[top:]
    if (mode == "auto" and times[-1] - times[0] < 4 * q) or len(times) < 3:
        return None
    x = [(t - times[0]) / (times[-1] - times[0]) for t in times]
    if mode == "auto":
        span = curve[0] - min(curve)
        y = [max(-1.1, min(1.1, (value - curve[-1]) / span)) for value in curve]
        a = best_exponent(x, y, free_scale=False)
    else:
        a = best_exponent(x, curve, free_scale=True)
    return ("flat: a", a) if a < -5 else None


def within_noise(q: float, times: list[int], curve: list[float], values: list[float]) -> bool:
    """Whether no point lies further above the last than its error allows."""
    earlier = [t for t in times if times[-1] - t >= 2 * q]
    start = earlier[-1] if earlier else times[0]
    squares = [(values[i] - values[i - 1]) ** 2 for i in range(start, times[-1])]
    variance = sum(squares) / len(squares) / 2
    error = math.sqrt(variance / (2 * q))
    growth = min(max(len(values) / (3 * q), 1), 1.75)
    for t, value in zip(times, curve, strict=True):
        if value - curve[-1] > 2 * growth * error * math.sqrt(1 + 1 / math.tanh(t / (2 * q))):
            return False
    return True


def all_averages(values: list[float], factor: float, unbiased: bool) -> list[float]:
    """The moving average after each loss."""
    averages, total, weight = [], 0.0, 0.0
    for i, value in enumerate(values):
        step = 1 - factor if unbiased or i else 1.0
        total, weight = total + step * (value - total), weight + step * (1 - weight)
        averages.append(total / weight)
    return averages


def best_exponent(x: list[float], y: list[float], free_scale: bool) -> float:
    """Least squares in a, in [-60, 20], by trying every half, then ever finer steps around the best."""
    candidates = [a / 2 for a in range(-120, 41)]
    for step in (0.05, 0.005, 0.0005):
        best = min(candidates, key=lambda a: misfit(a, x, y, free_scale))
        candidates = [min(max(best + i * step, -60.0), 20.0) for i in range(-12, 13)]
    return min(candidates, key=lambda a: misfit(a, x, y, free_scale))


def misfit(a: float, x: list[float], y: list[float], free_scale: bool) -> float:
    """Sum of squares left by scale·e^{ax}(1-x) + offset with the best offset (and scale ≥ 0)."""
    shape = [math.exp(a * u) * (1 - u) for u in x]
    mean_shape, mean_y = sum(shape) / len(x), sum(y) / len(x)
    scale = 1.0
    if free_scale:
        covariance = sum((s - mean_shape) * (v - mean_y) for s, v in zip(shape, y, strict=True))
        scale = max(covariance / sum((s - mean_shape) ** 2 for s in shape), 0.0)
    offset = mean_y - scale * mean_shape
    return sum((scale * s + offset - v) ** 2 for s, v in zip(shape, y, strict=True))


def test_min_epochs_above_max_epochs_are_the_most() -> None:
    """A fit of at least 20 epochs does not end after the 10 that are the default of `max_epochs`."""
    settings = fit_settings(Search(min_epochs=20), 7)
    watcher = watch(settings, [10.0 - 0.01 * i for i in range(7 * 30)])
    assert (7 * 20, "max_epochs") == (watcher.batches, watcher.verdict)


def test_a_spec_chooses_the_test_of_flatness() -> None:
    """`flat: authors` is theirs."""
    assert ["auto", "authors"] == [fit_settings(Search(flat=m), 5).mode for m in ("auto", "authors")]


@pytest.mark.parametrize("seed", range(12))
def test_flat_losses_of_short_epochs_stop_where_the_formulas_say(seed: int) -> None:
    """Seven batches an epoch are tested from the first epoch on, long before 3q batches are seen."""
    settings = FlatnessSettings(7, 1, 12)
    values = losses(flat, 7, 12, 0.2, seed)
    watcher = watch(settings, values)
    first = next(n for n in range(1, len(values) + 1) if reference(settings, values[:n]) is not None)
    assert first == watcher.batches
