"""Results remembered by the object they were computed from.

A frozen architecture is asked for its structure dozens of times between two edits. A cache by value would
hash the whole tree each time, in Python: here the object itself is recognised first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

SIZE = 64
"""Results that are kept."""


def recognised(function: Callable[[T], R]) -> Callable[[T], R]:
    """`function` of one frozen argument; its last results are kept for the same objects."""
    known: OrderedDict[int, tuple[T, R]] = OrderedDict()  # holds its arguments, so that ids stay theirs

    @wraps(function)
    def recall(argument: T) -> R:
        found = known.get(id(argument))
        if found is None:
            found = known[id(argument)] = (argument, function(argument))
            if len(known) > SIZE:
                known.popitem(last=False)
        return found[1]

    return recall


def remembered(function: Callable[[T], R]) -> Callable[[T], R]:
    """`recognised`, and also for hashable arguments that are equal."""
    return recognised(wraps(function)(lru_cache(maxsize=SIZE)(function)))
