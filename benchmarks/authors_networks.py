"""Networks that the authors' search passed through, as architectures of ours.

    python benchmarks/authors_networks.py [FILE]

counts the parameters of every one in FILE (JSON lines made from their published logs) against what PyTorch
counted for them. A line has the widths of the chain's convolutions, all 3x3 with a batch norm each, and their
residuals; `params` is what they counted; without `input` (channels) and `classes` these are 3 and 10. Then
come pooling and a dense head. Without FILE it is `authors.jsonl`: three of them, which the benchmarks run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture

FILE = Path(__file__).with_name("authors.jsonl")


def authors_networks() -> dict[int, Architecture]:
    """Number of parameters -> architecture for [3, 32, 32] and ten classes, smallest first."""
    return {row["params"]: _architecture(row) for row in sorted(_rows(FILE), key=lambda row: row["params"])}


def main(file: Path) -> int:
    """Print how many counts agree; 1 where one does not."""
    rows = _rows(file)
    counts = [(row["params"], measure(_architecture(row)).parameters) for row in rows]
    same = sum(theirs == ours for theirs, ours in counts)
    print(f"{same} of {len(counts)} have as many parameters as PyTorch counted")
    return int(same < len(counts))


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _architecture(row: dict[str, Any]) -> Architecture:
    layers: list[dict[str, Any]] = [
        {"name": f"c{at}", "op": "conv", "width": layer["out"], **_node(layer["residual"])}
        for at, layer in enumerate(row["chain"])
    ]
    classes = row.get("classes", 10)
    head = [{"name": "pool", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": classes}]
    size = (row.get("input", 3), 32, 32)
    return Architecture.model_validate({"input": size, "net": tuple(layers + head)})


def _node(residual: dict[str, Any] | None) -> dict[str, Any]:
    if residual is None:
        return {}
    inner = {side: _node(residual[side]) for side in ("first", "second") if residual[side] is not None}
    shortcut = {} if residual["shortcut"] else {"shortcut": False}
    return {**shortcut, "residual": {"hidden": residual["hidden"], **inner}}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else FILE))
