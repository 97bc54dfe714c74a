"""Which layer of an older version is which layer now, in an order that shows both chains."""

from __future__ import annotations

from collections.abc import Iterator

from nhnas.spec.diff import diff
from nhnas.spec.edits import Edit, InsertLayer, RemoveLayer, Rename, SwapLayer
from nhnas.spec.model import Architecture
from nhnas.spec.renames import renames
from nhnas.spec.structure import LayerView, structure

Pair = tuple[LayerView | None, LayerView | None]
"""A layer in the old and in the new version."""


def paired(old: Architecture, new: Architecture) -> Iterator[Pair]:
    """Every layer of both versions once, in the new order; one that is gone stands at its old place.

    Layers are matched as `nhnas diff` does it, so that what it calls removed is drawn as removed.
    """
    edits = diff(old, new, renamed=renames(old, new))
    origin = _origins(old, edits)
    views = structure(old)
    matched = {index for index in origin.values() if index is not None}
    yield from _gone(views, matched, 0)
    for view in structure(new):
        index = origin.get(view.layer.name)
        yield (None if index is None else views[index], view)
        if index is not None:
            yield from _gone(views, matched, index + 1)


def _origins(old: Architecture, edits: tuple[Edit, ...]) -> dict[str, int | None]:
    """New name → position in the old chain; None for a layer that came."""
    origin: dict[str, int | None] = {layer.name: index for index, layer in enumerate(old.net)}
    for edit in edits:
        match edit:
            case RemoveLayer(layer=layer):
                del origin[layer.name]
            case Rename(old=before, new=after):
                origin[after] = origin.pop(before)
    came = dict[str, int | None]()
    for edit in edits:
        match edit:
            case InsertLayer(layer=layer):
                came[layer.name] = None
            case SwapLayer(old=old_layer, new=new_layer):
                came[new_layer.name] = origin[old_layer.name]
    return origin | came


def _gone(views: tuple[LayerView, ...], matched: set[int], start: int) -> Iterator[Pair]:
    """The old layers from `start` on that are gone, up to one that stays."""
    for index in range(start, len(views)):
        if index in matched:
            return
        yield (views[index], None)
