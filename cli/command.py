"""The commands that train: one at a time on a spec, and the same command goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nhnas.base import load_base
from nhnas.commit import Saved, save_version
from nhnas.compiler.files import sweep
from nhnas.compiler.lock import hold
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import Slot, clear_slot, read_slot, write_slot
from nhnas.edits_file import EditsFile
from nhnas.goal import check_goals, command_text, is_over, resolved, tell_where_it_ends
from nhnas.goes_on import Request, checked, is_midway, is_same
from nhnas.opening import begin, resume
from nhnas.out_of_memory import opening_version
from nhnas.reached import current_version
from nhnas.report import Report, Silent
from nhnas.rollback import work_through
from nhnas.saved_text import saved_text
from nhnas.search_step import run_step
from nhnas.settings import note_settings, tell_edited_since
from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError, TrainingError
from nhnas.stalled import stalled
from nhnas.trainer.engine import warmup_batches
from nhnas.trainer.own_torch import own_torch
from nhnas.trainer.phases import Follow
from nhnas.unfinished import renamed
from nhnas.until import parse_until
from nhnas.work import PROBE_SAMPLES, Context, Work


@dataclass(frozen=True)
class Options:
    """What all training commands take.

    `fresh` starts untrained, `discard` drops an interrupted command, `wait` waits for a running one;
    the change of the output at each edit is measured over `probe_samples` test samples.
    """

    fresh: bool = False
    discard: bool = False
    wait: bool = False
    allow_import: bool = False
    probe_samples: int = PROBE_SAMPLES


def step(spec: Path, to: int | None, options: Options, report: Report | None = None) -> list[Saved]:
    """One step of the search; nothing where version `to` is there already."""
    _check_whole("to", to, 0)
    version = _version_of(spec, options)
    if to is not None and not version <= to <= version + 1:
        raise InputError(f"{spec} is at version {version}: one step leads to {version + 1}, not to {to}")
    return train_under_lock(spec, Request("step", options.fresh, to=to), options, run_step, report)


def run(
    spec: Path,
    steps: int | None,
    to: int | None,
    options: Options,
    report: Report | None = None,
    until: Iterable[str] = (),
) -> list[Saved]:
    """Several steps: `steps` more, up to version `to`, or until a goal is met; what comes first ends it."""
    goals = parse_until(until)
    _check_whole("to", to, 0)
    if (steps is not None and to is not None) or (steps is None and to is None and not goals):
        raise InputError(
            "run needs either --steps N or --to VERSION, or --until GOAL, alone or with one of them"
        )
    _check_whole("steps", steps)
    version = _version_of(spec, options)
    if to is not None and to < version:
        raise InputError(f"{spec} is at version {version} already, beyond {to}; check out the older one")
    check_goals(goals, read_document(spec), options.fresh)
    request = Request("run", options.fresh, steps=steps, to=to, until=goals)
    return train_under_lock(spec, request, options, run_step, report)


def train(spec: Path, epochs: int, options: Options, report: Report | None = None) -> list[Saved]:
    """Train without changing the architecture, along `train.schedule`, and save a version."""
    read_document(spec)  # a file that says nothing gets no store beside it
    _check_whole("epochs", epochs)
    request = Request("train", options.fresh, epochs=epochs)
    return train_under_lock(spec, request, options, lambda work: _follow(work, epochs), report)


def _check_whole(name: str, number: int | None, least: int = 1) -> None:
    if number is not None and (type(number) is not int or number < least):
        raise InputError(f"{name}: expected a whole number, {least} or more, found {number!r}")


def _follow(work: Work, epochs: int) -> Saved:
    work.stage = "train"
    begun = work.progress.epoch + (work.progress.batch > 0)  # where another bound was given before
    total, warmup = max(epochs, begun) * work.batch_count, warmup_batches(work.train, work.batch_count)
    phase = Follow(work.engine.network, work.train, total, warmup)
    if work.saved is not None:
        phase.load(*work.saved)
    work.run(phase)
    phase.close()
    return save_version(work, work.exact)


def _version_of(spec: Path, options: Options) -> int:
    """The version that a command starts from: 0 where it starts untrained, whatever the file names."""
    document = read_document(spec)
    return 0 if options.fresh else current_version(document)


def train_under_lock(
    spec: Path,
    request: Request,
    options: Options,
    work_on: Callable[[Work], Saved],
    report: Report | None,
    edits: EditsFile | None = None,
) -> list[Saved]:
    """Hold the spec, and work until the goal's version is there; `edits` come first, on top of the file."""
    _check_whole("probe_samples", options.probe_samples)
    store, key = store_folder(spec), spec_key(spec)
    with hold(store, key, options.wait, f"nhnas {request.command}"), own_torch():
        context = Context(
            spec, report or Silent(), options.allow_import, options.fresh, options.probe_samples
        )
        sweep(spec.resolve().parent)
        if options.discard:
            clear_slot(store, key)
        return _until_goal(context, request, work_on, edits)


