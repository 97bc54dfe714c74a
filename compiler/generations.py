"""What running commands have committed: `slots/<spec>/<number>[.midway].slot` of a store; no torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.files import storing
from nhnas.compiler.place import slot_folder
from nhnas.spec.errors import StorageError

DIGEST = 64
"""Hex digits of a SHA-256."""
_FILE = re.compile(r"([1-9][0-9]{0,17})(\.midway)?\.slot")


@dataclass(frozen=True, order=True)
class Generation:
    """A committed write; `midway` through an epoch, or between two."""

    number: int
    midway: bool


def generations(folder: Path) -> list[Generation]:
    """Committed generations, oldest first. Raises StorageError."""
    with storing(folder):
        names = os.listdir(folder) if folder.is_dir() else []
    found = filter(None, map(_FILE.fullmatch, names))
    return sorted(Generation(int(match[1]), match[2] is not None) for match in found)


def generation_path(folder: Path, generation: Generation) -> Path:
    """The file of a generation."""
    return folder / f"{generation.number}{'.midway' if generation.midway else ''}.slot"


def slot_keys(store: Path) -> list[str]:
    """Keys of the specs that have, or had, a running command. Raises StorageError."""
    folder = store / "slots"
    with storing(folder):
        return sorted(os.listdir(folder)) if folder.is_dir() else []


def last_head(store: Path, key: str) -> dict[str, Any] | None:
    """What the unfinished command of a spec wrote last: no tensors, nothing verified.

    None where there is none, and where it cannot be read: who goes on with the command is told.
    """
    folder = slot_folder(store, key)
    try:
        found = generations(folder)
        return _head(generation_path(folder, found[-1])) if found else None
    except StorageError:
        return None


def _head(path: Path) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            file.readline()  # the digest of what follows
            head = json.loads(file.readline())
    except (OSError, ValueError):  # removed meanwhile, or damaged
        return None
    return head if _is_whole(head) else None


def _is_whole(head: Any) -> bool:
    """Whether what is told of a command is there."""
    try:
        data = head["data"]
        is_told = isinstance(head["goal"]["request"]["command"], str)
        return is_told and ("stage" not in data or None not in (data["version"], data["progress"]["epoch"]))
    except (KeyError, TypeError):
        return False
