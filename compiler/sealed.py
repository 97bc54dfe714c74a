"""A sealed folder: files and a MANIFEST.json with their sizes and hashes, written once, as a whole.

The manifest is canonical JSON and carries the hash of its own content, so that any flipped byte, of
any file, is found. Snapshots are sealed folders.

Files may be dropped from a sealed folder later, to free space: `DROPPED.json` is written first and names
them, and permits their absence from then on. They can be put back, and no other file is ever touched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

MANIFEST, DROPPED = "MANIFEST.json", "DROPPED.json"
FORMAT = 1
"""Number of the format of snapshots and slots."""
_MAX_MANIFEST = 1 << 20
_LARGE = 1 << 20
"""Bytes from which a file goes to the disk at once, while the rest is still hashed."""

Content = bytes | Sequence[bytes | memoryview]
"""A file's content, as a whole or in pieces."""


@dataclass(frozen=True)
class Sealed:
    """`head` is what the manifest says beside its files; `files` the content of those asked for.

    `dropped` names the files that were dropped and are not there.
    """

    head: dict[str, Any]
    files: dict[str, bytes]
    dropped: frozenset[str] = frozenset()


def write_sealed(
    final: Path,
    head: Mapping[str, Any],
    files: Mapping[str, Content],
    *checks: Callable[[], None],
) -> bool:
    """Writes a sealed folder durably and at once; one that exists already stays as it is (False).

    `checks` run beside the writing; where one raises, nothing was written. Raises StorageError.
    """
    if final.is_dir():
        with storing(final):
            sync(final.parent)  # whoever wrote it may have been killed right after the rename
        return False
    make_folder(final.parent)
    # Hashing takes as long as writing, and both leave the interpreter's lock alone: they run side by side.
    with temporary_folder(final.parent) as temporary, ThreadPoolExecutor(2) as beside:
        checked = [beside.submit(check) for check in checks]
        entries = {name: beside.submit(_entry, data) for name, data in _largest_first(files)}
        for name, data in files.items():
            _write(final / name, temporary / name, data)
        for answer in checked:
            answer.result()
        content = {**head, "format": FORMAT, "files": {name: entries[name].result() for name in files}}
        manifest = canonical_json({**content, "sha256": _hash([canonical_json(content)])})
        _write(final / MANIFEST, temporary / MANIFEST, manifest)
        return commit_folder(temporary, final)


def _write(final: Path, path: Path, data: Content) -> None:
    with storing(final), open(path, "xb") as file:
        file.writelines(_parts(data))
        if file.tell() >= _LARGE:
            file.flush()
            os.fsync(file.fileno())


def _largest_first(files: Mapping[str, Content]) -> list[tuple[str, Content]]:
    return sorted(files.items(), key=lambda item: -sum(map(len, _parts(item[1]))))


def read_sealed(folder: Path, advice: str, only: Collection[str] | None = None) -> Sealed:
    """Reads and verifies a sealed folder; of files outside `only` just the size is verified.

    Raises InputError naming the file that is damaged, missing or unknown, followed by `advice`, and
    StorageError.
    """
    with _advising(advice):
        manifest = _read_manifest(folder / MANIFEST)
        entries = manifest.pop("files")
        dropped = _check_names(folder, entries)
        files = {}
        for name in sorted(entries.keys() - dropped):
            if only is None or name in only:
                files[name] = _read_entry(folder / name, entries[name])
            else:
                _check_size(folder / name, entries[name])
    return Sealed(manifest, files, dropped)


def read_claims(folder: Path, advice: str) -> dict[str, Any]:
    """What the manifest says beside its files, none of which is looked at. Raises as `read_sealed` does."""
    with _advising(advice):
        manifest = _read_manifest(folder / MANIFEST)
    return {key: value for key, value in manifest.items() if key != "files"}


