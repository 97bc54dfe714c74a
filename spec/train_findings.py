"""What keys of `train` demand of each other."""

from __future__ import annotations

from typing import Any

from nhnas.spec.explain import Finding


def train_findings(data: dict[str, Any]) -> list[Finding]:
    """Everything wrong between the keys of a file's `train`."""
    train = data.get("train")
    if not isinstance(train, dict):
        return []
    if train.get("warmup_for") == "newcomers" and train.get("optimizer") == "sgd":
        message = "newcomers needs adam or adamw: with sgd neurons have no age"
        return [Finding(("train", "warmup_for"), message)]
    return []
