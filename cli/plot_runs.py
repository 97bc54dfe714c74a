"""Figures 1, 4, 9 and 10 of the paper: accuracy and size, and both over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from nhnas.plot_baselines import Baseline
from nhnas.plot_panel import Chart, Number, Panel, Series, panel
from nhnas.plot_track import Track, Version
from nhnas.spec.drawing_text import NAME_CELLS, shortened

LABELS = {"parameters": "parameters", "macs": "multiply-accumulates for one sample"}
TITLES = {"parameters": "parameters", "macs": "MACs"}
SHRUNK = 0.8
"""A run whose last version has at most this share of its largest one's parameters went up and came down."""


def size_panel(track: Track, baselines: Sequence[Baseline], count: str) -> Panel:
    """Test accuracy (or error) over `count`, parameters or macs; baselines beside the run (figure 4)."""
    key = track.measure
    ways = _ways(track)
    own = [
        Series(
            track.name if len(ways) == 1 else f"{track.name}, {way}",
            tuple(v.counts[count] for v in versions),
            tuple(v.test.get(key) for v in versions),
        )
        for way, versions in ways
    ]
    others = [_of_baseline(one, count) for one in baselines]
    missing = [
        shortened(one.name, NAME_CELLS) for one, found in zip(baselines, others, strict=True) if not found.x
    ]
    says = f"{count} not known of {', '.join(missing)}" if missing else ""
    return panel(
        count,
        f"test {key} against {TITLES[count]}",
        LABELS[count],
        [Chart(f"test {key}", (*own, *others), log=key == "mse")],
        says,
        True,
    )


def _ways(track: Track) -> list[tuple[str, tuple[Version, ...]]]:
    """The whole run, or the way up to its largest version and the way down from it."""
    sizes = [v.counts["parameters"] for v in track.versions]
    peak = sizes.index(max(sizes))
    if sizes[-1] > SHRUNK * sizes[peak]:
        return [("", track.versions)]
    return [("growing", track.versions[: peak + 1]), ("shrinking", track.versions[peak:])]


def _of_baseline(one: Baseline, count: str) -> Series:
    known = [(point.macs if count == "macs" else point.parameters, point.value) for point in one.points]
    found = [(size, value) for size, value in known if size is not None]
    return Series(one.name, tuple(x for x, _ in found), tuple(y for _, y in found))


def epochs_panel(track: Track) -> Panel:
    """Accuracy (or error) and parameters over the epochs of the lineage (figures 4, 9 and 10)."""
    key = track.measure
    chart = Chart(
        key,
        (
            _over_epochs("test", track, [v.test.get(key) for v in track.versions]),
            *_tested(track),
            _training(track, "training, mean of the epoch"),
        ),
        "parameters",
        (_over_epochs("parameters", track, [v.counts["parameters"] for v in track.versions]),),
        log=key == "mse",
    )
    return panel("epochs", f"{key} and parameters over epochs", "epochs of the lineage", [chart])


def depth_panel(track: Track) -> Panel:
    """The most leaves on a path over epochs; depth10 leaves out residuals with fewer than 10 neurons."""
    counts = {key: [v.counts[key] for v in track.versions] for key in ("depth", "depth10")}
    drawn = tuple(_over_epochs(key, track, values) for key, values in counts.items())
    return panel("depth", "depth over epochs", "epochs of the lineage", [Chart("leaves on a path", drawn)])


def neurons_panel(track: Track) -> Panel:
    """Neurons of all sites but the outputs, over epochs."""
    drawn = _over_epochs("neurons", track, [v.counts["neurons"] for v in track.versions])
    return panel("neurons", "neurons over epochs", "epochs of the lineage", [Chart("neurons", (drawn,))])


def error_panel(track: Track) -> Panel:
    """Training and test error against capacity (figure 1); training: the mean of a version's last epoch."""
    wrong = track.measure == "accuracy"
    sizes = tuple(v.counts["parameters"] for v in track.versions)

    def error(value: Number) -> Number:
        return None if value is None else 1.0 - value if wrong else value

    test = tuple(error(v.test.get(track.measure)) for v in track.versions)
    training = tuple(error(_last_training(v, track.measure)) for v in track.versions)
    drawn = (Series("test", sizes, test, "points"), Series("training", sizes, training, "points"))
    label = "share of wrong answers" if wrong else "mse"
    chart = Chart(label, drawn, log=True)
    says = "training: running mean over a version's last epoch, as it was trained"
    says = says if any(y is not None for y in training) else ""
    return panel("error", "error against capacity", "parameters", [chart], says, True)


def _over_epochs(name: str, track: Track, values: Sequence[Number]) -> Series:
    return Series(name, tuple(v.end for v in track.versions), tuple(values))


def _training(track: Track, name: str) -> Series:
    """Of every epoch, with a gap between versions that do not follow each other."""
    records = [epoch for version in track.versions for epoch in version.epochs]
    is_accuracy = track.measure == "accuracy"
    values = tuple(e.accuracy if is_accuracy else e.loss if e.accuracy is None else None for e in records)
    return Series(name, tuple(e.at for e in records), values, "curve")


def _tested(track: Track) -> list[Series]:
    """The test set after every epoch, where `train.evaluate` asked for it."""
    records = [epoch for version in track.versions for epoch in version.epochs]
    values = tuple(epoch.test.get(track.measure) for epoch in records)
    if all(value is None for value in values):
        return []
    return [Series("test after each epoch", tuple(e.at for e in records), values, "curve")]


def _last_training(version: Version, measure: str) -> Number:
    if not version.epochs:
        return None
    last = version.epochs[-1]
    return last.accuracy if measure == "accuracy" else last.loss if last.accuracy is None else None
