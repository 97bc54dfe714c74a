"""Saving a version: the snapshot first, the spec file last, which never names what is not there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.class_facts import TRAINED_ON
from nhnas.class_names import trained_on
from nhnas.compiler.build import build
from nhnas.compiler.files import read_file, replace_text, write_file
from nhnas.compiler.history import load_info
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import read_slot, write_slot
from nhnas.compiler.store import Snapshot, identify, save_snapshot
from nhnas.goal import RESULT
from nhnas.settings import settings_of
from nhnas.spec.canonical import canonical, same_architecture
from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.errors import InputError, TrainingError
from nhnas.spec.measure import measure
from nhnas.spec.notes import with_notes
from nhnas.spec.rewrite import rewrite
from nhnas.trainer.evaluate import evaluate
from nhnas.work import Work


@dataclass(frozen=True)
class Saved:
    """What a command saved: the version, its state, the file that names it, and its figures."""

    version: int
    state: str
    path: Path
    test: dict[str, float]
    totals: dict[str, int]
    edits: list[dict[str, Any]]
    max_change: float
    changed: int


def saved_already(spec: Path) -> Saved:
    """The version that a file names, as it was saved; raises InputError."""
    found = load_info(store_folder(spec), read_document(spec).state or "")
    known = found.state["info"]
    figures = (known["test"], known["totals"], found.edits, known["max_change"], known["changed"])
    return Saved(found.version, found.id, spec, *figures)


def save_version(work: Work, exact: dict[str, Any]) -> Saved:
    """Write snapshot and spec file; returns what was saved.

    Where a person edited `net` meanwhile, their file stays and the result goes to
    `<name>.v<version>.yaml` beside it. Raises TrainingError where the last batches spoilt the network.
    """
    weights = {name: t.detach() for name, t in work.engine.network.tensors().items()}
    # built as `eval` builds it: another memory format would give another last digit
    network = build(work.arch, weights, device=work.numerics.device)
    test = evaluate(network, work.dataset, work.dataset.test, work.document.train)
    held_out = work.dataset.val
    val = None if held_out is None else evaluate(network, work.dataset, held_out, work.document.train)
    info = _info(work, test, val)
    exact = {
        **exact,
        "epochs": exact["epochs"] + work.progress.epoch,
        "seed": work.document.train.seed,
        "numerics": work.numerics.as_dict(),
    }
    state = {"architecture": canonical(work.arch), "exact": exact, "info": info}
    weights = {name: t.cpu() for name, t in weights.items()}
    moments = {name: t.cpu() for name, t in work.engine.optimizer.state().items()}
    identity = identify(work.parent, work.version, weights, moments, state)
    path, before, text = _new_text(work, identity)
    snapshot = Snapshot(
        identity, work.parent, work.version, text, weights, moments, state, work.edits, work.metrics
    )
    _announce(work, identity)
    save_snapshot(store_folder(work.context.spec), snapshot)
    path = _replace(work, path, before, text, identity)
    return Saved(
        work.version, identity, path, test, info["totals"], work.edits, info["max_change"], info["changed"]
    )


def _info(work: Work, test: dict[str, float], val: dict[str, float] | None) -> dict[str, Any]:
    """What the log tells of a version; raises TrainingError where a figure is not finite."""
    own = [c for c in work.changes if c["stage"] != "hand" or work.stage == "apply"]
    largest = max((c["max_change"] for c in own), default=0.0)
    if not all(map(math.isfinite, [*test.values(), *(val or {}).values(), largest])):
        raise TrainingError(f"the test loss is {test['loss']} after training")
    return {
        "test": test,
        **({} if val is None else {"val": val}),
        "settings": settings_of(work.document),
        TRAINED_ON: trained_on(work.dataset),
        "totals": measure(work.arch).as_dict(),
        "changes": work.changes,
        "max_change": largest,
        "changed": max((c["changed"] for c in own), default=0),
        "facts": {
            key: work.facts[key]
            for key in ("added", "fit", "policy", "settings", "timing")
            if key in work.facts
        },
    }


def _announce(work: Work, identity: str) -> None:
    """Note in the slot what is about to be saved, so that after a kill it is known to be saved."""
    store, key = store_folder(work.context.spec), spec_key(work.context.spec)
    slot = read_slot(store, key)
    if slot is not None:
        write_slot(store, key, work.goal, slot.tensors, {**slot.data, RESULT: identity})


def _new_text(work: Work, identity: str) -> tuple[Path, bytes | None, bytes]:
    """Which file to write, what it must hold until then, and its new text."""
    spec, mine = work.context.spec, work.document
    now = read_file(spec.resolve()) if spec.exists() else b""
    current = mine if now == mine.text else _parsed(now, spec)
    if (
        current is not None
        and current.state == mine.state
        and same_architecture(current.architecture, mine.architecture)
        and _renamings(current) == _renamings(mine)
    ):
        return spec, now, _rewritten(current, work, identity)
    text = _rewritten(mine, work, identity)
    return _beside(work, identity, text), None, text


def _renamings(document: Document) -> list[str | None]:
    return [layer.renamed_from for layer in document.architecture.net]


def _parsed(text: bytes, path: Path) -> Document | None:
    try:
        return parse_document(text, path)
    except InputError:
        return None


def _rewritten(document: Document, work: Work, identity: str) -> bytes:
    renamed = {edit["new"]: edit["old"] for edit in work.edits if edit["kind"] == "rename"}
    arch = with_notes(work.arch, document.architecture, renamed)
    return rewrite(document, arch, version=work.version, state=identity)


def _beside(work: Work, identity: str, text: bytes) -> Path:
    """A name beside the spec where nothing else is overwritten."""
    spec = work.context.spec
    path = spec.with_name(f"{spec.stem}.v{work.version}{spec.suffix}")
    if path.exists() and read_file(path.resolve()) != text:
        return spec.with_name(f"{spec.stem}.v{work.version}-{identity}{spec.suffix}")
    return path


def _replace(work: Work, path: Path, before: bytes | None, text: bytes, identity: str) -> Path:
    """Replace the file; where a person saved it in the last moment, look again."""
    spec = work.context.spec
    while path == spec and not replace_text(path, before, text):
        path, before, text = _new_text(work, identity)
    if path != spec:
        write_file(path, text)
        seen = "edited meanwhile and stays" if spec.exists() else "taken away meanwhile"
        work.context.report.say(f"{spec.name} was {seen}; version {work.version} is in {path.name}")
    return path
