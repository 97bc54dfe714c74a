"""The slot of a running command: its goal and training state, from which the same command goes on.

Each write commits a new numbered generation, then removes those before: a kill at any moment leaves
a whole one, and the newest committed one counts. Beside one that was written midway through an epoch the
last one from between two epochs stays, so that training can go back to the same point wherever it was
interrupted. A generation is one file, so that it costs two fsyncs (a toy epoch takes 10 ms, and so does an
fsync): `.nhnas/slots/<spec file name>/<number>[.midway].slot`, at most two on disk. Its first line holds
the SHA-256 of the rest, its second line canonical JSON (generation, goal, data, name and size of each
tensors file), then come the tensors files, one after another.
Whoever calls holds the spec's lock (`nhnas.compiler.lock`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from nhnas.compiler.canonical import canonical_json, parse_canonical
from nhnas.compiler.files import make_folder, one_line, read_file, storing, write_file
from nhnas.compiler.generations import DIGEST, Generation, generation_path, generations
from nhnas.compiler.place import create_store, slot_folder
from nhnas.compiler.tensors_file import decode_tensors, encode_tensors
from nhnas.spec.errors import InputError

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
    midway: bool = False,
) -> None:
    """Replaces the slot durably and at once; `tensors` maps file names, `x.safetensors`, to tensors.

    One that is written `midway` through an epoch leaves the last one that was not. Raises TrainingError (NaN
    or infinity in a tensor) and StorageError.
    """
    if wrong := [name for name in tensors if not _TENSORS.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no file name of the form x.safetensors")
    files = {name: encode_tensors(content, name) for name, content in sorted(tensors.items())}
    folder = slot_folder(store, spec_name)
    old = generations(folder)
    new = Generation(old[-1].number + 1 if old else 1, midway)
    sizes = [[name, len(content)] for name, content in files.items()]
    head = canonical_json({"generation": new.number, "goal": goal, "data": data, "files": sizes})
    rest = b"".join([head, b"\n", *files.values()])
    create_store(store)
    make_folder(folder)
    write_file(generation_path(folder, new), sha256(rest).hexdigest().encode() + b"\n" + rest)
    kept = _last(old, midway=False) if midway else None
    _remove(folder, [generation for generation in old if generation != kept])


def read_slot(store: Path, spec_name: str, between_epochs: bool = False) -> Slot | None:
    """What was written last, verified; None where no command was interrupted. Tensors are on the CPU.

    With `between_epochs` what was written last that was not midway through an epoch. Raises InputError naming
    the damaged file (a write cut off by a kill leaves none), and StorageError.
    """
    folder = slot_folder(store, spec_name)
    last = _last(generations(folder), midway=not between_epochs)
    if last is None:
        return None
    path = generation_path(folder, last)
    head, blobs = _opened(read_file(path), path)
    if head["generation"] != last.number:
        raise InputError(f"{one_line(path)}: is not the slot that its name says; {ADVICE}")
    tensors = {}
    for name, size in head["files"]:
        tensors[name] = decode_tensors(blobs[:size], path)
        blobs = blobs[size:]
    return Slot(head["goal"], tensors, head["data"], last.number)


def _opened(content: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON line and what follows it, verified against the first line."""
    digest, rest = content[:DIGEST], content[DIGEST + 1 :]
    if content[DIGEST : DIGEST + 1] != b"\n" or sha256(rest).hexdigest().encode() != digest:
        raise InputError(f"{one_line(path)}: is damaged; {ADVICE}")
    line, _, blobs = rest.partition(b"\n")
    head = parse_canonical(line, path)
    if not isinstance(head, dict):
        raise InputError(f"{one_line(path)}: is no slot; {ADVICE}")
    return head, blobs


def clear_slot(store: Path, spec_name: str) -> None:
    """Removes the slot, the newest generation last, so that a kill never revives an older one.

    Raises StorageError.
    """
    folder = slot_folder(store, spec_name)
    _remove(folder, generations(folder))


def _remove(folder: Path, those: list[Generation]) -> None:
    for generation in those:
        with storing(generation_path(folder, generation)):
            os.unlink(generation_path(folder, generation))


def _last(found: list[Generation], midway: bool) -> Generation | None:
    """The newest one; without `midway` the newest from between two epochs."""
    return next((g for g in reversed(found) if midway or not g.midway), None)
