"""Goals of `nhnas run --until`: `params=70000`, `accuracy>=0.92`; never imports torch.

`=` of a size means to reach it from where the network is now, growing or shrinking: it is reached by the step
that meets or passes it. Accuracy (a fraction) and epochs are reached from below, mse from above.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from nhnas.figures import SIZES, Figures
from nhnas.spec.config import Target
from nhnas.spec.document import Document
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown
from nhnas.spec.structure import sites

RISING, FALLING = ("accuracy", "epochs"), ("mse",)
NAMES = (*SIZES, *RISING, *FALLING)
FORM = "write NAME=VALUE, e.g. params=70000, or in quotes 'params>=70000' (a shell keeps > for itself)"
_GOAL = re.compile(r"\s*([^\s=<>]+)\s*(>=|<=|=)\s*([^\s=<>]+)\s*")
_OFF_TARGET = 1.03
"""`policy: auto` keeps this close to its target."""


@dataclass(frozen=True, order=True)
class Until:
    """A figure that is to reach a value; sign is `=` only for a size whose direction is not known yet."""

    name: str
    sign: str
    value: float

    def __str__(self) -> str:
        number = int(self.value) if self.value.is_integer() else self.value
        return f"{self.name}{self.sign}{number}"


def parse_until(texts: Iterable[str]) -> tuple[Until, ...]:
    """The goals, in one order whatever theirs was. Raises InputError, one line."""
    if not isinstance(texts, Iterable):
        raise InputError(f"until: expected a goal such as params=70000, or a list of them, found {texts!r}")
    return tuple(sorted({_parsed(text) for text in texts}))


def check_until(goals: Sequence[Until], document: Document, now: Figures) -> None:
    """Raises InputError where a goal that is not met can never be met by what the file says."""
    for goal in goals:
        if reason := _impossible(directed(goal, now), document):
            raise InputError(f"{document.path}: --until {goal} cannot be met: {reason}")


def directed(goal: Until, now: Figures) -> Until:
    """The goal with the direction in which it is reached from here."""
    if goal.sign != "=":
        return goal
    return replace(goal, sign=">=" if now.now[goal.name] < goal.value else "<=")


def first_met(goals: Sequence[Until], figures: Figures) -> Until | None:
    """The first goal that is met."""
    return next((goal for goal in goals if is_met(goal, figures)), None)


def is_met(goal: Until, figures: Figures) -> bool:
    """Whether the figures are where the goal wants them; one that is not known is not."""
    value = figures.now.get(goal.name)
    if value is None:
        return False
    if goal.sign == ">=":
        return value >= goal.value
    if goal.sign == "<=":
        return value <= goal.value
    before = value if figures.before is None else figures.before[goal.name]
    return min(value, before) <= goal.value <= max(value, before)


def _parsed(text: object) -> Until:
    found = _GOAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InputError(f"--until {shown(text)}: {FORM}")
    name, sign, number = found.groups()
    name = {"parameters": "params"}.get(name, name)
    if name not in NAMES:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(NAMES)}"
        raise InputError(f"--until {shown(text)}: unknown figure {shown(name)}; {hint}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"--until {shown(text)}: expected a number above 0, not {shown(number)}")
    if name in (*SIZES, "epochs") and not value.is_integer():
        raise InputError(f"--until {shown(text)}: {name} are counted; expected a whole number, not {number}")
    if name == "accuracy" and value > 1.0:
        raise InputError(f"--until {shown(text)}: accuracy is a fraction; write 0.92 for 92%")
    backwards = sign == "<=" if name in RISING else sign == ">=" and name in FALLING
    if backwards:
        right = f"{name}{'>=' if sign == '<=' else '<='}{number}"
        raise InputError(f"--until {shown(text)}: nobody trains for that; write {right}")
    sign = ">=" if name in RISING else "<=" if name in FALLING else sign
    return Until(name, sign, value)


def _impossible(goal: Until, document: Document) -> str | None:
    """Why a directed goal can never be met, None where it may be."""
    is_mse = document.train.loss == "mse"
    if goal.name == "accuracy" and is_mse:
        return "with train.loss mse there is no accuracy; write mse=VALUE"
    if goal.name == "mse" and not is_mse:
        return "with train.loss cross_entropy there is no mse; write accuracy=VALUE"
    if goal.name not in SIZES:
        return None
    if not any(site.open for site in sites(document.architecture).values()):
        return "no layer may grow or shrink"
    search = document.search
    if search.policy == "auto" and search.target is not None:
        return _off_target(goal, search.target)
    grows = search.add or search.add_fraction or search.drop_shortcut  # what was dropped may come back
    if goal.sign == ">=" and not grows and not search.schedule:
        return "search.add and search.add_fraction are 0, so nothing grows"
    return None


def _off_target(goal: Until, target: Target) -> str | None:
    """Why `policy: auto` never comes to a size; below its limit it may where another limit holds it lower."""
    limits = {"params": target.params, "macs": target.macs, "accuracy": target.accuracy}
    limit = limits.pop(goal.name, None)
    if limit is None:
        return None
    too_large = goal.sign == ">=" and goal.value > _OFF_TARGET * limit
    too_small = goal.sign == "<=" and goal.value * _OFF_TARGET < limit and not any(limits.values())
    return f"search.target keeps {goal.name} at {limit}" if too_large or too_small else None
