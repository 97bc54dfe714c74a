"""The goal of a running command as its slot remembers it: when it is over, what is said; no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nhnas.figures import SIZES, Figures, figures
from nhnas.report import Report
from nhnas.spec.document import Document
from nhnas.until import Until, check_until, directed, first_met, parse_until

if TYPE_CHECKING:
    from nhnas.work import Context


RESULT = "result"
"""Key of a slot's data: the snapshot that is about to be saved."""


def goes_with(data: Mapping[str, Any], document: Document) -> bool:
    """Whether a slot's command goes on with a file: it is at what that began with, or at what it saved."""
    return document.state in [data[key] for key in ("file_state", RESULT) if key in data]


def check_goals(goals: Sequence[Until], document: Document, fresh: bool) -> None:
    """Raises InputError where none is met and one can never be."""
    now = figures(document, untrained=fresh)
    if first_met(goals, now) is None:
        check_until(goals, document, now)


def resolved(goals: Sequence[Until], document: Document, fresh: bool) -> dict[str, Any]:
    """`until` as the slot keeps it: with the direction in which each goal is reached from here.

    A size that is passed already keeps its `=`.
    """
    now = figures(document, untrained=fresh)
    if first_met(goals, now) is None:
        goals = [directed(goal, now) for goal in goals]
    return {"until": [str(goal) for goal in goals]}


def is_over(goal: dict[str, Any], version: int, document: Document, report: Report) -> bool:
    """Whether version `to` is there, or a goal of `until` is met; says which, where there are such goals."""
    goals = parse_until(goal.get("until", ()))
    is_last = goal["to"] is not None and version >= goal["to"]
    if not goals:
        return is_last
    now = figures(document, untrained=bool(goal["request"].get("fresh")) and version == goal["from"])
    met = first_met(goals, now)
    if met is not None:
        report.say(reached_text(met, now, version))
    elif is_last:
        rest = ", ".join(f"{goal} ({now.text(goal.name)})" for goal in goals)
        report.say(f"version {version} is there; not reached: {rest}")
    return is_last or met is not None


def reached_text(met: Until, now: Figures, version: int) -> str:
    """`reached params>=70000: 70,312 params at version 12`."""
    is_edited = now.pending and met.name in SIZES
    where = f"in the file, edited since version {version} (nhnas apply saves it)"
    place = where if is_edited else f"at version {version}"
    return f"reached {met}: {now.text(met.name)} {place}{_way_back(met, now)}"


def _way_back(met: Until, now: Figures) -> str:
    """How to ask for a size that the last step passed, where what is wanted may be the other direction."""
    value = now.now[met.name]
    if met.sign != "=" or value == met.value:
        return ""
    sign = ">=" if value < met.value else "<="
    return f", which passed it (back to it: --until '{replace(met, sign=sign)}')"


def tell_where_it_ends(goal: dict[str, Any], path: Path, context: Context) -> None:
    """A person edited `net` during the last step of a run: they decide from which file it goes on."""
    if goal["request"]["command"] == "run":
        own = f", or with your own {context.spec.name}" if context.spec.exists() else ""
        context.report.say(f"the run ends here: go on with {path.name}{own}")


def command_text(asked: dict[str, Any]) -> str:
    """The command line of a request."""
    words = ["nhnas", asked["command"]]
    for key, value in asked.items():
        if key != "command":
            values = value if isinstance(value, list) else [value]
            words += [f"--{key}" if one is True else f"--{key} {shlex.quote(str(one))}" for one in values]
    return " ".join(words)
