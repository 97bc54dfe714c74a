"""The table of an experiment, in Markdown, from the runs that are over."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment import Experiment
from runner import DONE
from ways import both_ways

HEAD = ("row", "seeds", "test", "parameters", "MACs", "epochs", "hours", "changed predictions, largest Δ")

CAME_DOWN = 0.8
"""Of its largest size, where a run counts as one that grew and shrank."""


def table(out: Path, name: str, experiment: Experiment) -> str:
    """One line a row that has at least one run which came to its end."""
    reach = experiment.reach
    head = HEAD if reach is None else (*HEAD, f"{100 * reach:g}% after")
    lines, below = [_cells(head), _cells(["---"] * len(head))], list[str]()
    for row in experiment.rows:
        runs = [json.loads(file.read_text()) for file in sorted((out / name / row).glob(f"seed*/{DONE}"))]
        if runs:
            lines.append(_line(row, runs, reach))
            below += [line for run in runs for line in _ways(row, run)]
    return "\n".join(lines + below)


def _line(row: str, runs: Sequence[dict[str, Any]], reach: float | None) -> str:
    cells = [
        row,
        str(len(runs)),
        _result([run["test"] for run in runs]),
        _spread([run["parameters"] for run in runs], ",.0f"),
        f"{_spread([run['macs'] / 1e6 for run in runs], '.1f')} M",
        _spread([run["epochs"] for run in runs], ".0f"),
        _spread([run["hours"] for run in runs], ".2f"),
        f"{max(run['changed'] for run in runs)}, {max(run['max_change'] for run in runs):.1e}",
    ]
    if reach is not None:
        cells.append(_after([_first(run["curve"], reach) for run in runs]))
    return _cells(cells)


def _ways(row: str, run: dict[str, Any]) -> list[str]:
    """A table of the sizes that a run had twice; empty where it did not come down by a fifth."""
    versions = [version for version in run.get("versions", ()) if "accuracy" in version["test"]]
    sizes = [version["parameters"] for version in versions]
    if not sizes or sizes[-1] > CAME_DOWN * max(sizes):
        return []
    found = both_ways(sizes, [version["test"]["accuracy"] for version in versions])
    if found is None:
        return []
    lines = ["", _cells([f"{row}: parameters", "growing", "shrinking"]), _cells(["---"] * 3)]
    for size, up, down in zip(found.sizes, found.up, found.down, strict=True):
        lines.append(_cells([f"{size:,}", f"{100 * up:.2f}%", f"{100 * down:.2f}%"]))
    return lines


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _first(curve: Sequence[tuple[int, float]], reach: float) -> int | None:
    """Epochs after which an accuracy was first met."""
    return next((epochs for epochs, accuracy in curve if accuracy >= reach), None)


def _after(epochs: Sequence[int | None]) -> str:
    met = [count for count in epochs if count is not None]
    missed = f"{len(epochs) - len(met)} never" if len(met) < len(epochs) else ""
    return ", ".join(part for part in (_spread(met, ".0f") if met else "", missed) if part)


def _result(tests: Sequence[dict[str, float]]) -> str:
    if "mse" in tests[0]:
        return f"mse {_spread([test['mse'] for test in tests], '.5f')}"
    return f"{_spread([100 * test['accuracy'] for test in tests], '.2f')}%"


def _spread(values: Sequence[float], form: str) -> str:
    """Mean, and standard deviation where there are several that differ."""
    mean = format(statistics.mean(values), form)
    if len(values) < 2 or min(values) == max(values):
        return mean
    return f"{mean} ± {format(statistics.stdev(values), form)}"
