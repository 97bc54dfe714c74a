"""Three of the networks that the authors' search passed through, as architectures of ours.

`authors.jsonl` holds facts from their published logs: the widths of the chain's convolutions, all 3x3 with a
batch norm each, and their residuals; `params` is what they counted. Then come pooling and a dense head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nhnas.spec.model import Architecture

FILE = Path(__file__).with_name("authors.jsonl")


def authors_networks() -> dict[int, Architecture]:
    """Number of parameters -> architecture for [3, 32, 32] and ten classes, smallest first."""
    rows = [json.loads(line) for line in FILE.read_text().splitlines()]
    return {row["params"]: _architecture(row["chain"]) for row in sorted(rows, key=lambda row: row["params"])}


def _architecture(chain: list[dict[str, Any]]) -> Architecture:
    layers: list[dict[str, Any]] = [
        {"name": f"c{at}", "op": "conv", "width": layer["out"], **_node(layer["residual"])}
        for at, layer in enumerate(chain)
    ]
    head = [{"name": "pool", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 10}]
    return Architecture.model_validate({"input": (3, 32, 32), "net": tuple(layers + head)})


def _node(residual: dict[str, Any] | None) -> dict[str, Any]:
    if residual is None:
        return {}
    inner = {side: _node(residual[side]) for side in ("first", "second") if residual[side] is not None}
    return {"residual": {"hidden": residual["hidden"], **inner}}
