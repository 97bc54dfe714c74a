"""Settings of the search that contradict each other, in a file's own section and in its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nhnas.spec.config import Search
from nhnas.spec.explain import Finding

LEAST, MOST = "min_epochs", "max_epochs"


def search_findings(data: dict[str, Any]) -> list[Finding]:
    """Where `max_epochs` would be below `min_epochs`; entries of the schedule stand on top of the section."""
    search = data.get("search")
    if not isinstance(search, dict):
        return []
    found = list(_contradiction({}, search, ("search",)))
    schedule = search.get("schedule")
    for index, entry in enumerate(schedule if isinstance(schedule, list) else ()):
        if isinstance(entry, dict):
            found += _contradiction(search, entry, ("search", "schedule", index))
    return found


def _contradiction(
    under: dict[str, Any], own: dict[str, Any], loc: tuple[str | int, ...]
) -> Iterator[Finding]:
    """`own` is what is written at `loc`, on top of `under`."""
    least, most = (_number({**under, **own}, key) for key in (LEAST, MOST))
    if least is None or most is None or least <= most:
        return
    if MOST in own:
        yield Finding((*loc, MOST), f"{most} is below {LEAST}, which is {least}")
    elif LEAST in own:
        yield Finding((*loc, LEAST), f"{least} is above {MOST}, which is {most}")


def _number(settings: dict[str, Any], key: str) -> int | None:
    """The value, or its default; None where it is no number, which is told elsewhere."""
    value = settings.get(key, Search.model_fields[key].default)
    return value if type(value) is int else None
