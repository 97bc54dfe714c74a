"""Commands that have not ended, of a spec and of files that are gone from beside it; never imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nhnas.compiler.generations import last_head, slot_keys
from nhnas.compiler.lock import signer
from nhnas.compiler.place import spec_key, store_folder
from nhnas.goal import command_text, goes_with
from nhnas.spec.document import Document
from nhnas.spec.shown import shown


def unfinished(document: Document, spec: Path) -> Iterator[str]:
    """A line for the file's own command, if it runs or was interrupted, and for each of a renamed file.

    `document` is what `spec` holds. Nothing is verified. Raises StorageError.
    """
    store, key = store_folder(spec), spec_key(spec)
    head, holder = last_head(store, key), signer(store, key)
    if holder is not None and not holder.command.startswith("nhnas gc"):
        yield (
            f"`{_command(head)}` runs: {holder}; {_where(head)}"
            if head
            else f"{holder} has saved nothing yet"
        )
    elif head is not None:
        yield _interrupted(document, spec, head)
    yield from renamed(document, spec)


def renamed(document: Document, spec: Path) -> Iterator[str]:
    """A line for each command that a file began which is gone, and whose version `spec` has now."""
    if os.environ.get("NHNAS_STORE") or document.state is None:  # a key does not say where its file lay
        return
    store, folder = store_folder(spec), Path(os.path.realpath(spec)).parent
    for key in slot_keys(store):
        head = None if os.path.lexists(folder / key) else last_head(store, key)
        if head is not None and goes_with(head["data"], document):
            yield (
                f"`{_command(head)}` of {shown(key)} is not finished, and that file is gone: "
                f"to go on, rename {spec.name} back"
            )


def _interrupted(document: Document, spec: Path, head: dict[str, Any]) -> str:
    told = f"`{_command(head)}` was interrupted"
    if goes_with(head["data"], document):
        return f"{told} {_where(head)}: the same command goes on, --discard drops it"
    return f"{told}, and {spec.name} is of another version now: --discard drops it"


def _where(head: dict[str, Any]) -> str:
    """`in version 3 (fit, 12 epochs done)`."""
    data = head["data"]
    if not data.get("stage"):
        return "between two versions"
    return f"in version {data['version']} ({data['stage']}, {data['progress']['epoch']} epochs done)"


def _command(head: dict[str, Any]) -> str:
    return command_text(head["goal"]["request"])
