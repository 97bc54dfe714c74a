"""The text of a spec after its architecture changed: edited at the parsed marks, never dumped anew."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

from nhnas.spec.document import Document, parse_document
from nhnas.spec.emit import minimal_net
from nhnas.spec.model import Architecture
from nhnas.spec.text_edits import applied
from nhnas.spec.tree_edits import editor


class Unchanged(Enum):
    """Type of `UNCHANGED`, which leaves what the file says."""

    TOKEN = 0


UNCHANGED: Final = Unchanged.TOKEN


def rewrite(
    document: Document,
    architecture: Architecture,
    version: int | None = None,
    state: str | Literal[Unchanged.TOKEN] | None = UNCHANGED,
) -> bytes:
    """The document's text with another architecture, and with another `version` unless None.

    `state` None takes the key away. Comments, formatting and line ends stay; where nothing changed the
    text is the old one, byte for byte.
    """
    old = _root(document, document.architecture)
    new = _root(document, architecture)
    if version is not None:
        new["version"] = version
    if state is not UNCHANGED:
        new["state"] = state
    text = document.text.decode()
    edits = editor(text, document.tree).mapping(document.tree, _present(old), _present(new))
    written = applied(text, edits).encode()
    _check(parse_document(written), architecture, new)
    return written


def _root(document: Document, architecture: Architecture) -> dict[str, Any]:
    return {
        "version": document.version if "version" in document.tree.values else None,
        "state": document.state,
        "input": list(architecture.input),
        "net": minimal_net(architecture),
    }


def _present(root: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in root.items() if value is not None}


def _check(written: Document, architecture: Architecture, root: dict[str, Any]) -> None:
    found = (written.architecture, written.version, written.state)
    if found != (architecture, root["version"] or 0, root["state"]):
        raise RuntimeError("bug: the rewritten spec does not say what it should")
