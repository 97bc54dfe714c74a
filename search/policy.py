"""`policy: auto`: how far a step grows, shrinks or exchanges, and at which rate, to come to a target.

The size of a network is its parameters (or multiply-accumulates) in units of `search.target`, whichever is
nearer to its limit where the target names both; with a target of accuracy alone it is the plain number of
parameters and has no limit. A step grows to `Plan.grown`, trains, and gives up its least important neurons
until it is at `Plan.aim`: so the size is met to a neuron, whatever the neurons cost that came and went, but
for those that leave at random; `add_to_remove` is what follows from it. A plan is a function of the file's
settings and of the points, which are saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from nhnas.spec.config import Target

Mode = Literal["grow", "hold", "shrink"]

WITHIN = 0.03
"""A size this close to the target, or to the bracket of an accuracy, is there."""
GROWTH = 2.0
"""Most that a step multiplies the size by. In parameters: two fifths more neurons in every layer."""
FIRST_GROWTH = 0.25
"""Share of the target that a step may add however small the network: three or four steps lead anywhere."""
SHRINKAGE = 0.8
"""Most that a step shrinks by: every tenth neuron, about what the authors' shrinking run gave up a step."""
TURNOVER = 0.2
"""Share of the size that comes and goes in every step: a tenth of the neurons, as in the authors' long run
(80 and 7% of some 1,500); it falls with the rate, so that a network that is there comes to rest. One that
was there and is off by less, since some left at random or a shortcut came or went, is put right and
still there."""
PROGRESS = 0.01
"""A held network whose training loss falls by less has reached a plateau."""
DECAY, LEAST_RATE = 0.7, 0.1
"""Of the learning rate at each plateau; the authors' schedule falls by 1.3 to 2.5 at a time, 7.5 in all."""
MEMORY = 32
"""Points that are kept, and two more of sizes that held an accuracy and did not."""


@dataclass(frozen=True)
class Point:
    """The start of a step, and what the step then did: `mode`, and its last training loss.

    Of the present step, which is the last point, both are None, and of those that only tell of a size.
    `accuracy` is that of held-out samples, None where the target names none. `plateaus` and `best`, the least
    loss at this size, of the first point tell of steps that are forgotten. `target` is what the file named,
    `aim` the plan's, and `ended` the parameters that the step ended with, None where that is not known;
    `edited` says that a person's edits of the network came with this step.
    """

    parameters: int
    macs: int
    accuracy: float | None = None
    mode: Mode | None = None
    loss: float | None = None
    plateaus: int = 0
    best: float | None = None
    target: Mapping[str, float] | None = None
    aim: float | None = None
    ended: int | None = None
    edited: bool = False


@dataclass(frozen=True)
class Plan:
    """Grow to size `grown`, come back to size `aim`, at `rate` times the learning rate."""

    mode: Mode
    grown: float
    aim: float
    rate: float
    because: str


def size_of(parameters: int, macs: int, target: Target) -> float:
    """Size in units of the target; parameters where it names an accuracy alone."""
    limits = ((parameters, target.params), (macs, target.macs))
    shares = [value / limit for value, limit in limits if limit is not None]
    return max(shares) if shares else float(parameters)


def plan(points: Sequence[Point], target: Target, neuron: float = 0.0, random_remove: float = 0.0) -> Plan:
    """What the step does that begins at the last of `points`.

    `neuron` is the size that one neuron costs: half of it is as near as whole neurons come. `random_remove`
    is the share of neurons that leave at random, at the whole rate: enough grow to make up for them.
    """
    sizes = [size_of(point.parameters, point.macs, target) for point in points]
    limit = math.inf if target.params is None and target.macs is None else 1.0
    now, aim = sizes[-1], _toward(sizes[-1], limit)
    met = [] if target.accuracy is None else _met(points, target.accuracy)
    if any(met):
        aim = min(_while_it_holds(sizes, met, _failures(points, met)), aim)
    held = _held(points)
    if held is not None and abs(held - now) <= TURNOVER * held and min(now, held) <= aim <= max(now, held):
        aim, is_there = held, True  # nothing else is wanted than what it was
    else:
        is_there = abs(aim - now) <= max(WITHIN * now, neuron / 2)
    mode: Mode = "hold" if is_there else "grow" if aim > now else "shrink"
    rate = _rate([*points[:-1], replace(points[-1], mode=mode)], target)
    kept = (1.0 - random_remove * rate) ** 2  # parameters go about with the square of the widths
    grown = max(max(now, aim) * (1.0 + TURNOVER * rate), aim / max(kept, 1.0 / GROWTH))
    return Plan(mode, grown, aim, rate, _because(points[-1], target, mode, aim / now))


