"""Stopping a command at a chosen batch, and going on: the end must be that of a command never stopped."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from nhnas.commit import Saved
from nhnas.report import Report
from nhnas.spec.errors import Interrupted
from tests import tiny

Command = Callable[[Path, Report], list[Saved]]


def run_two(spec: Path, report: Report) -> list[Saved]:
    """`nhnas run --steps 2`."""
    return tiny.run(spec, report, steps=2)


def train_one(spec: Path, report: Report) -> list[Saved]:
    """`nhnas train --epochs 1`."""
    return tiny.train(spec, report, epochs=1)


def train_two(spec: Path, report: Report) -> list[Saved]:
    """`nhnas train --epochs 2`."""
    return tiny.train(spec, report, epochs=2)


def prepared(folder: Path, text: str, versions: int) -> Path:
    """A spec that is at a version from which the next step has edits of many kinds."""
    spec = tiny.make(folder / "start", text)
    for _ in range(versions):
        tiny.step(spec)
    return spec


def copied(spec: Path, name: str) -> Path:
    """The same spec, data and store in a folder of its own."""
    target = spec.parent.with_name(name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(spec.parent, target)
    return target / spec.name


def stopped(action: Command, spec: Path, report: tiny.Counting) -> bool:
    """Run until the report's signal stops the command; False where it was over before."""
    code, before = 0, signal.signal(signal.SIGTERM, leave)
    try:
        action(spec, report)
    except Interrupted as stop:
        code = stop.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code in (0, 128 + signal.SIGTERM)
    return code != 0


def leave(number: int, _: object) -> None:
    """What a signal does between the batches; the command line leaves the process."""
    raise Interrupted("left", number)


def check_every_batch(
    action: Command, spec: Path, every: int = 1, batches: Sequence[int] = ()
) -> dict[str, bytes]:
    """Stop at `batches`, else at 1, 1 + every, …: each time the end is that of the whole one, returned."""
    whole, counting = copied(spec, "whole"), tiny.Counting()
    action(whole, counting)
    expected = tiny.outcome(whole)
    for batch in batches or range(1, counting.batches + 1, every):
        again = copied(spec, "stopped")
        first, second = tiny.Counting(batch=batch), tiny.Counting()
        assert stopped(action, again, first)
        action(again, second)
        assert counting.batches == first.batches + second.batches, f"stopped at batch {batch}"
        assert expected == tiny.outcome(again), f"stopped at batch {batch}"
    return expected


def killer(function: Callable[..., object], call: int) -> Callable[..., object]:
    """The function, but its call of that number ends the command there and then."""
    left = [call]

    def dying(*arguments: object, **named: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return function(*arguments, **named)

    return dying
