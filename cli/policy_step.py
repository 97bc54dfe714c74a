"""`policy: auto` inside a step: what the plan of `nhnas.search.policy` means for the network at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from nhnas.search.neuron_edits import additions, removals
from nhnas.search.policy import TURNOVER, Point, count_for, plan, ratio_text, remembered, size_of
from nhnas.spec.apply import apply
from nhnas.spec.config import Search, Target
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture
from nhnas.spec.structure import sites
from nhnas.trainer.evaluate import evaluate
from nhnas.work import Work

POLICY = "policy"
"""Key of the exact part: the points of the last steps; and of `facts`: what this step does, and why."""
MOST = 1_000_000
LEAST_RANDOM = 0.001
"""A smaller share of neurons that leave at random is none."""
NOBODY = -1.0
"""Below every importance: not even a neuron of which nothing is heard must go."""

Leavers = Mapping[str, Sequence[int]]


def growth(work: Work, draw: Callable[[Search], dict[str, int]]) -> dict[str, int]:
    """New neurons by site, as many as the plan asks for; `draw` says where they go.

    Notes the plan in `facts` and the point in `exact`. Raises InputError where an accuracy is wanted and
    nothing is held out.
    """
    target = _target(work)
    points = [*(Point(**point) for point in work.exact.get(POLICY, ())), _now(work, target)]

    def drawn(number: int) -> dict[str, int]:
        return draw(work.search.model_copy(update={"add": number, "add_fraction": 0.0}))

    def size_with(number: int) -> float:
        return _size(apply(work.arch, additions(work.arch, drawn(number))), target)

    chosen = plan(points, target, size_with(1) - size_with(0), work.search.random_remove)
    number = _number_to_add(chosen.grown, size_with) if drawn(1) else 0
    if not number:
        chosen = replace(chosen, because=f"{chosen.because}; no site is open")
    points[-1] = replace(points[-1], mode=chosen.mode, aim=chosen.aim)
    work.exact = {**work.exact, POLICY: [asdict(point) for point in remembered(points, target)]}
    work.facts[POLICY] = {**asdict(chosen), "add": number}
    rate = f", lr × {chosen.rate:.2g}" if chosen.rate != 1.0 else ""
    work.context.report.say(f"policy: add {number}{rate}, because {chosen.because}")
    return drawn(number)


def leavers(work: Work, pick: Callable[[int, Search], Leavers]) -> Leavers:
    """The least important neurons, as many as bring the network to the size that the plan aims at.

    `pick` says which a number of them are. `threshold_max` does not hold any back; `threshold_min` takes none
    that the size needs, or a network that learned all there is would lose every newcomer again, for ever.
    `random_remove` falls with the rate, as all exchange does: the network comes to rest. Where it would take
    more than half a turnover of the size (the last but one of a residual, with all inside), less of it holds.
    """
    target, record = _target(work), work.facts[POLICY]
    random = work.search.random_remove * record["rate"]
    others = {"add_to_remove": 1.0, "threshold_max": float("inf"), "random_remove": random}
    settings = work.search.model_copy(update=others)

    def size_without(number: int) -> float:
        return _size(apply(work.arch, removals(work.arch, pick(number, settings))), target)

    if size_without(0) < record["aim"]:
        settings = settings.model_copy(update={"threshold_min": NOBODY})
    while random and size_without(0) < record["aim"] * (1.0 - TURNOVER / 2.0):
        random = random / 2.0 if random > LEAST_RANDOM else 0.0
        settings = settings.model_copy(update={"random_remove": random})
    most = sum(site.neurons for site in sites(work.arch).values() if site.open)
    found = pick(count_for(record["aim"], size_without, most), settings)
    record["remove"] = sum(map(len, found.values()))
    work.context.report.say(f"policy: remove {record['remove']}, {ratio_text(record)}")
    return found


def with_loss(work: Work, exact: Mapping[str, Any]) -> dict[str, Any]:
    """`exact` with what the step came to at its point; without a policy there are no points."""
    rest = {key: value for key, value in exact.items() if key != POLICY}
    if work.search.policy != "auto":
        return rest
    *before, last = exact[POLICY]
    came_to = {"loss": work.metrics[-1]["loss"], "ended": measure(work.arch).parameters}
    return {**rest, POLICY: [*before, {**last, **came_to}]}


def _target(work: Work) -> Target:
    target = work.search.target
    if target is None:
        raise ValueError("a policy has a target: nhnas.spec.policy_findings")
    return target


def _now(work: Work, target: Target) -> Point:
    """The network as it is before it grows."""
    totals = measure(work.arch)
    accuracy = None if target.accuracy is None else _accuracy(work)
    named = target.model_dump(exclude_none=True)
    edited = any(edit["stage"] == "hand" and edit["kind"] != "rename" for edit in work.edits)
    return Point(totals.parameters, totals.macs, accuracy, target=named, edited=edited)


def _accuracy(work: Work) -> float:
    """Of the held-out samples."""
    held_out = work.dataset.val
    if held_out is None:
        raise InputError(
            f"{work.context.spec}: search.target.accuracy is that of held-out samples, and "
            f"{work.dataset.name} has none; set data.val, e.g. 0.1"
        )
    return evaluate(work.engine.network, work.dataset, held_out, work.document.train)["accuracy"]


def _number_to_add(grown: float, size_with: Callable[[int], float]) -> int:
    """Neurons that bring the network nearest to the size `grown`; one at least."""
    most = 8
    while most < MOST and size_with(most) < grown:
        most *= 2
    return max(1, count_for(grown, size_with, most))


def _size(arch: Architecture, target: Target) -> float:
    totals = measure(arch)
    return size_of(totals.parameters, totals.macs, target)
