"""What keys of `train` demand of each other, and of the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nhnas.spec.explain import Finding
from nhnas.spec.model import Architecture
from nhnas.spec.structure import nodes


def train_findings(data: dict[str, Any]) -> list[Finding]:
    """Everything wrong between the keys of a file's `train`."""
    train = data.get("train")
    if not isinstance(train, dict):
        return []
    return list(_findings(train))


def _findings(train: dict[str, Any]) -> Iterator[Finding]:
    sgd = train.get("optimizer") == "sgd"
    if train.get("warmup_for") == "newcomers" and sgd:
        message = "newcomers needs adam or adamw: with sgd neurons have no age"
        yield Finding(("train", "warmup_for"), message)
    if train.get("nesterov") is True and not (sgd and train.get("momentum", 1.0)):
        yield Finding(("train", "nesterov"), "true needs optimizer: sgd and a momentum above 0")


def batch_findings(arch: Architecture, batch: int) -> list[Finding]:
    """A batch norm that batches of one sample leave a single value a neuron: only training refuses it."""
    if batch > 1:
        return []
    message = (
        "{} normalises over the batch, and a batch of 1 gives it one value a neuron; "
        "write batch: 2 or more, or norm: none"
    )
    leaves = ((node.path, node.leaf) for node in nodes(arch))
    single = (
        path
        for path, leaf in leaves
        if leaf is not None and leaf.norm == "batch" and leaf.writes.map in (None, (1, 1))
    )
    return [Finding(("train", "batch"), message.format(path)) for path in single][:1]
