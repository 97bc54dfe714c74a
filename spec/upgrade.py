"""Older formats of the spec file, brought up to date step by step before validation.

`STEPS[n]` turns the keys and values of format n into those of format n + 1; its docstring says why the
format changed. Format 1 is the first, so there is no step yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]

CURRENT = 1
STEPS: Mapping[int, Step] = {}


def upgrade(
    data: dict[str, Any], found: int, current: int = CURRENT, steps: Mapping[int, Step] = STEPS
) -> dict[str, Any]:
    """`data` of format `found` in the `current` format; raises ValueError if there is no way."""
    if found > current:
        raise ValueError(f"format {found} is too new: this nhnas reads up to {current}; update it")
    if found < min(steps, default=current):
        raise ValueError(f"there is no format {found}; expected {current}")
    for number in range(found, current):
        data = {**steps[number](data), "format": number + 1}
    return data
