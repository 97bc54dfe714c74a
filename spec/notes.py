"""Notes belong to the person: no edit touches them, so they are put back from the file that is rewritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nhnas.spec.model import Architecture
from nhnas.spec.paths import replace_layers, update


def with_notes(
    arch: Architecture, source: Architecture, renamed: Mapping[str, str] | None = None
) -> Architecture:
    """`arch` with the notes of `source`: of layers by their name, of nodes inside by their path.

    `renamed` maps names in `arch` to those that `source` may still have.
    """
    theirs = {layer.name: layer for layer in source.net}
    before = renamed or {}
    return replace_layers(
        arch,
        (_noted(x, theirs.get(x.name) or theirs.get(before.get(x.name, x.name))) for x in arch.net),
    )


def notes(arch: Architecture) -> dict[str, str]:
    """`<path>.note` → text, of every layer and node that has one."""
    return {f"{path}.note": text for layer in arch.net for path, text in _notes(layer, layer.name)}


def _notes(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if node.note is not None:
        yield path, node.note
    residual = getattr(node, "residual", None)
    if residual is not None:
        for slot in ("first", "second"):
            yield from _notes(getattr(residual, slot), f"{path}.{slot}")


def _noted(node: Any, other: Any) -> Any:
    """A layer, or a node inside one; `other` is what stands at its place in the source, or None."""
    if other is None:
        return node
    mine, theirs = getattr(node, "residual", None), getattr(other, "residual", None)
    if mine is None or theirs is None:
        return update(node, note=other.note)
    slots = {slot: _noted(getattr(mine, slot), getattr(theirs, slot)) for slot in ("first", "second")}
    return update(node, note=other.note, residual=update(mine, **slots))
