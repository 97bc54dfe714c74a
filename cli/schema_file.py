"""The JSON Schema as a file beside a spec, where editors find it."""

from __future__ import annotations

import json
from pathlib import Path

from nhnas.compiler.files import read_file, replace_text
from nhnas.spec.errors import NhnasError
from nhnas.spec.first_line import SCHEMA_FILE
from nhnas.spec.schema import MADE_BY, schema

_LIMIT = 1 << 20


def schema_text() -> bytes:
    """The schema's file."""
    return (json.dumps(schema(), indent=1, ensure_ascii=False) + "\n").encode()


def write_schema(folder: Path) -> str:
    """Write the schema into a folder, where there is none or an older one of ours; returns what was done.

    A file that somebody else wrote stays, and so does one that cannot be read. A link to one of ours stays a
    link. Raises StorageError.
    """
    path = folder / SCHEMA_FILE
    text = schema_text()
    if path.exists() and not _is_ours(path):
        return f"{path} is not ours and stays; `nhnas schema -o FILE` writes the schema elsewhere"
    if path.exists() and read_file(path.resolve(), limit=_LIMIT) == text:
        return f"{path} is up to date"
    replace_text(path, None, text)
    return f"wrote {path}"


def _is_ours(path: Path) -> bool:
    try:
        data = json.loads(read_file(path.resolve(), limit=_LIMIT))
    except (NhnasError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("$comment") == MADE_BY