def remembered(points: Sequence[Point], target: Target) -> list[Point]:
    """The last `MEMORY` points, with what is worth knowing of those before them."""
    forgotten, kept = points[:-MEMORY], points[-MEMORY:]
    if not forgotten:
        return list(points)
    plateaus, best = _plateaus([*forgotten, replace(kept[0], mode=None)], target)
    first, *rest = [*_witnesses(points, target), *kept]
    return [replace(first, plateaus=plateaus, best=best), *rest]


def _witnesses(points: Sequence[Point], target: Target) -> list[Point]:
    """Of the points to be forgotten those between which the size of the last one lies.

    The smallest larger one that met the accuracy, and the largest one up to it that failed; else any.
    """
    if target.accuracy is None:
        return []
    met = _met(points, target.accuracy)
    if not any(met):
        return []
    failed, old = _failures(points, met), range(len(points) - MEMORY)
    sizes = [size_of(point.parameters, point.macs, target) for point in points]
    now = sizes[-1]
    held = sorted((n for n in old if met[n]), key=lambda n: (sizes[n] <= now, sizes[n]))
    too_small = sorted((n for n in old if failed[n]), key=lambda n: (sizes[n] > now, -sizes[n]))
    return [
        replace(points[n], mode=None, loss=None, target=None, ended=None, edited=False)
        for n in (*held[:1], *too_small[:1])
    ]


def count_for(wanted: float, size_with: Callable[[int], float], most: int) -> int:
    """The number from 0 to `most` whose size comes nearest to `wanted`; the smaller one of two.

    `size_with` rises or falls with the number, if only roughly.
    """
    if most == 0:
        return 0
    rising = size_with(most) >= size_with(0)
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        size = size_with(middle)
        if size >= wanted if rising else size <= wanted:
            high = middle
        else:
            low = middle + 1
    return min((n for n in (low - 1, low) if n >= 0), key=lambda n: abs(size_with(n) - wanted))


def policy_text(record: Mapping[str, Any]) -> str:
    """`policy: add 12, add_to_remove 1.40, because …`, of a plan with the numbers that came of it."""
    rate = f", lr × {record['rate']:.2g}" if record["rate"] != 1.0 else ""
    return f"policy: add {record['add']}, {ratio_text(record)}{rate}, because {record['because']}"


def ratio_text(record: Mapping[str, Any]) -> str:
    """`add_to_remove 1.40`."""
    removed = record["remove"]
    return f"add_to_remove {record['add'] / removed:.2f}" if removed else "nothing to remove"


def _toward(now: float, limit: float) -> float:
    """The next size on the way to a limit; without one, growth."""
    if now >= limit:
        return max(limit, now * SHRINKAGE)
    first = now + FIRST_GROWTH * limit if math.isfinite(limit) else 0.0
    return min(limit, max(now * GROWTH, first))


def _met(points: Sequence[Point], accuracy: float) -> list[bool]:
    """Whether each point has the accuracy."""
    return [point.accuracy is not None and point.accuracy >= accuracy for point in points]


