"""Commands that have not ended, of a spec and of files that are gone from beside it; never imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nhnas.compiler.generations import last_heads
from nhnas.compiler.lock import signer
from nhnas.compiler.place import spec_key, store_folder
from nhnas.goal import command_text
from nhnas.spec.document import Document
from nhnas.spec.shown import shown


def unfinished(document: Document, spec: Path) -> Iterator[str]:
    """A line for the file's own command, if it runs or was interrupted, and for each of a renamed file.

    `document` is what `spec` holds. Nothing is locked or verified. Raises StorageError.
    """
    store, mine = store_folder(spec), spec_key(spec)
    for key, head in last_heads(store):
        if key == mine:
            yield _own(document, spec, head, signer(store, key))
    yield from renamed(document, spec)


def renamed(document: Document, spec: Path) -> Iterator[str]:
    """A line for each command that a file began which is gone, and whose version `spec` has now."""
    for key, head in last_heads(store_folder(spec)):
        if _is_renamed(document, spec, key, head):
            yield (
                f"`{_command(head)}` of {shown(key)} is not finished, and that file is gone: "
                f"to go on, rename {spec.name} back"
            )


def _is_renamed(document: Document, spec: Path, key: str, head: dict[str, Any]) -> bool:
    if os.environ.get("NHNAS_STORE") or document.state is None:  # the key does not say where the file lay
        return False
    is_gone = not os.path.lexists(Path(os.path.realpath(spec)).parent / key)
    return is_gone and document.state in (head["data"].get("file_state"), head["data"].get("result"))


def _own(document: Document, spec: Path, head: dict[str, Any], holder: str | None) -> str:
    if holder is not None:
        return f"`{_command(head)}` runs: {holder}; {_where(head)}"
    if document.state in (head["data"].get("file_state"), head["data"].get("result")):
        return (
            f"`{_command(head)}` was interrupted {_where(head)}: the same command goes on, --discard drops it"
        )
    return (
        f"`{_command(head)}` was interrupted, and {spec.name} is of another version now: --discard drops it"
    )


def _where(head: dict[str, Any]) -> str:
    """`in version 3 (fit, 12 epochs done)`."""
    data = head["data"]
    if not data.get("stage"):
        return "between two versions"
    return f"in version {data['version']} ({data['stage']}, {data['progress']['epoch']} epochs done)"


def _command(head: dict[str, Any]) -> str:
    return command_text(head["goal"]["request"])
