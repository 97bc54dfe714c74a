"""A store of five versions, and what `nhnas gc` left of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nhnas.collection import Options, collect_places
from nhnas.compiler.history import known_ids
from nhnas.compiler.store import load_snapshot
from nhnas.spec.errors import InputError
from tests import tiny


def five_versions(folder: Path) -> Path:
    """The folder, with a spec and five versions, the file at the last one."""
    tiny.run(tiny.make(folder), steps=5)
    return folder


def gc(*places: Path, **options: Any) -> list[str]:
    """Collect; the ids that lost their weights."""
    return [head.id for one in collect_places(places, Options(**options)) for head in one.collected.dropped]


def write(spec: Path, version: int, states: list[str]) -> None:
    """The spec as it was at a version."""
    snapshot = spec.parent / ".nhnas" / "snapshots" / states[version - 1]
    spec.write_bytes((snapshot / "spec.yaml").read_bytes())


def whole(spec: Path) -> list[str]:
    """The ids whose weights can be loaded, oldest version first; all others were dropped, and say so."""
    store, found = spec.parent / ".nhnas", []
    for snapshot in known_ids(store):
        try:
            found.append(load_snapshot(store, snapshot))
        except InputError as error:
            if "its weights were dropped by nhnas gc; check out" not in str(error):
                raise
    return [snapshot.id for snapshot in sorted(found, key=lambda one: one.version)]