def drop_files(folder: Path, names: Collection[str], advice: str) -> None:
    """Removes files of a sealed folder for good; a kill leaves it sealed, with or without each of them.

    Raises as `read_sealed` does; a damaged folder is left as it is.
    """
    sealed = read_sealed(folder, advice, only=())
    marker = canonical_json({"dropped": sorted(names)})
    if not (folder / DROPPED).exists() or read_file(folder / DROPPED) != marker:
        _put(folder, DROPPED, marker)
    for name in sorted(set(names) - sealed.dropped):
        with storing(folder / name):
            os.unlink(folder / name)
    with storing(folder):
        sync(folder)


def restore_files(folder: Path, files: Mapping[str, Content], advice: str) -> None:
    """Puts dropped files back durably; a sealed folder that misses none is left as it is.

    Raises as `read_sealed` does, and InputError where a file is not what it was.
    """
    sealed = read_sealed(folder, advice, only=())
    entries = _read_manifest(folder / MANIFEST)["files"]
    for name in sorted(sealed.dropped):
        if _entry(files[name]) != entries[name]:
            raise InputError(
                f"{one_line(folder / name)}: was dropped, and would not come back as it was (another version "
                f"of safetensors?); remove {one_line(folder)} and run the same command again"
            )
        _put(folder, name, files[name])
    if (folder / DROPPED).exists():
        with storing(folder / DROPPED):
            os.unlink(folder / DROPPED)
            sync(folder)


@contextmanager
def _advising(advice: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error


def _put(folder: Path, name: str, data: Content) -> None:
    """Creates a file in a sealed folder, where nothing temporary may ever lie, durably and at once."""
    with temporary_folder(folder.parent) as temporary, storing(folder / name):
        _write(folder / name, temporary / name, data)
        sync(temporary / name)
        os.rename(temporary / name, folder / name)
        sync(folder)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = parse_canonical(read_file(path, limit=_MAX_MANIFEST), path)
    if not isinstance(manifest, dict):
        _refuse(path, "is not a manifest")
    stated = manifest.pop("sha256", None)
    if stated != _hash([canonical_json(manifest)]):
        _refuse(path, "is damaged: its content does not have the hash that it states")
    if manifest.pop("format", None) != FORMAT:
        _refuse(path, f"is not of format {FORMAT}; a newer nhnas wrote it")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        _refuse(path, "does not list its files")
    return manifest


def _check_names(folder: Path, entries: Mapping[str, Any]) -> frozenset[str]:
    """The files that were dropped; InputError for others that are missing, and for unknown ones."""
    with storing(folder):
        present = set(os.listdir(folder)) - {MANIFEST}
    permitted = _read_dropped(folder / DROPPED) if DROPPED in present else frozenset()
    for name in sorted(present - entries.keys() - {DROPPED}):
        _refuse(folder / name, "is not in the manifest")
    for name in sorted(entries.keys() - present - permitted):
        _refuse(folder / name, "is missing")
    return frozenset(entries.keys() - present)


def _read_dropped(path: Path) -> frozenset[str]:
    content = parse_canonical(read_file(path, limit=_MAX_MANIFEST), path)
    names = content.get("dropped") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        _refuse(path, "does not list the files that were dropped")
    return frozenset(names)


def _read_entry(path: Path, entry: Mapping[str, Any]) -> bytes:
    data = read_file(path, entry["size"])
    if _hash([data]) != entry["sha256"]:
        _refuse(path, "is damaged: it does not have the hash that the manifest states")
    return data


def _check_size(path: Path, entry: Mapping[str, Any]) -> None:
    with storing(path):
        size = path.lstat().st_size
    if size != entry["size"]:
        _refuse(path, f"has {size} bytes instead of {entry['size']}")


def _entry(data: Content) -> dict[str, Any]:
    parts = _parts(data)
    return {"size": sum(map(len, parts)), "sha256": _hash(parts)}


def _parts(data: Content) -> Sequence[bytes | memoryview]:
    return [data] if isinstance(data, bytes) else data


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"size", "sha256"}
        and type(entry["size"]) is int
        and isinstance(entry["sha256"], str)
    )


def _hash(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _refuse(path: Path, problem: str) -> NoReturn:
    raise InputError(f"{one_line(path)}: {problem}")
