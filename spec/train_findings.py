"""What keys of `train` demand of each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nhnas.spec.explain import Finding


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
