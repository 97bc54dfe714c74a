"""Notes belong to the person: no edit touches them, so they are put back from the file that is rewritten."""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import Architecture
from nhnas.spec.paths import replace_layers, update


def with_notes(arch: Architecture, source: Architecture) -> Architecture:
    """`arch` with the notes of `source`: of layers by their name, of nodes inside by their path."""
    theirs = {layer.name: layer for layer in source.net}
    return replace_layers(arch, (_noted(layer, theirs.get(layer.name)) for layer in arch.net))


def _noted(node: Any, other: Any) -> Any:
    """A layer, or a node inside one; `other` is what stands at its place in the source, or None."""
    if other is None:
        return node
    mine, theirs = getattr(node, "residual", None), getattr(other, "residual", None)
    if mine is None or theirs is None:
        return update(node, note=other.note)
    slots = {slot: _noted(getattr(mine, slot), getattr(theirs, slot)) for slot in ("first", "second")}
    return update(node, note=other.note, residual=update(mine, **slots))
