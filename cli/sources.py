"""A spec from where a person says: a file, a git revision, or a snapshot; never imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from nhnas.compiler.history import load_info
from nhnas.compiler.place import is_id, store_folder
from nhnas.git_read import find_repository, run_git
from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown


def read_source(source: str, spec: Path | None = None) -> Document:
    """The document that `source` names.

    A file; else `REVISION:path` as git writes it (`path` from the repository's root, `./path` from here);
    else, of the file `spec`, a git revision or the id of a snapshot in its store. Raises InputError.
    """
    if os.path.lexists(source) or _is_path(source, spec):
        return read_document(source)
    if is_id(source) and spec is not None:
        info = load_info(store_folder(spec), source)
        return parse_document(info.spec_text, spec, source=_of(source, spec))
    if ":" in source:
        path = Path(source.partition(":")[2])
        return parse_document(_committed(source, Path(), source), path, source=shown(source, 300))
    if spec is None or not spec.exists():
        _ask_for_file(source)
        return read_document(source)  # which says that there is no such file
    here = spec.resolve()
    try:
        text = _committed(f"{source}:./{here.name}", here.parent, source)
        return parse_document(text, spec, source=_of(source, spec))
    except InputError:
        _say_if_not_in(source, spec)
        raise


def _of(source: str, spec: Path) -> str:
    """A file at a revision or of a state, as messages name it."""
    return f"{shown(source, 200)}:{shown(spec, 300)}"


def _is_path(source: str, spec: Path | None) -> bool:
    """Whether a name with slashes is that of a file that is missing: branches have slashes, too."""
    name, colon, _ = source.partition(":")
    if os.sep not in name:
        return False
    folder = Path() if colon or spec is None else spec.resolve().parent
    return os.path.isabs(name) or name.split(os.sep)[0] in (".", "..") or not _is_revision(name, folder)


def _committed(blob: str, folder: Path, source: str) -> bytes:
    """The bytes of `REVISION:path`, without any filter or driver."""
    if blob.startswith("-"):
        raise InputError(f"{shown(source, 200)}: neither a file nor a git revision")
    try:
        return run_git(folder, "cat-file", "blob", blob)
    except InputError as error:
        name = shown(source, 200)
        head = source.partition(":")[0] == "HEAD"
        if head and find_repository(folder) is not None and not _is_revision("HEAD", folder):
            raise InputError(f"{name}: nothing is committed here yet ({error})") from None
        raise InputError(f"{name}: neither a file nor a git revision: {error}") from None


def _ask_for_file(source: str) -> None:
    """Raises InputError where `source` is a revision or a state of a file that nothing names."""
    name = shown(source, 200)
    if is_id(source):
        raise InputError(f"{name}: a state of which file? `nhnas diff {name} spec.yaml`")
    if _is_revision(source):
        ways = f"{name}:./spec.yaml, or `nhnas diff {name} spec.yaml`"
        raise InputError(f"{name}: a revision of which file? {ways}")


def _say_if_not_in(source: str, spec: Path) -> None:
    """Raises InputError where the revision is there, and the file is not in it."""
    folder, name = spec.resolve().parent, shown(source, 200)
    if not _is_revision(source, folder):
        return
    try:
        run_git(folder, "cat-file", "-e", f"{source}:./{spec.resolve().name}")
    except InputError:
        raise InputError(
            f"{shown(spec, 300)}: is not in {name}, not committed yet? Name what to compare it with: another "
            f"revision, a file, or {name}:./another.yaml"
        ) from None


def _is_revision(source: str, folder: Path = Path()) -> bool:
    if source.startswith("-"):
        return False
    try:
        return bool(run_git(folder, "rev-parse", "--verify", "--quiet", f"{source}^{{commit}}"))
    except InputError:
        return False


def read_pair(old: str, new: str) -> tuple[Document, Document, Path]:
    """Two documents, and the store that knows of their neurons: a bare revision is one of the other's file.

    Raises InputError.
    """
    files = [Path(source) for source in (new, old) if os.path.lexists(source)]
    spec = files[0] if files else None
    after = read_source(new, spec)  # first, so that no HEAD is named that nobody wrote
    return read_source(old, spec), after, store_folder(spec or after.path or Path())
