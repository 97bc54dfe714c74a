"""What `search.policy` and `search.target` demand of each other and of other keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nhnas.spec.explain import Finding

_TARGET = ("search", "target")


def policy_findings(data: dict[str, Any]) -> list[Finding]:
    """Everything wrong between the policy of a file's `data`, its target, and how accuracy is measured."""
    search = data.get("search")
    return list(_findings(search, data)) if isinstance(search, dict) else []


def _findings(search: dict[str, Any], data: dict[str, Any]) -> Iterator[Finding]:
    target, is_auto = search.get("target"), search.get("policy") == "auto"
    if target is None and is_auto:
        yield Finding(
            ("search", "policy"), "auto needs something to steer at; add search.target, e.g. {params: 130000}"
        )
    if not isinstance(target, dict):
        return
    if not is_auto:
        yield Finding(_TARGET, "nothing reads a target without policy: auto; add that, or remove the target")
    if all(value is None for value in target.values()):
        yield Finding(_TARGET, "expected params, macs or accuracy, e.g. {params: 130000}")
    if target.get("accuracy") is not None:
        yield from _about_accuracy(data)


def _about_accuracy(data: dict[str, Any]) -> Iterator[Finding]:
    loc = (*_TARGET, "accuracy")
    if _section(data, "train").get("loss") == "mse":
        yield Finding(loc, "there is no accuracy with train.loss: mse; remove it")
        return
    source = _section(data, "data")
    brings_its_own = ":" in str(source.get("dataset"))
    if not source.get("val") and not brings_its_own:
        yield Finding(loc, "is that of held-out samples; hold some out, e.g. data.val: 0.1")


def _section(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}
