"""`search.schedule`: other settings for some epochs of the lineage (DESIGN §3).

The first entry whose `until` lies beyond the epoch holds; after the last one the base settings do.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from nhnas.spec.config import Search, Train
from nhnas.spec.explain import Finding, explain
from nhnas.spec.shapes import Loc

_REFUSED = ("schedule", "policy", "target")


def settings_at(search: Search, train: Train, epoch: float) -> tuple[Search, Train]:
    """The settings in force at an epoch of the lineage, counted from 0."""
    entry = entry_at(search, epoch)
    part = Search.model_validate(_of_search(entry))
    lr = {"lr": float(entry["lr"])} if "lr" in entry else {}
    changes = {name: getattr(part, name) for name in part.model_fields_set}
    return search.model_copy(update=changes), train.model_copy(update=lr)


def entry_at(search: Search, epoch: float) -> dict[str, Any]:
    """What the schedule sets at an epoch of the lineage; empty where the base settings hold."""
    return next((entry for entry in search.schedule if epoch < entry["until"]), {})


def schedule_findings(data: dict[str, Any]) -> list[Finding]:
    """Everything wrong inside the schedule of a file's `data`."""
    search = data.get("search")
    entries = search.get("schedule") if isinstance(search, dict) else None
    found: list[Finding] = []
    before = 0
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            loc = ("search", "schedule", index)
            found += [*_until(entry, loc, before), *_fields(entry, loc)]
            before = entry["until"] if type(entry.get("until")) is int else before
    return found


def _until(entry: dict[str, Any], loc: Loc, before: int) -> list[Finding]:
    if "until" not in entry:
        return [Finding(loc, "until is missing: the epoch up to which this entry holds")]
    if type(entry["until"]) is not int or entry["until"] <= before:
        return [Finding((*loc, "until"), f"expected a whole number of epochs, more than {before}")]
    return []


def _fields(entry: dict[str, Any], loc: Loc) -> list[Finding]:
    refused = [Finding((*loc, key), f"{key} cannot be scheduled") for key in _REFUSED if key in entry]
    lr = {"lr": entry["lr"]} if "lr" in entry else {}
    known = ("lr", "until")
    return [*refused, *_valid(Search, _of_search(entry), loc, known), *_valid(Train, lr, loc, ())]


def _of_search(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("until", "lr", *_REFUSED)}


def _valid(model: type[BaseModel], part: dict[str, Any], loc: Loc, known: tuple[str, ...]) -> list[Finding]:
    try:
        model.model_validate(part)
    except ValidationError as error:
        return explain(error, loc, known)
    return []
