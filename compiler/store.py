"""The snapshot store: the immutable trained state of every version, in `.nhnas/snapshots/<id>/`.

A snapshot is a sealed folder (`nhnas.compiler.sealed`). Its id is a hash of all that its future
depends on, so the same training gives the same id, and a snapshot is never written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from nhnas.compiler.files import one_line
from nhnas.compiler.history import (
    ADVICE,
    OPTIMIZER,
    WEIGHTS,
    existing_folder,
    is_state,
    parse_info,
    small_files,
)
from nhnas.compiler.place import create_store, snapshot_folder, store_folder
from nhnas.compiler.sealed import Content, read_sealed, restore_files, write_sealed
from nhnas.compiler.snapshot_id import snapshot_id
from nhnas.compiler.tensor_chunks import raw_bytes
from nhnas.compiler.tensors_file import check_finite, decode_tensors, encode_chunks
from nhnas.spec.errors import InputError

__all__ = ["Snapshot", "identify", "load_snapshot", "save_snapshot", "store_folder"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The trained state of one version.

    `spec_text` is the spec file as saved with it; `weights` and `optimizer` map names to tensors of any
    shape; `state` has exactly the parts `architecture` (canonical `net` and `input`), `exact` (goes
    into the id: ages, moving averages, counters, random keys, numerics) and `info` (does not);
    `edits` and `metrics` are JSON records.
    """

    id: str
    parent: str | None
    version: int
    spec_text: bytes
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    edits: list[dict[str, Any]]
    metrics: list[dict[str, Any]]


def identify(
    parent: str | None,
    version: int,
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
    raw: Mapping[str, memoryview] | None = None,
) -> str:
    """The id of a snapshot with this content; arguments as fields of `Snapshot`, `raw` of `snapshot_id`."""
    tensors = _tagged(weights, optimizer)
    return snapshot_id(parent, version, state["architecture"], tensors, state["exact"], raw)


def _tagged(weights: Mapping[str, T], optimizer: Mapping[str, T]) -> dict[str, T]:
    tagged = {f"weights/{name}": value for name, value in weights.items()}
    return tagged | {f"optimizer/{name}": value for name, value in optimizer.items()}


def save_snapshot(store: Path, snapshot: Snapshot) -> Path:
    """Writes a snapshot durably and at once, and returns its folder.

    One that is there already is verified and left as it is; tensors that were dropped are put back.
    Raises TrainingError (NaN or infinity in a tensor), InputError (the one that is there is damaged),
    StorageError, and ValueError where the id is not that of the content.
    """
    folder = snapshot_folder(store, snapshot.id)
    _check_state(snapshot)
    weights, optimizer = raw_bytes(snapshot.weights), raw_bytes(snapshot.optimizer)
    files: dict[str, Content] = {
        WEIGHTS: encode_chunks(snapshot.weights, "weights", finite=False, raw=weights),
        OPTIMIZER: encode_chunks(snapshot.optimizer, "optimizer", finite=False, raw=optimizer),
        **small_files(snapshot.spec_text, snapshot.state, snapshot.edits, snapshot.metrics),
    }
    create_store(store)
    head = {"kind": "snapshot", "id": snapshot.id, "parent": snapshot.parent, "version": snapshot.version}
    checks = (partial(_check_id, snapshot, _tagged(weights, optimizer)), partial(_check_finite, snapshot))
    if not write_sealed(folder, head, files, *checks):
        for check in checks:
            check()
        restore_files(folder, files, ADVICE)
        load_snapshot(store, snapshot.id)
    return folder


def load_snapshot(store: Path, snapshot: str) -> Snapshot:
    """Reads and verifies a snapshot: every file against the manifest, the id against the content.

    Tensors are on the CPU. Raises InputError (not in the store, or its tensors were dropped: with the
    choices; damaged: the file is named) and StorageError.
    """
    folder = existing_folder(store, snapshot)
    sealed = read_sealed(folder, ADVICE)
    info = parse_info(folder, sealed)
    if sealed.dropped:
        raise InputError(
            f"state {snapshot} (version {info.version}): its weights were dropped by nhnas gc; check out "
            f"another version, restore {one_line(folder)} from a copy of the store, or start untrained "
            "with --fresh"
        )
    if missing := {WEIGHTS, OPTIMIZER} - sealed.files.keys():
        raise InputError(f"{one_line(folder / min(missing))}: is missing; {ADVICE}")
    loaded = Snapshot(
        **vars(info),
        weights=decode_tensors(sealed.files[WEIGHTS], folder / WEIGHTS),
        optimizer=decode_tensors(sealed.files[OPTIMIZER], folder / OPTIMIZER),
    )
    if _identity(loaded) != snapshot:
        raise InputError(f"{one_line(folder)}: its content is not that of {snapshot}; {ADVICE}")
    return loaded


def _check_state(snapshot: Snapshot) -> None:
    if not is_state(snapshot.state):
        raise ValueError(f"the state of {snapshot.id} needs architecture, exact and info")


def _check_finite(snapshot: Snapshot) -> None:
    check_finite(snapshot.weights)
    check_finite(snapshot.optimizer)


def _check_id(snapshot: Snapshot, raw: Mapping[str, memoryview]) -> None:
    if snapshot.id != _identity(snapshot, raw):
        raise ValueError(f"{snapshot.id} is not the id of this snapshot's content")


def _identity(snapshot: Snapshot, raw: Mapping[str, memoryview] | None = None) -> str:
    parent, version, weights, optimizer = (
        snapshot.parent,
        snapshot.version,
        snapshot.weights,
        snapshot.optimizer,
    )
    return identify(parent, version, weights, optimizer, snapshot.state, raw)
