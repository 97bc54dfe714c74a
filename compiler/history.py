"""What the store says about versions without their tensors; never imports torch (`nhnas log`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.canonical import canonical_json, parse_canonical
from nhnas.compiler.files import one_line, storing
from nhnas.compiler.place import is_id, snapshot_folder, snapshots_folder
from nhnas.compiler.sealed import Sealed, read_claims, read_sealed
from nhnas.spec.errors import InputError

SPEC, STATE, EDITS, METRICS = "spec.yaml", "state.json", "edits.yaml", "metrics.jsonl"
SMALL_FILES = (SPEC, STATE, EDITS, METRICS)
WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
ADVICE = "restore this snapshot from a copy of the store, or check out another version"
_KNOWN_SHOWN = 5


@dataclass(frozen=True)
class Info:
    """A snapshot without its tensors.

    `state` has the parts `architecture` (canonical `net` and `input`), `exact` and `info`; `edits` and
    `metrics` are records as they were saved.
    """

    id: str
    parent: str | None
    version: int
    spec_text: bytes
    state: dict[str, Any]
    edits: list[dict[str, Any]]
    metrics: list[dict[str, Any]]


@dataclass(frozen=True)
class Head:
    """What a snapshot's manifest says, and whether its tensors were dropped (`nhnas.compiler.collect`)."""

    id: str
    parent: str | None
    version: int
    dropped: bool


def known_ids(store: Path) -> list[str]:
    """The ids of all snapshots in the store, sorted. Raises StorageError."""
    folder = snapshots_folder(store)
    with storing(folder):
        return sorted(filter(is_id, os.listdir(folder))) if folder.is_dir() else []


def existing_folder(store: Path, snapshot: str) -> Path:
    """The folder of a snapshot. Raises InputError with the choices where it is not in the store."""
    folder = snapshot_folder(store, snapshot)
    if folder.is_dir():
        return folder
    known = known_ids(store)
    more = f" and {len(known) - _KNOWN_SHOWN} more" if len(known) > _KNOWN_SHOWN else ""
    raise InputError(
        f"state {snapshot} is not in {one_line(store)} (known: {', '.join(known[:_KNOWN_SHOWN]) or 'none'}"
        f"{more}); check out the commit that has it, copy .nhnas/, or start untrained with --fresh"
    )


def load_info(store: Path, snapshot: str) -> Info:
    """Reads and verifies the small files of a snapshot; of the tensors only the files' sizes.

    Raises InputError (not there, damaged: the file is named) and StorageError.
    """
    folder = existing_folder(store, snapshot)
    return parse_info(folder, read_sealed(folder, ADVICE, only=SMALL_FILES))


def load_head(store: Path, snapshot: str) -> Head:
    """Reads and verifies a snapshot's manifest; of all files only the sizes. Raises as `load_info` does."""
    folder = existing_folder(store, snapshot)
    return _parse_head(folder, read_sealed(folder, ADVICE, only=()))


def claimed_head(store: Path, snapshot: str) -> Head | None:
    """What the manifest of a damaged snapshot says, None where that is what is damaged."""
    folder = existing_folder(store, snapshot)
    try:
        return _parse_head(folder, Sealed(read_claims(folder, ADVICE), {}))
    except InputError:
        return None


def newest_first(store: Path, snapshot: str) -> Iterator[Info]:
    """The snapshot and its ancestors as far back as the store has them, each read when it is asked for.

    Raises as `load_info` does, and InputError where parents run in a circle.
    """
    seen: set[str] = set()
    current: str | None = snapshot
    while current is not None and (current == snapshot or snapshot_folder(store, current).is_dir()):
        if current in seen:
            raise InputError(f"{one_line(snapshot_folder(store, current))}: is its own ancestor; {ADVICE}")
        seen.add(current)
        info = load_info(store, current)
        yield info
        current = info.parent


def lineage(store: Path, snapshot: str) -> list[Info]:
    """All of `newest_first`, oldest first."""
    return list(newest_first(store, snapshot))[::-1]


def small_files(
    spec_text: bytes, state: Mapping[str, Any], edits: list[dict[str, Any]], metrics: list[dict[str, Any]]
) -> dict[str, bytes]:
    """The small files' content: canonical JSON, one record a line; edits.yaml is YAML as well."""
    return {
        SPEC: spec_text,
        STATE: canonical_json(state),
        EDITS: b"".join(b"- " + canonical_json(edit) + b"\n" for edit in edits) or b"[]\n",
        METRICS: b"".join(canonical_json(record) + b"\n" for record in metrics),
    }


def parse_info(folder: Path, sealed: Sealed) -> Info:
    """The inverse of `small_files`, with the manifest's head. Raises InputError."""
    head, files = _parse_head(folder, sealed), sealed.files
    if missing := [name for name in SMALL_FILES if name not in files]:
        raise InputError(f"{one_line(folder / missing[0])}: is missing; {ADVICE}")
    state = parse_canonical(files[STATE], folder / STATE)
    if not is_state(state):
        raise InputError(f"{one_line(folder / STATE)}: needs architecture, exact and info; {ADVICE}")
    edits = b"" if files[EDITS] == b"[]\n" else files[EDITS]
    return Info(
        id=head.id,
        parent=head.parent,
        version=head.version,
        spec_text=files[SPEC],
        state=state,
        edits=_records(edits, b"- ", folder / EDITS),
        metrics=_records(files[METRICS], b"", folder / METRICS),
    )


def _parse_head(folder: Path, sealed: Sealed) -> Head:
    head = sealed.head
    if head.get("id") != folder.name:
        raise InputError(f"{one_line(folder)}: holds snapshot {one_line(head.get('id'), 60)}; {ADVICE}")
    parent, version = head.get("parent"), head.get("version")
    if not (parent is None or is_id(parent)) or type(version) is not int or version < 0:
        raise InputError(f"{one_line(folder / 'MANIFEST.json')}: no valid parent and version; {ADVICE}")
    return Head(folder.name, parent, version, bool(sealed.dropped))


def is_state(state: object) -> bool:
    """Whether `state` has exactly the parts `architecture`, `exact` and `info`."""
    return (
        isinstance(state, dict)
        and state.keys() == {"architecture", "exact", "info"}
        and all(isinstance(part, dict) for part in state.values())
    )


def _records(data: bytes, prefix: bytes, where: Path) -> list[dict[str, Any]]:
    records = []
    for line in data.split(b"\n")[:-1]:
        record = parse_canonical(line.removeprefix(prefix), where)
        if not isinstance(record, dict):
            raise InputError(f"{one_line(where)}: each line must be a record; {ADVICE}")
        records.append(record)
    return records
