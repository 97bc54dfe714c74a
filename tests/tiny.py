"""Specs and data so small that a whole step takes a few milliseconds, and ways to look at what came out."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from nhnas.command import Options
from nhnas.command import run as run_command
from nhnas.command import step as step_command
from nhnas.command import train as train_command
from nhnas.commit import Saved
from nhnas.report import Report, Silent

DATA = """
import torch
from nhnas.trainer.datasets import Dataset, Split

CLASSES = {classes}

def points():
    draw = torch.Generator().manual_seed(1)
    def split(n):
        x = torch.rand(n, 2, generator=draw) * 2 - 1
        return Split(x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 0] > 0.5) * (CLASSES - 2))
    return Dataset("points", train=split(24), test=split(40))

def images():
    draw = torch.Generator().manual_seed(2)
    def split(n):
        classes = torch.arange(n) % 3
        x = torch.randint(0, 200, (n, 2, 5, 5), generator=draw) + 25 * classes.view(-1, 1, 1, 1)
        return Split(x.to(torch.uint8), classes)
    return Dataset("images", train=split(20), test=split(30))
"""
"""A module beside the spec: 24 points in the plane, or 20 images [2, 5, 5] in 3 classes."""

DENSE = """\
# the plane
format: 1
name: points
input: [2]
net:
  - name: block   # neurons grow here
    op: dense
    width: 4
    residual:
      hidden: 3
      second: {note: the way back}
  - {name: head, op: dense, width: 2, note: the end}
data: {dataset: "mydata:points"}
train: {lr: 0.05, batch: 8, deterministic: true}
search: {add: 8, max_epochs: 2, fade_epochs: 1, settle_epochs: 1, threshold_max: 2.0}
"""
"""3 batches an epoch; a step has at most 12 batches."""

REGRESSION = """\
format: 1
name: surface
input: [2]
net: [{name: a, op: dense, width: 3, residual: {hidden: 2}}, {name: head, op: dense, width: 1}]
data: {dataset: regression2d}
train: {loss: mse, batch: 500, deterministic: true}
search: {add: 2, max_epochs: 1, fade_epochs: 1, settle_epochs: 0}
"""
"""A surface over the plane, 2,500 points: the built-in set."""

CONV = """\
format: 1
name: images
input: [2, 5, 5]
net:
  - {name: stem, op: conv, width: 3, act: relu}
  - name: stream
    op: conv
    shortcut: identity
    residual: {hidden: 0, dropout: 0.1}
  - name: block
    op: conv
    stride: 2
    width: 4
    residual:
      hidden: 3
      dropout: 0.2
      first:
        residual: {hidden: 2}
  - {name: flat, op: flatten}
  - {name: drop, op: dropout, p: 0.1}
  - {name: head, op: dense, width: 3}
data: {dataset: "mydata:images", augment: [crop, flip]}
train: {lr: 0.01, batch: 10, deterministic: true}
search: {add: 8, max_epochs: 2, fade_epochs: 1, settle_epochs: 1, threshold_max: 2.0}
"""
"""2 batches an epoch; batch norm, dropout inside and outside residuals, augmentation."""


def make(folder: Path, text: str = DENSE, classes: int = 2) -> Path:
    """A spec file in a folder of its own, with its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mydata.py").write_text(DATA.format(classes=classes))
    (folder / "spec.yaml").write_text(text)
    return folder / "spec.yaml"


def edit(spec: Path, old: str, new: str) -> None:
    """Replace a piece of the file that is there exactly once, as a person would."""
    text = spec.read_text()
    assert 1 == text.count(old), f"{old!r} is {text.count(old)} times in\n{text}"
    spec.write_text(text.replace(old, new))


def step(spec: Path, report: Report | None = None, to: int | None = None, **options: Any) -> list[Saved]:
    """`nhnas step` in this process."""
    return step_command(spec, to, Options(**options), report)


def run(
    spec: Path,
    report: Report | None = None,
    steps: int | None = None,
    to: int | None = None,
    **options: Any,
) -> list[Saved]:
    """`nhnas run` in this process."""
    return run_command(spec, steps, to, Options(**options), report)


def train(spec: Path, report: Report | None = None, epochs: int = 2, **options: Any) -> list[Saved]:
    """`nhnas train` in this process."""
    return train_command(spec, epochs, Options(**options), report)


class Counting(Silent):
    """Counts batches and lines; at the batches or lines asked for it sends the signal that stops us."""

    def __init__(self, batch: int = 0, line: int = 0, number: signal.Signals = signal.SIGTERM) -> None:
        self.batches, self.lines = 0, list[str]()
        self._batch, self._line, self._number = batch, line, number

    def batch(self, *_: Any, **__: Any) -> None:
        """A batch is over."""
        self.batches += 1
        if self.batches == self._batch:
            signal.raise_signal(self._number)

    def say(self, text: str) -> None:
        """A line."""
        self.lines.append(text)
        if len(self.lines) == self._line:
            signal.raise_signal(self._number)


def outcome(spec: Path) -> dict[str, bytes]:
    """All that a command left behind, apart from its data and its lock: specs, snapshots, slots."""
    return {
        str(path.relative_to(spec.parent)): path.read_bytes()
        for path in sorted(spec.parent.rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".lock", ".pyc")
    }
