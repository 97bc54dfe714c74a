"""One run: a row of an experiment with one seed, in a folder of its own, from wherever it is to its end."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment import FOLDER, Experiment, Row, Run, Train
from start import changed_text, kept_spec, start_text

from nhnas import run, train
from nhnas.log import history
from nhnas.plot_track import read_track
from nhnas.report import Lines

PROBE = 10_000
"""Test samples over which every edit's effect on the outputs is measured: all of them."""
DONE, PLACE = "done.json", "place.json"


def folder_of(out: Path, experiment: str, row: str, seed: int) -> Path:
    """Where a run lies."""
    return out / experiment / row / f"seed{seed}"


def run_one(folder: Path, experiment: Experiment, name: str, own: Mapping[str, int]) -> None:
    """Run a row to its end in `folder`; a run that was interrupted goes on.

    `own`: seed and threads. Two runs whose threads share cores would spin waiting for each other.
    """
    row = experiment.rows[name]
    if (folder / DONE).exists():
        return
    spec = _prepared(folder, experiment, row, own)
    clock = Clock(folder)
    for at, command in enumerate(row.commands):
        if at < clock.commands:
            continue
        _command(spec, command, clock)
        clock.next()
    _write(folder / DONE, {**_figures(spec), "hours": clock.seconds / 3600})


class Clock(Lines):
    """How many commands are over, and how long they took; written after every epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / PLACE
        place = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.commands, self.seconds = place.get("commands", 0), place.get("seconds", 0.0)
        self.version: int | None = place.get("version")
        self._last = time.monotonic()

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over."""
        super().epoch(record)
        self._save()

    def begins(self, version: int) -> int:
        """The version at which the present command began, whether now or before an interruption."""
        self.version = version if self.version is None else self.version
        self._save()
        return self.version

    def next(self) -> None:
        """A command is over."""
        self.commands, self.version = self.commands + 1, None
        self._save()

    def _save(self) -> None:
        now = time.monotonic()
        self.seconds, self._last = self.seconds + now - self._last, now
        place = {"commands": self.commands, "seconds": self.seconds, "version": self.version}
        _write(self._file, place)


def _prepared(folder: Path, experiment: Experiment, row: Row, own: Mapping[str, int]) -> Path:
    spec = folder / "spec.yaml"
    if not spec.exists():
        text = start_text(experiment, row, own, _ended(folder, row) if row.of else None)
        folder.mkdir(parents=True, exist_ok=True)
        spec.write_bytes(text)
    return spec


def _ended(folder: Path, row: Row) -> dict[str, Any]:
    """The spec that the row came to of which this one is a control, with the same seed."""
    ended = folder.parent.parent / str(row.of) / folder.name
    if not (ended / DONE).exists():
        raise SystemExit(f"{folder}: {ended} has not come to its end")
    figures = json.loads((ended / DONE).read_text())
    if "spec" not in figures:
        raise SystemExit(f"{folder}: {ended} has kept its figures alone; run it with another --out")
    spec: dict[str, Any] = figures["spec"]
    return spec


def _command(spec: Path, command: Run | Train, clock: Clock) -> None:
    records = history(spec)
    begun = clock.begins(len(records))
    if isinstance(command, Run):
        run(spec, to=command.to, until=command.until, probe_samples=PROBE, report=clock)
        return
    if len(records) > begun:
        return  # it was over, but for this note of it
    if command.settings:
        spec.write_bytes(changed_text(spec.read_bytes(), command.settings))
    done = records[-1]["epochs"] if records else 0
    train(spec, epochs=command.epochs_after(done), report=clock)


def _figures(spec: Path) -> dict[str, Any]:
    records = history(spec)
    last = records[-1]
    return {
        **{key: last[key] for key in ("parameters", "macs", "neurons", "depth", "epochs", "test")},
        "changed": sum(record["changed"] for record in records),
        "max_change": max(record["max_change"] for record in records),
        "largest": max(record["parameters"] for record in records),
        "curve": _curve(spec),
        "versions": _versions(spec),
        "commit": _commit(),
        "spec": kept_spec(spec.read_bytes()),
    }


def _curve(spec: Path) -> list[tuple[int, float]]:
    """The test set after every epoch in which it was evaluated: epochs that lie behind, accuracy or mse."""
    track = read_track(spec)
    epochs = (epoch for version in track.versions for epoch in version.epochs if epoch.test)
    return [(epoch.at, epoch.test[track.measure]) for epoch in epochs]


def _versions(spec: Path) -> list[dict[str, Any]]:
    """Epochs, sizes and the test set of every version."""
    keys = ("epochs", "parameters", "macs", "neurons", "depth", "test")
    return [{key: record[key] for key in keys} for record in history(spec)]


def _commit() -> str:
    """Of the code that came to the end of the run; empty outside of git."""
    words = ["git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def _write(file: Path, data: dict[str, Any]) -> None:
    """As a whole or not at all."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(data))
    aside.replace(file)
