"""The slot of a running command: its goal and training state, from which the same command goes on.

Each write commits a new numbered generation, then removes the one before: a kill at any moment leaves
a whole one, and the newest committed one counts. Generations are sealed folders
(`nhnas.compiler.sealed`) in `.nhnas/slots/<spec file name>/`; at most two are on disk.
Whoever calls holds the spec's lock (`nhnas.compiler.lock`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nhnas.compiler.canonical import canonical_json, parse_canonical
from nhnas.compiler.files import one_line, remove_folder, storing
from nhnas.compiler.place import create_store, slot_folder
from nhnas.compiler.sealed import read_sealed, write_sealed
from nhnas.compiler.tensors_file import decode_tensors, encode_tensors
from nhnas.spec.errors import BusyError, InputError

GOAL, DATA = "goal.json", "data.json"
ADVICE = "--discard drops the interrupted command, and the spec's version is where the next one starts"
_TENSORS = re.compile(r"[a-z0-9_]+\.safetensors")


@dataclass(frozen=True, eq=False)
class Slot:
    """What a running command saved last: its `goal`, tensors by file and name, and plain `data`."""

    goal: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    data: dict[str, Any]
    generation: int


def write_slot(
    store: Path,
    spec_name: str,
    goal: dict[str, Any],
    tensors: Mapping[str, Mapping[str, Tensor]],
    data: dict[str, Any],
) -> None:
    """Replaces the slot durably and at once; `tensors` maps file names, `x.safetensors`, to tensors.

    Raises TrainingError (NaN or infinity in a tensor), StorageError, and BusyError where another
    command writes the same slot, which the spec's lock rules out.
    """
    if wrong := [name for name in tensors if not _TENSORS.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no file name of the form x.safetensors")
    folder = slot_folder(store, spec_name)
    files = {name: encode_tensors(content, name) for name, content in tensors.items()}
    files |= {GOAL: canonical_json(goal), DATA: canonical_json(data)}
    create_store(store)
    old = _generations(folder)
    new = old[-1] + 1 if old else 1
    if not write_sealed(folder / str(new), {"kind": "slot", "generation": new}, files):
        raise BusyError(f"{one_line(folder)}: another command writes this slot")
    for generation in old:
        remove_folder(folder / str(generation))


def read_slot(store: Path, spec_name: str) -> Slot | None:
    """What was written last, verified; None where no command was interrupted. Tensors are on the CPU.

    Raises InputError naming the damaged file (a write cut off by a kill leaves none), and StorageError.
    """
    generations = _generations(slot_folder(store, spec_name))
    if not generations:
        return None
    folder = slot_folder(store, spec_name) / str(generations[-1])
    sealed = read_sealed(folder, ADVICE)
    if sealed.head != {"kind": "slot", "generation": generations[-1]}:
        raise InputError(f"{one_line(folder)}: is not the slot that its name says; {ADVICE}")
    return Slot(
        goal=_object(sealed.files, GOAL, folder),
        tensors={
            name: decode_tensors(content, folder / name)
            for name, content in sealed.files.items()
            if _TENSORS.fullmatch(name)
        },
        data=_object(sealed.files, DATA, folder),
        generation=generations[-1],
    )


def clear_slot(store: Path, spec_name: str) -> None:
    """Removes the slot, the newest generation last, so that a kill never revives an older one.

    Raises StorageError.
    """
    folder = slot_folder(store, spec_name)
    for generation in _generations(folder):
        remove_folder(folder / str(generation))


def _generations(folder: Path) -> list[int]:
    """Committed generations, oldest first."""
    with storing(folder):
        names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,17}", name))


def _object(files: Mapping[str, bytes], name: str, folder: Path) -> dict[str, Any]:
    if name not in files:
        raise InputError(f"{one_line(folder / name)}: is missing; {ADVICE}")
    value = parse_canonical(files[name], folder / name)
    if not isinstance(value, dict):
        raise InputError(f"{one_line(folder / name)}: must be an object; {ADVICE}")
    return value
