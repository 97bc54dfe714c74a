"""The toy tasks, grown and shrunk again, over ten seeds: the figures of the README.

    python benchmarks/toys.py [--seeds 0 1 …] [--out runs/toys]

Grow: `nhnas run --steps 4` on the untrained example, timed as a whole process. Shrink: the same file with
`add_to_remove: 0.5` (and as SHRINKING below says), six steps; the smallest version that is as good counts.
Spirals: as good means every training point and 99.8% of 2,000 fresh ones right; regression2d: a test mse
below 0.1% of the variance.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEPS, SHRINKING_STEPS = 4, 6
SHRINKING = {
    "spirals": {"add": 20, "add_fraction": 0.0, "add_to_remove": 0.5},
    "regression2d": {"add": 10, "add_fraction": 0.0, "add_to_remove": 0.5, "settle_epochs": 25},
}
VARIANCE = {"regression2d": 1.07}
"""Of the test targets (2,000 uniform points)."""


def nhnas(*arguments: str) -> str:
    """What the command line prints; CalledProcessError where it fails."""
    command = [sys.executable, "-m", "nhnas", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def evaluate(spec: Path, split: str) -> dict[str, float]:
    """What `nhnas eval` measures."""
    result: dict[str, float] = json.loads(nhnas("eval", str(spec), "--split", split, "--json"))
    return result


def is_good(task: str, spec: Path) -> tuple[bool, float, float]:
    """Whether the goal is met, and the figures on training and test points."""
    train, test = evaluate(spec, "train"), evaluate(spec, "test")
    if task == "spirals":
        good = train["accuracy"] == 1.0 and test["accuracy"] >= 0.998
        return good, train["accuracy"], test["accuracy"]
    return test["mse"] < 1e-3 * VARIANCE[task], train["mse"], test["mse"]


def last_version(spec: Path) -> dict[str, Any]:
    """The newest record of `nhnas log`."""
    record: dict[str, Any] = json.loads(nhnas("log", str(spec), "--json").splitlines()[-1])
    return record


def grow(task: str, folder: Path, seed: int) -> tuple[Path, dict[str, Any]]:
    """Four steps from the untrained example."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = folder / "spec.yaml"
    text = (ROOT / "examples" / task / "spec.yaml").read_text()
    spec.write_text(text.replace("train:\n", f"train:\n  seed: {seed}\n"))
    begun = time.monotonic()
    nhnas("run", str(spec), "--steps", str(STEPS))
    seconds = time.monotonic() - begun
    good, train, test = is_good(task, spec)
    return spec, {
        "good": good,
        "train": train,
        "test": test,
        "seconds": round(seconds, 1),
        "parameters": last_version(spec)["parameters"],
    }


def shrink(task: str, spec: Path) -> dict[str, Any]:
    """The smallest version as good as the goal among six shrinking steps."""
    text = spec.read_text()
    for key, value in SHRINKING[task].items():
        text = re.sub(rf"(?m)^  {key}: .*$", f"  {key}: {value}", text)
    spec.write_text(text)
    smallest: dict[str, Any] = {}
    for _ in range(SHRINKING_STEPS):
        nhnas("step", str(spec))
        good, train, test = is_good(task, spec)
        if good:
            smallest = {"parameters": last_version(spec)["parameters"], "train": train, "test": test}
    return smallest


def main() -> None:
    """Run both tasks over all seeds; one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--tasks", nargs="+", default=["spirals", "regression2d"])
    parser.add_argument("--out", type=Path, default=Path("runs/toys"))
    arguments = parser.parse_args()
    for task in arguments.tasks:
        for seed in arguments.seeds:
            spec, grown = grow(task, arguments.out / f"{task}-{seed}", seed)
            shrunk = shrink(task, spec)
            share = shrunk["parameters"] / grown["parameters"] if shrunk else None
            record = {"task": task, "seed": seed, "grown": grown, "shrunk": shrunk, "share": share}
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
