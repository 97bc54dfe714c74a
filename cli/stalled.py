"""A run to a size that comes no nearer: it ends, where it would go on for ever; never imports torch."""

from __future__ import annotations

from itertools import islice
from typing import Any

from nhnas.compiler.history import Info, newest_first
from nhnas.compiler.place import store_folder
from nhnas.figures import SIZES, Figures, figures, sizes_of
from nhnas.settings import SETTINGS, changed, settings_of
from nhnas.spec.config import Search, Train
from nhnas.spec.document import Document
from nhnas.spec.schedule import settings_at
from nhnas.until import Until, parse_until

STEPS = 5
"""So many steps that bring no goal nearer end a run without a bound."""


def stalled(goal: dict[str, Any], version: int, document: Document) -> str | None:
    """Why a run without a bound is of no use any more, None where it may come nearer or has a bound.

    A function of the file and its snapshots, so that it is the same after an interruption. Where a schedule,
    an accuracy that a policy looks for or an edit changes the search, the count begins anew. Of an untrained
    file the first step is not counted.
    """
    goals = parse_until(goal.get("until", ()))
    if goal["to"] is not None or not goals or any(each.name not in SIZES for each in goals):
        return None
    if version - goal["from"] < STEPS or document.path is None or document.state is None:
        return None
    now = figures(document)
    if _is_to_change(document, now):
        return None
    last = list(islice(newest_first(store_folder(document.path), document.state), STEPS + 1))
    if len(last) <= STEPS or any(_is_steered(info) for info in last[: STEPS - 1]):
        return None
    if changed(last[0].state["info"].get(SETTINGS, {}), settings_of(document)):
        return None
    if _scheduled(document, last[0]) != _scheduled(document, last[-1]):
        return None
    sizes = [sizes_of(info) for info in last]
    if any(_gap(each, size) < _gap(each, sizes[-1]) for each in goals for size in sizes[:-1]):
        return None
    told = ", ".join(f"{each} ({now.text(each.name)})" for each in goals)
    return f"not reached: {told}; {STEPS} steps came no nearer, so the run ends{_advice(goals[0], document)}"


def _advice(goal: Until, document: Document) -> str:
    """What would change it, where the file does not have that yet."""
    ratio = document.search.add_to_remove
    if document.search.policy == "auto":
        return " (search.target says which size the policy keeps)"
    if goal.sign == "<=":
        return " (search.add_to_remove below 1 shrinks)" if ratio >= 1.0 else ""
    return " (search.add_to_remove above 1 grows)" if ratio <= 1.0 else ""


def _is_to_change(document: Document, now: Figures) -> bool:
    """Whether the file itself says that the search will go another way."""
    search = document.search
    looks_for_accuracy = search.policy == "auto" and search.target is not None and search.target.accuracy
    return bool(looks_for_accuracy) or any(now.now["epochs"] < entry["until"] for entry in search.schedule)


def _scheduled(document: Document, info: Info) -> tuple[Search, Train]:
    """What the file has a step do that begins at a version."""
    return settings_at(document.search, document.train, info.state["exact"]["epochs"])


def _is_steered(info: Info) -> bool:
    """Whether a person changed settings or the net before the step."""
    by_hand = any(record["stage"] == "hand" for record in info.edits)
    return by_hand or SETTINGS in info.state["info"].get("facts", {})


def _gap(goal: Until, sizes: dict[str, float]) -> float:
    return abs(sizes[goal.name] - goal.value)
