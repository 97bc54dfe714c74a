"""Three-way merge of plain values: text, numbers, lists as a whole, dicts key by key.

None stands for a key that is not there. Values are minimal (`nhnas.spec.emit`): keys at their defaults are
absent, so that writing a default out is no change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_NEVER_ABSENT = ("first", "second")
"""Nodes that are there also where the file does not name them: absent and empty are the same."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Both sides changed what stands at `path`, and differently; None where it is absent."""

    path: str
    base: Any
    ours: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged value, once with every conflict given to ours and once to theirs; equal without any."""

    ours: Any
    theirs: Any
    conflicts: tuple[Conflict, ...] = ()

    @property
    def sides(self) -> tuple[Any, Any]:
        """Both forms."""
        return self.ours, self.theirs


def merge_values(path: str, base: Any, ours: Any, theirs: Any, *, deep: bool = True) -> Merged:
    """What both sides made of `base`; with `deep` False a dict that both changed is one conflict."""
    if ours == theirs or theirs == base:
        return Merged(ours, ours)
    if ours == base:
        return Merged(theirs, theirs)
    if deep and isinstance(ours, dict) and isinstance(theirs, dict) and isinstance(base, dict | None):
        return _merge_keys(path, base or {}, ours, theirs)
    return Merged(ours, theirs, (Conflict(path, base, ours, theirs),))


def _merge_keys(path: str, base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> Merged:
    found = {
        key: merge_values(f"{path}.{key}", *(_value(values, key) for values in (base, ours, theirs)))
        for key in dict.fromkeys((*ours, *theirs))
    }
    mine, other = (
        {key: value for key, merged in found.items() if (value := merged.sides[side]) is not None}
        for side in (0, 1)
    )
    conflicts = tuple(conflict for merged in found.values() for conflict in merged.conflicts)
    return Merged(_without_empty(mine), _without_empty(other), conflicts)


def _value(values: dict[str, Any], key: str) -> Any:
    return values.get(key, {} if key in _NEVER_ABSENT else None)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value != {} or key not in _NEVER_ABSENT}
