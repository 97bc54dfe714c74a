"""One step of the search, to be read top to bottom (paper, section 2; DESIGN §2).

grow → fit → choose → fade → remove → restructure → save
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nhnas import policy_step
from nhnas.commit import Saved, save_version
from nhnas.compiler.fade_plan import fade_plan, with_nested
from nhnas.compiler.keyed_random import key_of
from nhnas.measuring import measure
from nhnas.newcomers import start_newcomers
from nhnas.search.choose import choose
from nhnas.search.cost import neuron_costs
from nhnas.search.grow import grow
from nhnas.search.moving_average import update
from nhnas.search.neuron_edits import additions, removals
from nhnas.search.restructure import restructure
from nhnas.search.shortcuts import RECORD, droppable, drops, restorable, with_record
from nhnas.spec.apply import apply
from nhnas.spec.config import Search
from nhnas.spec.edits import Edit
from nhnas.spec.errors import TrainingError
from nhnas.spec.structure import Site, sites
from nhnas.trainer.engine import warmup_batches
from nhnas.trainer.fading import Fading
from nhnas.trainer.importance import importance, scale
from nhnas.trainer.phases import INITIAL, Fade, Fit, fit_settings, measured_batches
from nhnas.work import Work, moved_text


def run_step(work: Work) -> Saved:
    """From one version to the next; goes on from whatever stage `work` is in."""
    if work.stage == "":
        _grow(work)
    if work.stage == "fit":
        shares = _fit(work)
        _choose(work, shares)
    if work.stage == "fade":
        _fade(work)
        _remove(work)
        _restructure(work)
    return save_version(work, _exact_after(work))


def _grow(work: Work) -> None:
    """Add neurons noisily; how the network is computed is chosen for the grown one."""
    neurons = {key: site.neurons for key, site in _open(work).items()}
    averages, seed = work.exact["moving_average"], _seed(work, "grow")

    def draw(settings: Search) -> dict[str, int]:
        return grow(neurons, averages, settings, seed)

    counts = policy_step.growth(work, draw) if work.search.policy == "auto" else draw(work.search)
    work.facts["added"] = counts
    added = additions(work.arch, counts)
    work.edit(added, "grow", then=lambda: start_newcomers(work, added))
    work.context.report.say(f"grow: {_listing(counts, '+')}")
    measure(work)
    work.stage = "fit"


def _fit(work: Work) -> dict[str, float]:
    """Train until the loss is flat, and measure importance; returns the shares of shortcuts, if asked for."""
    phase = Fit(
        work.engine.network,
        frozenset(_open(work)),
        fit_settings(work.search, work.batch_count),
        work.train.lr,
        warmup_batches(work.train, work.batch_count),
        work.search.drop_shortcut,
        measured_batches(work.batch_count),
    )
    if work.saved is not None:
        phase.load(*work.saved)
    work.run(phase)
    phase.close()
    work.facts["fit"] = phase.flatness.verdict
    measured = phase.measured()
    values = {
        key: importance(measured[key].sensitivity, measured[key].positive)
        for key in _measured(work, measured)
    }
    if not all(np.isfinite(value).all() for value in values.values()):
        raise TrainingError("the gradients are not finite")
    found = {key: value.tolist() for key, value in scale(values, values).items()}
    work.exact = {**work.exact, "importance": {**_closed(work), **found}}
    return phase.shares()


def _closed(work: Work) -> dict[str, list[float | None]]:
    """What was measured before at sites that are fixed now: a person may open them again."""
    known = work.exact.get("importance", {})
    return {key: known[key] for key, site in sites(work.arch).items() if key in known and not site.open}


def _measured(work: Work, measured: dict[str, Any]) -> list[str]:
    """Open sites with a measurement, in file order."""
    return [key for key in _open(work) if key in measured]


def _choose(work: Work, shares: dict[str, float]) -> None:
    """Pick the least important neurons, and shortcuts of which little is heard."""
    search, values = work.search, work.exact["importance"]
    measured = {key: np.asarray(values[key]) for key in _open(work) if key in values}
    keep_one = frozenset(key for key, site in sites(work.arch).items() if site.keep_one)
    cost = None if search.cost == "none" else neuron_costs(work.arch, search.cost)

    def pick(added: int, settings: Search) -> dict[str, tuple[int, ...]]:
        found = choose(measured, added, settings, keep_one=keep_one, cost=cost, seed=_seed(work, "choose"))
        return with_nested(work.arch, found)

    added = sum(work.facts["added"].values())
    leavers = policy_step.leavers(work, pick) if search.policy == "auto" else pick(added, search)
    work.facts["leavers"] = leavers
    work.context.report.say(f"fade: {_listing({k: len(v) for k, v in leavers.items()}, '-')}")
    dropping = droppable(apply(work.arch, _removal(work)), shares, search.promote) if shares else ()
    if dropping:
        work.facts["dropping"] = dropping
    for path in dropping:
        work.context.report.say(f"fade: the shortcut of {path}, at most {shares[path]:.2%} of its output")
    work.stage = "fade"


def _dropping(work: Work) -> tuple[str, ...]:
    """Paths of the nodes that lose their shortcut in this step."""
    return tuple(work.facts.get("dropping", ()))


def _fade(work: Work) -> None:
    """Fade what leaves, and let the rest settle."""
    leavers, dropping = work.facts["leavers"], _dropping(work)
    if not leavers and not dropping:
        return
    plan = fade_plan(work.arch, leavers, dropping)
    initial = None if work.saved is None else work.saved[1][INITIAL]
    fading = Fading(work.engine.network.tensors(), plan.columns, plan.rows, plan.whole, initial)
    search, epoch = work.search, work.batch_count
    fade, settle = search.fade_epochs * epoch, search.settle_epochs * epoch
    if not fade and work.saved is None:
        _cut(work, fading)
    if fade + settle:
        work.run(Fade(fading, fade, settle, work.train.lr, warmup_batches(work.train, epoch)))
    fading.hold(1.0)


def _cut(work: Work, fading: Fading) -> None:
    """All that leaves goes at once, without an epoch to fade in: how far the outputs jump is told."""
    before = work.probe()
    fading.hold(1.0)
    work.note_change("cut", before, work.probe())
    told = moved_text(work.changes[-1], work.dataset.is_classification)
    work.context.report.say(f"cut at once (search.fade_epochs: 0): {told}")


def _remove(work: Work) -> None:
    """Take out what has faded: the function stays as it is."""
    dropped = drops(work.arch, _dropping(work))
    work.edit([*_removal(work), *dropped], "remove")
    work.exact = with_record(work.exact, dropped, work.arch)


def _removal(work: Work) -> list[Edit]:
    """The edits that take out the neurons that leave."""
    # in the order of the file, since facts that come back from the slot are sorted by name
    return removals(work.arch, work.facts["leavers"])


def _restructure(work: Work) -> None:
    """Make layers non-linear, or linear again."""
    search = work.search
    edits: list[Edit] = list(restructure(work.arch, search.promote))
    if search.drop_shortcut:
        edits += restorable(work.arch, work.exact.get(RECORD, {}), search.promote)
    work.edit(edits, "restructure")
    for edit in edits:
        work.context.report.say(f"{edit.kind}: {getattr(edit, 'path', '')}")


def _exact_after(work: Work) -> dict[str, Any]:
    """Counters, moving averages and importances of the new version."""
    removed = {key: len(at) for key, at in work.facts["leavers"].items()}
    averages = update(work.exact["moving_average"], sites(work.arch), work.facts["added"], removed)
    exact = policy_step.with_loss(work, {**work.exact, "moving_average": averages})
    return with_record(exact, (), work.arch)


def _open(work: Work) -> dict[str, Site]:
    """Sites that may grow and shrink."""
    return {key: site for key, site in sites(work.arch).items() if site.open}


def _seed(work: Work, purpose: str) -> int:
    return int(key_of(work.document.train.seed, work.parent or "", work.version, purpose))


def _listing(counts: dict[str, int], sign: str) -> str:
    return ", ".join(f"{key} {sign}{count}" for key, count in counts.items()) or "nothing"
