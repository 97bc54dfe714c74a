"""Saving a version: the snapshot first, the spec file last, which never names what is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.files import read_file, replace_text, write_file
from nhnas.compiler.place import store_folder
from nhnas.compiler.store import Snapshot, identify, save_snapshot
from nhnas.spec.canonical import canonical, same_architecture
from nhnas.spec.document import parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
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


def save_version(work: Work, exact: dict[str, Any]) -> Saved:
    """Write snapshot and spec file; returns what was saved.

    Where a person edited `net` meanwhile, their file stays and the result goes to
    `<name>.v<version>.yaml` beside it.
    """
    dataset, network = work.dataset, work.engine.network
    test = evaluate(network, dataset, dataset.test, work.document.train)
    own = [c for c in work.changes if c["stage"] != "hand"]
    info: dict[str, Any] = {
        "test": test,
        "totals": measure(work.arch).as_dict(),
        "changes": work.changes,
        "max_change": max((c["max_change"] for c in own), default=0.0),
        "changed": max((c["changed"] for c in own), default=0),
        "facts": {key: work.facts[key] for key in ("added", "fit") if key in work.facts},
    }
    exact = {
        **exact,
        "epochs": exact["epochs"] + work.progress.epoch,
        "seed": work.document.train.seed,
        "numerics": work.numerics.as_dict(),
    }
    state = {"architecture": canonical(work.arch), "exact": exact, "info": info}
    weights = {name: t.detach().cpu() for name, t in network.tensors().items()}
    moments = {name: t.cpu() for name, t in work.engine.optimizer.state().items()}
    identity = identify(work.parent, work.version, weights, moments, state)
    path, before, text = _new_text(work, identity)
    snapshot = Snapshot(
        identity, work.parent, work.version, text, weights, moments, state, work.edits, work.metrics
    )
    save_snapshot(store_folder(work.context.spec), snapshot)
    path = _replace(work, path, before, text, identity)
    return Saved(
        work.version, identity, path, test, info["totals"], work.edits, info["max_change"], info["changed"]
    )


def _new_text(work: Work, identity: str) -> tuple[Path, bytes | None, bytes]:
    """Which file to write, what it must hold until then, and its new text."""
    spec = work.context.spec
    now = read_file(spec.resolve()) if spec.exists() else b""
    if now != work.document.text:
        try:
            current = parse_document(now, spec)
        except InputError:
            current = None
        untouched = (
            current is not None
            and current.state == work.document.state
            and same_architecture(current.architecture, work.document.architecture)
        )
        if current is not None and untouched:
            return spec, now, rewrite(current, work.arch, version=work.version, state=identity)
        return _beside(work), None, rewrite(work.document, work.arch, version=work.version, state=identity)
    return spec, now, rewrite(work.document, work.arch, version=work.version, state=identity)


def _beside(work: Work) -> Path:
    spec = work.context.spec
    return spec.with_name(f"{spec.stem}.v{work.version}{spec.suffix}")


def _replace(work: Work, path: Path, before: bytes | None, text: bytes, identity: str) -> Path:
    """Replace the file, unless a person saved it in the last moment."""
    if path == work.context.spec:
        if replace_text(path, before, text):
            return path
        path, _, text = _new_text(work, identity)
        if path == work.context.spec:
            path = _beside(work)
    write_file(path, text)
    name = work.context.spec.name
    work.context.report.say(
        f"{name} was edited meanwhile and stays; version {work.version} is in {path.name}"
    )
    return path
