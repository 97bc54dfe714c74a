"""How long nhnas takes over large specs: whole processes, against the start-up that each of them needs.

    python benchmarks/spec_size.py [--layers 5000] [--runs 3] [--megabytes 5]

Prints the median seconds of `check`, `show` and `diff`, and their ratio to `python -c "import
nhnas.spec.document"` measured in the same round, for specs of several shapes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

START_UP = [sys.executable, "-c", "import nhnas.spec.document"]
HEAD = "format: 1\nname: large\ninput: [3, 8, 8]\nnet:\n  - {name: stem, op: conv, width: 8}\n"
TAIL = "  - {name: pool, op: global_avg_pool}\n  - {name: head, op: dense, width: 10}\n"


def flow(n: int) -> str:
    """A layer on one line."""
    return f"  - {{name: b{n}, op: conv, width: {8 + n % 5}}}\n"


def flow_nested(n: int) -> str:
    """A layer on one line with nodes inside."""
    inside = f"{{hidden: {n % 9 + 1}, first: {{residual: {{hidden: 2}}}}}}"
    return f"  - {{name: b{n}, op: conv, width: 9, residual: {inside}}}\n"


def block(n: int) -> str:
    """A layer of five lines, one node inside, as a grown network has it."""
    return f"  - name: b{n}\n    op: conv\n    shortcut: identity\n    residual:\n      hidden: {n % 9}\n"


def nested(n: int) -> str:
    """A layer of six lines, four nodes inside, of which two stand on lines of their own."""
    inside = f"      hidden: {n % 9 + 1}\n      first: {{residual: {{hidden: 2}}}}\n"
    return f"  - name: b{n}\n    op: conv\n    width: 9  # remark\n    residual:\n{inside}"


SHAPES: dict[str, Callable[[int], str]] = {f.__name__: f for f in (flow, flow_nested, block, nested)}


def seconds(*command: str) -> float:
    """Wall time of a process that must succeed."""
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def nhnas(*words: object) -> list[str]:
    """The command line as a person runs it."""
    return [sys.executable, "-m", "nhnas", *map(str, words)]


def timed(command: list[str], runs: int) -> tuple[float, float]:
    """Median seconds, and the median ratio to start-up in the same round."""
    pairs = [(seconds(*command), seconds(*START_UP)) for _ in range(runs)]
    return median(t for t, _ in pairs), median(t / base for t, base in pairs)


def written(path: Path, layer: Callable[[int], str], count: int, other: bool = False) -> Path:
    """A spec of `count` layers; the `other` one differs in every third."""
    layers = (layer(n + 1 if other and n % 3 == 0 else n).replace(f"b{n + 1}", f"b{n}") for n in range(count))
    path.write_text(HEAD + "".join(layers) + TAIL)
    return path


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, layer in SHAPES.items():
            old = written(Path(folder, f"{name}.yaml"), layer, given.layers)
            new = written(Path(folder, f"{name}.new.yaml"), layer, given.layers, other=True)
            size = f"{name}, {given.layers:,} layers, {old.stat().st_size / 1e6:.2f} MB"
            for verb, words in (("check", (old,)), ("show", (old,)), ("diff", (old, new))):
                taken, ratio = timed(nhnas(verb, *words), given.runs)
                print(f"{size}: {verb} {taken:.2f} s, {ratio:.1f} × start-up", flush=True)
        count = int(given.megabytes * 1e6 / len(nested(99_999)))
        large = written(Path(folder, "large.yaml"), nested, count)
        taken, ratio = timed(nhnas("check", large), 1)
        size = f"{large.stat().st_size / 1e6:.2f} MB, {count:,} layers"
        print(f"{size}: check {taken:.1f} s, {ratio:.0f} × start-up")


if __name__ == "__main__":
    main()
