"""Networks whose shortcuts are measured, dropped and given back."""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import Architecture
from nhnas.spec.structure import NodeView, nodes
from nhnas.spec.verify import verify


def summed(arch: Architecture) -> list[NodeView]:
    """Nodes that add neurons to a leaf."""
    return [node for node in nodes(arch) if node.live and node.leaf is not None and node.hidden]


BLOCK: dict[str, Any] = {"name": "a", "op": "conv", "width": 2, "residual": {"hidden": 3}}


def chain(**keys: Any) -> Architecture:
    """A block of convolutions 1 → 2 with three neurons, and a head."""
    net = [BLOCK | keys, {"name": "p", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 2}]
    return verify(Architecture.model_validate({"input": [1, 4, 4], "net": net}))
