"""How long the slowest of the hostile files of the tests takes to be refused, beyond start-up.

python benchmarks/hostile.py [--runs 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.test_hostile_commands import CASES

FINE = b"format: 1\nname: x\ninput: [2]\nnet: [{name: a, op: dense, width: 2}]\n"


def seconds(spec: Path, content: bytes, runs: int) -> float:
    """Wall time of the fastest of several `nhnas check`."""
    spec.write_bytes(content)
    taken = []
    for _ in range(runs):
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "nhnas", "check", str(spec)], capture_output=True, check=False)
        taken.append(perf_counter() - start)
    return min(taken)


def main() -> None:
    """Time every case and print the slowest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "spec.yaml")
        fine = seconds(spec, FINE, runs)
        taken = {name: seconds(spec, content, runs) - fine for name, content in CASES.items()}
    print(f"{len(CASES)} files; a sound one takes {fine:.2f} s")
    for name in sorted(taken, key=taken.__getitem__)[-3:]:
        print(f"{name}: {taken[name]:+.2f} s")


if __name__ == "__main__":
    main()
