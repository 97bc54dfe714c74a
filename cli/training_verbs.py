"""Verbs of the command line that save versions; torch comes when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nhnas.arguments import AllowImport, Discard, Fresh, Probe, Spec, Wait

if TYPE_CHECKING:
    from nhnas.command import Options
    from nhnas.commit import Saved

UNTIL = (
    "Until a figure is reached: params=70000, macs, neurons, epochs, mse, accuracy=0.92 (of held-out samples "
    "where there are any, else of the test samples). In quotes, >= and <= say the direction. May be repeated."
)


def step(
    spec: Spec,
    to: Annotated[int | None, typer.Option("--to", min=0, help="Nothing happens at this version.")] = None,
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
    probe: Probe = 256,
) -> None:
    """Grow, train until the loss is flat, remove the least important neurons, save the next version."""
    if _is_reached(spec, to, fresh):
        tell([], spec)
        return
    from nhnas.command import step as run_step
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, probe)
    tell(run_step(spec, to, options, Lines()), spec)


def run(
    spec: Spec,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="So many steps more.")] = None,
    to: Annotated[int | None, typer.Option("--to", min=0, help="Up to this version.")] = None,
    until: Annotated[list[str] | None, typer.Option("--until", metavar="GOAL", help=UNTIL)] = None,
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
    probe: Probe = 256,
) -> None:
    """Several steps; the file is read again before each. The bound or goal that is met first ends it."""
    if steps is None and _is_reached(spec, to, fresh):
        tell([], spec)
        return
    if until and not fresh and (reached := _what_is_reached(spec, until)):
        print(f"{spec}: already {reached}; nothing to do")
        return
    from nhnas.command import run as run_steps
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, probe)
    tell(run_steps(spec, steps, to, options, Lines(), until or ()), spec)


def train(
    spec: Spec,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs, along train.schedule.")],
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
) -> None:
    """Train without changing the architecture, and save a version."""
    from nhnas.command import train as run_training
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, 256)
    tell(run_training(spec, epochs, options, Lines()), spec)


def _is_reached(spec: Path, to: int | None, fresh: bool) -> bool:
    """Before anything imports torch."""
    from nhnas.reached import is_reached

    return is_reached(spec, to, fresh)


def _what_is_reached(spec: Path, until: list[str]) -> str | None:
    """Before anything imports torch, too."""
    from nhnas.reached import what_is_reached

    return what_is_reached(spec, until)


def _options(fresh: bool, discard: bool, wait: bool, allow_import: bool, probe: int) -> Options:
    from nhnas.command import Options

    return Options(fresh, discard, wait, allow_import, probe)


def tell(saved: list[Saved], spec: Path) -> None:
    """Say where there was nothing to do; what was saved has been said."""
    if not saved:
        print(f"{spec}: this version is there already; nothing to do")
