"""The snapshot store: the immutable trained state of every version, in `.nhnas/snapshots/<id>/`.

A snapshot is a sealed folder (`nhnas.compiler.sealed`). Its id is a hash of all that its future
depends on, so the same training gives the same id, and a snapshot is never written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from nhnas.compiler.sealed import read_sealed, restore_files, write_sealed
from nhnas.compiler.snapshot_id import snapshot_id
from nhnas.compiler.tensors_file import decode_tensors, encode_tensors
from nhnas.spec.errors import InputError

__all__ = ["Snapshot", "identify", "load_snapshot", "save_snapshot", "store_folder"]


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
) -> str:
    """The id of a snapshot with this content; arguments as the fields of `Snapshot`."""
    tensors = {f"weights/{name}": tensor for name, tensor in weights.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer.items()}
    return snapshot_id(parent, version, state["architecture"], tensors, state["exact"])


def save_snapshot(store: Path, snapshot: Snapshot) -> Path:
    """Writes a snapshot durably and at once, and returns its folder.

    One that is there already is verified and left as it is; tensors that were dropped are put back.
    Raises TrainingError (NaN or infinity in a tensor), InputError (the one that is there is damaged),
    StorageError, and ValueError where the id is not that of the content.
    """
    if not is_state(snapshot.state) or snapshot.id != _identity(snapshot):
        raise ValueError(f"{snapshot.id} is not the id of this snapshot's content")
    folder = snapshot_folder(store, snapshot.id)
    files = {
        WEIGHTS: encode_tensors(snapshot.weights, "weights"),
        OPTIMIZER: encode_tensors(snapshot.optimizer, "optimizer"),
        **small_files(snapshot.spec_text, snapshot.state, snapshot.edits, snapshot.metrics),
    }
    create_store(store)
    head = {"kind": "snapshot", "id": snapshot.id, "parent": snapshot.parent, "version": snapshot.version}
    if not write_sealed(folder, head, files):
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


def _identity(snapshot: Snapshot) -> str:
    return identify(snapshot.parent, snapshot.version, snapshot.weights, snapshot.optimizer, snapshot.state)
