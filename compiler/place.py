"""Where things lie in a store: `.nhnas/` beside the spec, or $NHNAS_STORE (DESIGN §7)."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from nhnas.compiler.files import make_folder, one_line, write_file
from nhnas.spec.errors import InputError

_ID = re.compile(r"s[0-9a-f]{16}")


def store_folder(spec_path: Path) -> Path:
    """The store of a spec file; nothing is created. A link to a spec shares the store of its target."""
    given = os.environ.get("NHNAS_STORE")
    return Path(given) if given else Path(os.path.realpath(spec_path)).parent / ".nhnas"


def spec_key(spec_path: Path) -> str:
    """What lock and slots of a spec are named after: its file name.

    In a store that several folders share ($NHNAS_STORE) the folder's hash follows: each may have
    its own spec.yaml.
    """
    target = Path(os.path.realpath(spec_path))
    if not os.environ.get("NHNAS_STORE"):
        return target.name
    return f"{target.name}-{hashlib.sha256(os.fsencode(target.parent)).hexdigest()[:8]}"


def create_store(store: Path) -> None:
    """Creates the store's folder with a `.gitignore` that hides all of it. Raises StorageError."""
    make_folder(store)
    if not (store / ".gitignore").exists():
        write_file(store / ".gitignore", b"*\n")


def snapshots_folder(store: Path) -> Path:
    """The folder of all snapshots."""
    return store / "snapshots"


def snapshot_folder(store: Path, snapshot: str) -> Path:
    """The folder of one snapshot. Raises InputError for what cannot be an id, such as a path."""
    if not is_id(snapshot):
        raise InputError(f"state {one_line(snapshot, 60)} is no snapshot id: expected s and 16 hex digits")
    return snapshots_folder(store) / snapshot


def slot_folder(store: Path, spec_name: str) -> Path:
    """The folder of the slots of the command that runs on a spec; `spec_name` as in `spec_key`."""
    _check_file_name(spec_name)
    return store / "slots" / spec_name


def lock_file(store: Path, spec_name: str) -> Path:
    """The file whose flock the command that runs on a spec holds."""
    _check_file_name(spec_name)
    return store / f"{spec_name}.lock"


def is_id(text: object) -> bool:
    """Whether `text` has the form of a snapshot id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _check_file_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} is no file name")
