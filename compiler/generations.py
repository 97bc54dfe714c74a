"""What running commands have committed: `slots/<spec>/<number>[.midway].slot` of a store; no torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.files import storing

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


def last_heads(store: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key of each spec with an unfinished command, and what that wrote last: no tensors, nothing verified.

    What cannot be read is left out: who goes on with the command is told. Raises StorageError.
    """
    folder = store / "slots"
    with storing(folder):
        keys = sorted(os.listdir(folder)) if folder.is_dir() else []
    for key in keys:
        if found := generations(folder / key):
            head = _head(generation_path(folder / key, found[-1]))
            if head is not None:
                yield key, head


def _head(path: Path) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            file.readline()  # the digest of what follows
            head = json.loads(file.readline())
    except (OSError, ValueError):  # removed meanwhile, or damaged
        return None
    is_whole = (
        isinstance(head, dict) and isinstance(head.get("goal"), dict) and isinstance(head.get("data"), dict)
    )
    return head if is_whole else None
