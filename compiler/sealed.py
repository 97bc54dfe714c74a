"""A sealed folder: files and a MANIFEST.json with their sizes and hashes, written once, as a whole.

The manifest is canonical JSON and carries the hash of its own content, so that any flipped byte, of
any file, is found. Snapshots and the slots of a running command are sealed folders.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from nhnas.compiler.canonical import canonical_json, parse_canonical
from nhnas.compiler.files import (
    commit_folder,
    make_folder,
    one_line,
    read_file,
    storing,
    sync,
    temporary_folder,
)
from nhnas.spec.errors import InputError

MANIFEST = "MANIFEST.json"
FORMAT = 1
"""Number of the format of snapshots and slots."""
_MAX_MANIFEST = 1 << 20


@dataclass(frozen=True)
class Sealed:
    """`head` is what the manifest says beside its files; `files` the content of those asked for."""

    head: dict[str, Any]
    files: dict[str, bytes]


def write_sealed(final: Path, head: Mapping[str, Any], files: Mapping[str, bytes]) -> bool:
    """Writes a sealed folder durably and at once; one that exists already stays as it is (False).

    Raises StorageError.
    """
    if final.is_dir():
        with storing(final):
            sync(final.parent)  # whoever wrote it may have been killed right after the rename
        return False
    content = {**head, "format": FORMAT, "files": {name: _entry(data) for name, data in files.items()}}
    manifest = canonical_json({**content, "sha256": _hash(canonical_json(content))})
    make_folder(final.parent)
    with temporary_folder(final.parent) as temporary:
        for name, data in {**files, MANIFEST: manifest}.items():
            with storing(final / name), open(temporary / name, "xb") as file:
                file.write(data)
        return commit_folder(temporary, final)


def read_sealed(folder: Path, advice: str, only: Collection[str] | None = None) -> Sealed:
    """Reads and verifies a sealed folder; of files outside `only` just the size is verified.

    Raises InputError naming the file that is damaged, missing or unknown, followed by `advice`, and
    StorageError.
    """
    try:
        manifest = _read_manifest(folder / MANIFEST)
        entries = manifest.pop("files")
        _check_names(folder, entries)
        files = {}
        for name, entry in entries.items():
            if only is None or name in only:
                files[name] = _read_entry(folder / name, entry)
            else:
                _check_size(folder / name, entry)
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    return Sealed(manifest, files)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = parse_canonical(read_file(path, limit=_MAX_MANIFEST), path)
    if not isinstance(manifest, dict):
        _refuse(path, "is not a manifest")
    stated = manifest.pop("sha256", None)
    if stated != _hash(canonical_json(manifest)):
        _refuse(path, "is damaged: its content does not have the hash that it states")
    if manifest.pop("format", None) != FORMAT:
        _refuse(path, f"is not of format {FORMAT}; a newer nhnas wrote it")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        _refuse(path, "does not list its files")
    return manifest


def _check_names(folder: Path, entries: Mapping[str, Any]) -> None:
    with storing(folder):
        present = set(os.listdir(folder)) - {MANIFEST}
    for name in sorted(present - entries.keys()):
        _refuse(folder / name, "is not in the manifest")
    for name in sorted(entries.keys() - present):
        _refuse(folder / name, "is missing")


def _read_entry(path: Path, entry: Mapping[str, Any]) -> bytes:
    data = read_file(path, entry["size"])
    if _hash(data) != entry["sha256"]:
        _refuse(path, "is damaged: it does not have the hash that the manifest states")
    return data


def _check_size(path: Path, entry: Mapping[str, Any]) -> None:
    with storing(path):
        size = path.lstat().st_size
    if size != entry["size"]:
        _refuse(path, f"has {size} bytes instead of {entry['size']}")


def _entry(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": _hash(data)}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"size", "sha256"}
        and type(entry["size"]) is int
        and isinstance(entry["sha256"], str)
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse(path: Path, problem: str) -> NoReturn:
    raise InputError(f"{one_line(path)}: {problem}")