def _failures(points: Sequence[Point], met: Sequence[bool]) -> list[bool]:
    """Whether each point says that its size is too small.

    What failed before the accuracy was met for the first time had been trained too little, and says nothing;
    nor does what recovered in the step after, or was not measured since the target named no accuracy.
    """
    first = met.index(True)
    recovered = [p.mode == "hold" and after for p, after in zip(points, [*met[1:], False], strict=True)]
    missed = [p.accuracy is not None and not ok for p, ok in zip(points, met, strict=True)]
    return [n > first and missed[n] and not recovered[n] for n in range(len(points))]


def _while_it_holds(sizes: Sequence[float], met: Sequence[bool], failed: Sequence[bool]) -> float:
    """The next size once the accuracy was met: the smallest that holds it, by halving the bracket.

    A size that fails gets one more step to recover.
    """
    now = sizes[-1]
    if met[-1]:
        too_small = (size for size, is_so in zip(sizes, failed, strict=True) if is_so and size <= now)
        lower = max(now * SHRINKAGE, math.sqrt(now * max(too_small, default=0.0)))
        return lower if lower < now * (1.0 - WITHIN) else now
    if met[-2]:
        return now
    enough = min((s for s, ok in zip(sizes, met, strict=True) if ok and s > now), default=now * GROWTH)
    middle = math.sqrt(now * enough)
    return middle if middle > now * (1.0 + WITHIN) else enough


def _held(points: Sequence[Point]) -> float | None:
    """The size that the step before held, if it did and nobody steered since."""
    if len(points) < 2 or points[-2].mode != "hold" or _is_steered(*points[-2:]):
        return None
    return points[-2].aim


def _is_steered(before: Point | None, point: Point) -> bool:
    """Whether a person has changed the target, or the network, between two steps."""
    if before is None or point.edited:
        return point.edited
    is_known = before.target is not None and point.target is not None
    return (is_known and before.target != point.target) or before.ended not in (None, point.parameters)


def _rate(points: Sequence[Point], target: Target) -> float:
    """Factor of the learning rate: it falls at every plateau since the network last was on its way."""
    return max(LEAST_RATE, DECAY ** _plateaus(points, target)[0])


def _plateaus(points: Sequence[Point], target: Target) -> tuple[int, float | None]:
    """Plateaus since the network last was on its way to a size, and the least loss since it has its size.

    It is on its way where a person steered it, where it grows, and where it shrinks to a limit: what it
    learned before was for another size. An accuracy that holds is one that holds at the rate that it was
    reached with: the way down from there forgets nothing.
    """
    plateaus, best = (points[0].plateaus, points[0].best) if points else (0, None)
    for before, point in zip([None, *points], points, strict=False):
        if _is_steered(before, point) or point.mode == "grow" or _is_beyond(point, target):
            plateaus, best = 0, None
        if point.mode is None:
            continue
        if point.mode != "hold" or point.loss is None:
            best = None  # of another size
            continue
        plateaus += best is not None and point.loss > best * (1.0 - PROGRESS)
        best = point.loss if best is None else min(best, point.loss)
    return plateaus, best


def _is_beyond(point: Point, target: Target) -> bool:
    """Whether a step brings the network down to a limit."""
    has_limit = target.params is not None or target.macs is not None
    size = size_of(point.parameters, point.macs, target)
    return point.mode == "shrink" and has_limit and size > 1.0 + WITHIN


def _because(now: Point, target: Target, mode: Mode, factor: float) -> str:
    """`68,210 of 130,000 parameters, 88.10% of 92.00% held-out accuracy: grow to 1.50 times`."""
    parts = [
        f"{value:,} of {limit:,} {name}"
        for name, value, limit in (
            ("parameters", now.parameters, target.params),
            ("MACs", now.macs, target.macs),
        )
        if limit is not None
    ]
    if target.accuracy is not None and now.accuracy is not None:
        parts.append(f"{now.accuracy:.2%} of {target.accuracy:.2%} held-out accuracy")
    return f"{', '.join(parts)}: {mode}" + (f" to {factor:.2f} times the size" if mode != "hold" else "")
