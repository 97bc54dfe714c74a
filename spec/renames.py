"""Layers that go on under another name: what `renamed_from` says, and what is plain to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nhnas.spec.canonical import bare
from nhnas.spec.edits import RemoveLayer, Rename
from nhnas.spec.model import Architecture
from nhnas.spec.paths import update


def renames(old: Architecture, new: Architecture) -> dict[str, str]:
    """Old name → new name of every layer that got another one.

    `renamed_from` counts where the old architecture has that layer; an old layer whose name is taken over
    is gone, unless it was renamed itself. Without it a layer counts that has the place of one which is
    gone, in as long a chain, and is the same otherwise.
    """
    names = {layer.name for layer in old.net}
    told = {layer.renamed_from: layer.name for layer in new.net if layer.renamed_from in names}
    return {**_seen(old, new, told), **told}


def unknown_sources(old: Architecture, new: Architecture) -> list[str]:
    """What `renamed_from` says of layers that are neither there under that name nor under the new one."""
    names = {layer.name for layer in old.net}
    told = ((layer.renamed_from, layer.name) for layer in new.net)
    return [before for before, after in told if before is not None and not {before, after} & names]


def _seen(old: Architecture, new: Architecture, told: Mapping[str, str]) -> dict[str, str]:
    names = {layer.name for layer in old.net} | set(told.values())
    gone = {layer.name for layer in old.net} - {layer.name for layer in new.net} - told.keys()
    if len(old.net) != len(new.net) or not gone:
        return {}
    pairs = zip(bare(old).net, bare(new).net, strict=True)
    return {
        x.name: y.name
        for x, y in pairs
        if x.name in gone and y.name not in names and update(x, name=y.name) == y
    }


def taken_over(renamed: Mapping[str, str]) -> set[str]:
    """New names that no renamed layer gives up: an old layer that has one of them goes."""
    return set(renamed.values()) - renamed.keys()


def rename_edits(old: Architecture, renamed: Mapping[str, str]) -> Iterator[Rename | RemoveLayer]:
    """Edits of a renaming in an order in which no name is ever taken twice, also where names are swapped.

    A layer that keeps a name which another one is to have goes first.
    """
    taken = {layer.name for layer in old.net}
    waiting = {before: after for before, after in renamed.items() if before in taken and before != after}
    gone = taken_over(waiting)
    for index, layer in reversed([*enumerate(old.net)]):
        if layer.name in gone:
            yield RemoveLayer(index=index, layer=layer)
            taken.remove(layer.name)
    while waiting:
        free = next((before for before, after in waiting.items() if after not in taken), None)
        if free is None:  # names go round in a circle: one steps aside
            free = next(iter(waiting))
            edit = Rename(old=free, new=_aside(taken))
            waiting[edit.new] = waiting.pop(free)
        else:
            edit = Rename(old=free, new=waiting.pop(free))
        taken = taken - {edit.old} | {edit.new}
        yield edit


def _aside(taken: set[str]) -> str:
    """A name that no layer has."""
    return next(new for n in range(len(taken) + 1) if (new := f"~{n}") not in taken)
