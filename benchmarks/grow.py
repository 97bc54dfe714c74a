"""One continuous run a seed: search steps from an untrained spec, then training along `train.schedule`.

    python benchmarks/grow.py examples/mnist-dense/spec.yaml --steps 6 --epochs 30 --out runs/mnist-dense

For every seed a copy of the spec lies in OUT/seed<k>/, so an interrupted campaign goes on with the same
command. Prints one line a seed, then mean and standard deviation. At every edit the outputs of `--probe`
test samples are compared before and after: the number of changed predictions and the largest |Δoutput|
are part of the result. Data: `data.root` of the spec, or $NHNAS_DATA.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

from nhnas import run, train
from nhnas.log import history
from nhnas.report import Lines


def prepare(spec: Path, folder: Path, settings: list[str]) -> Path:
    """A copy of the spec with lines of its own under `train`; one that is there already stays."""
    copy = folder / "spec.yaml"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"  {line}\n" for line in settings)
        copy.write_text(re.sub(r"(?m)^train:\n", f"train:\n{lines}", spec.read_text()))
    return copy


def grow(spec: Path, steps: int, epochs: int, probe: int) -> dict[str, Any]:
    """Run to the end from wherever the copy is, and return its figures."""
    begun = time.monotonic()
    version = len(history(spec))
    if version < steps:
        run(spec, to=steps, probe_samples=probe, report=Lines())
    if epochs and len(history(spec)) == steps:
        train(spec, epochs=epochs, report=Lines())
    records = history(spec)
    last = records[-1]
    return {
        **{key: last[key] for key in ("parameters", "macs", "neurons", "depth", "epochs", "test")},
        "changed": sum(record["changed"] for record in records),
        "max_change": max(record["max_change"] for record in records),
        "largest": max(record["parameters"] for record in records),
        "minutes": (time.monotonic() - begun) / 60,
    }


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=0, help="of the final training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--probe", type=int, default=10_000)
    parser.add_argument("--train", nargs="*", default=[], help='more settings, as "threads: 1"')
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        settings = [f"seed: {seed}", *arguments.train]
        spec = prepare(arguments.spec, arguments.out / f"seed{seed}", settings)
        results.append(grow(spec, arguments.steps, arguments.epochs, arguments.probe))
        print(json.dumps({"seed": seed, **results[-1]}), flush=True)
    key = "accuracy" if "accuracy" in results[0]["test"] else "mse"
    values = [result["test"][key] for result in results]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"{key}: mean {statistics.mean(values):.5f}, standard deviation {spread:.5f}, {len(values)} seeds")


if __name__ == "__main__":
    main()
