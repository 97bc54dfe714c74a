"""The paper's experiments, each a table made by one command.

    python benchmarks/accuracy                                       # what there is
    python benchmarks/accuracy cifar10-70k --out runs [--rows grown resnet-adamw] [--seeds 0 1 2] [--jobs 2]
    python benchmarks/accuracy cifar10-70k --out runs --table        # only what is there already

Every row with every seed runs in OUT/EXPERIMENT/ROW/seed<k>/; interrupted, the same command goes on. With
`--jobs 2` two run beside each other, each on half the cores. Data: $NHNAS_DATA (docs/spec.md, `data.root`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from experiment import FILE, Experiment, load_experiments
from runner import folder_of, run_one
from table import table

from nhnas.spec.errors import NhnasError


def main() -> int:
    """Run what is missing and print the table."""
    arguments = _arguments()
    experiments = load_experiments(arguments.file)
    if arguments.experiment not in experiments:
        for name, experiment in experiments.items():
            print(f"{name:<18} {experiment.about}")
        return 0 if arguments.experiment is None else 2
    experiment = experiments[arguments.experiment]
    rows = arguments.rows or list(experiment.rows)
    if arguments.one is not None:
        threads = max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
        folder = folder_of(arguments.out, arguments.experiment, rows[0], arguments.one)
        try:
            run_one(folder, experiment, rows[0], {"seed": arguments.one, "threads": threads})
        except NhnasError as error:
            print(error)
            return error.exit_code
        return 0
    failed = 0 if arguments.table else _run_all(arguments, experiment, rows)
    print(table(arguments.out, arguments.experiment, experiment))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("experiment", nargs="?")
    parser.add_argument("--file", type=Path, default=FILE, help="of experiments; ours by default")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of each row's own")
    parser.add_argument("--jobs", type=int, default=1, help="runs beside each other, which share the cores")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_all(arguments: argparse.Namespace, experiment: Experiment, rows: list[str]) -> int:
    """How many runs failed; controls come after what they are controls of."""
    failed = 0
    for later in (False, True):
        wave = [
            (row, seed)
            for row in rows
            if bool(experiment.rows[row].of) == later
            for seed in arguments.seeds or experiment.rows[row].seeds
        ]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            failed += sum(pool.map(lambda run: _run(arguments, *run), wave))
    return failed


def _run(arguments: argparse.Namespace, row: str, seed: int) -> int:
    """Run one in a process of its own; its lines go to `log.txt` in its folder."""
    folder = folder_of(arguments.out, arguments.experiment, row, seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = [arguments.experiment, "--out", str(arguments.out), "--rows", row, "--one", str(seed)]
    words += ["--jobs", str(arguments.jobs), "--file", str(arguments.file)]
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent), *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        print(f"{folder}: exit code {done.returncode}, see log.txt", file=sys.stderr, flush=True)
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