def _until_goal(
    context: Context, request: Request, work_on: Callable[[Work], Saved], edits: EditsFile | None
) -> list[Saved]:
    store, key = store_folder(context.spec), spec_key(context.spec)
    slot = checked(read_slot(store, key), request, context.spec)
    document = read_document(context.spec)
    version = _version_before(slot, document, context)
    if slot is not None and not is_same(request, slot):
        slot = _under(_goal(request, version, document), slot, version, document, context)
        if slot is None:
            return []
    goal = _goal(request, version, document) if slot is None else slot.goal
    started = slot if slot is not None and is_midway(slot, document) else None
    if slot is None:
        for line in renamed(document, context.spec):
            context.report.say(line)
    saved: list[Saved] = []
    is_done = started is None and _has_ended(goal, version, document, context)
    while not is_done:
        with opening_version(version + 1):
            if started is not None:
                context.report.say(f"continuing version {started.data['version']} ({started.data['stage']})")
                tell_edited_since(context, started, document)
                work = resume(context, started)
            else:
                first = version == goal["from"]
                fresh, own = context.fresh and first, edits if first else None
                base = load_base(document, context.spec, fresh=fresh, edits=own)
                work = begin(context, base, goal, version + 1)
                note_settings(work)
        started = None
        context.report.say(f"{context.spec.name}: version {work.version}")
        try:
            saved.append(work_through(work, work_on))
        except TrainingError:
            _drop(work)
            raise
        context.report.say(saved_text(saved[-1]))
        version = saved[-1].version
        if saved[-1].path != context.spec:  # the person's own file may be broken or gone: it is not read
            tell_where_it_ends(goal, saved[-1].path, context)
            break
        document = read_document(context.spec)
        is_done = _has_ended(goal, version, document, context)
        if not is_done:
            write_slot(store, key, goal, {}, {"file_state": saved[-1].state})
    clear_slot(store, key)
    return saved


def _under(
    goal: dict[str, Any], slot: Slot, version: int, document: Document, context: Context
) -> Slot | None:
    """The slot of another command under this goal; None where that is met, and the other one waits on."""
    waiting = f"`{command_text(slot.goal['request'])}` was interrupted"
    if is_over(goal, version, document, context.report):
        context.report.say(f"{waiting} and waits: the same command goes on, --discard drops it")
        return None
    context.report.say(f"{waiting}: this goes on with its work")
    return replace(slot, goal=goal)


def _has_ended(goal: dict[str, Any], version: int, document: Document, context: Context) -> bool:
    """Whether the command is over; raises InputError where it would never be."""
    if is_over(goal, version, document, context.report):
        return True
    if reason := stalled(goal, version, document):
        clear_slot(store_folder(context.spec), spec_key(context.spec))
        raise InputError(f"{context.spec}: {reason}")
    return False


def _version_before(slot: Slot | None, document: Document, context: Context) -> int:
    """The version that there is, seen from the command's goal."""
    if slot is not None and is_midway(slot, document):
        return int(slot.data["version"]) - 1
    return 0 if context.fresh and slot is None else current_version(document)


def _goal(request: Request, version: int, document: Document) -> dict[str, Any]:
    """What the slot remembers of a command that starts at `version`; `to` None: only `until` ends it."""
    steps = request.steps or (None if request.until else 1)
    to = version + steps if request.to is None and steps is not None else request.to
    goal = {"request": request.as_dict(), "from": version, "to": to}
    return goal | (resolved(request.until, document, request.fresh) if request.until else {})


def _drop(work: Work) -> None:
    """Forget a version that cannot be trained: continued, it would fail again, whatever the file says now.

    A command that saved versions before still knows how far it was to go.
    """
    store, key = store_folder(work.context.spec), spec_key(work.context.spec)
    if work.version == work.goal["from"] + 1:
        clear_slot(store, key)
    else:
        write_slot(store, key, work.goal, {}, {"file_state": work.document.state})
