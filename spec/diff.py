"""The edits that lead from one architecture to another.

Matching is trivial because nodes have identities: a layer is its name, a node its path (DESIGN §2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nhnas.spec.apply import applied, site_size
from nhnas.spec.edits import (
    AddNeurons,
    Collapse,
    DropShortcut,
    Edit,
    InsertLayer,
    Promote,
    RemoveLayer,
    RemoveNeurons,
    Rename,
    RestoreShortcut,
    Set,
)
from nhnas.spec.model import Architecture, Conv, Dense, Layer, Node, Residual
from nhnas.spec.paths import change_node, layer_index, update
from nhnas.spec.shapes import trace

Leavers = Callable[[str, int, int], tuple[int, ...]]
"""(site, neurons now, how many must go) → their positions, rising."""


def last_ones(_site: str, neurons: int, leaving: int) -> tuple[int, ...]:
    """Without a measurement the last neurons of a site go: growth appends, so they are the youngest."""
    return tuple(range(neurons - leaving, neurons))


def diff(
    old: Architecture,
    new: Architecture,
    leavers: Leavers = last_ones,
    renamed: Mapping[str, str] | None = None,
) -> tuple[Edit, ...]:
    """Edits with `apply(old, diff(old, new)) == new`.

    `leavers` chooses which neurons go where a site shrinks; `renamed` maps old layer names to new
    ones. `input` is no part of an edit: of two architectures with different inputs only `net` is
    compared.
    """
    edits: list[Edit] = []
    arch = old
    for step in (_renames(old, renamed or {}), None):
        for edit in _chain(arch, new) if step is None else step:
            edits.append(edit)
            arch = applied(arch, edit)
    for layer in new.net:
        if isinstance(layer, Node):
            for edit in _node(arch, layer, layer.name, leavers):
                edits.append(edit)
                arch = applied(arch, edit)
    return tuple(edits)


def _renames(old: Architecture, renamed: Mapping[str, str]) -> Iterator[Edit]:
    names = {layer.name for layer in old.net}
    for before, after in renamed.items():
        if before in names and after not in names:
            yield Rename(old=before, new=after)


def _chain(old: Architecture, new: Architecture) -> Iterator[Edit]:
    """Remove and insert layers until names, operations and order agree; set weightless layers."""
    targets = {layer.name: layer for layer in new.net}
    staying = _in_order([x.name for x in old.net if _same_kind(x, targets.get(x.name))], list(targets))
    kept = list(old.net)
    for index in range(len(kept) - 1, -1, -1):
        if kept[index].name not in staying:
            yield RemoveLayer(index=index, layer=kept.pop(index))
    for index, layer in enumerate(new.net):
        if layer.name not in staying:
            yield InsertLayer(index=index, layer=layer)
        elif not isinstance(layer, Node):
            before = next(x for x in kept if x.name == layer.name)
            yield from _settings(before, layer, layer.name)


def _same_kind(old: Layer, new: Layer | None) -> bool:
    return new is not None and new.op == old.op


def _in_order(names: list[str], order: list[str]) -> frozenset[str]:
    """The most names that need not move: longest rising run of their places (patience sorting)."""
    places = {name: place for place, name in enumerate(order)}
    tails: list[int] = []
    before: dict[int, int | None] = {}
    for place in (places[name] for name in names):
        at = _first_not_below(tails, place)
        before[place] = tails[at - 1] if at else None
        tails[at : at + 1] = [place]
    kept, place_or_none = set(), tails[-1] if tails else None
    while place_or_none is not None:
        kept.add(order[place_or_none])
        place_or_none = before[place_or_none]
    return frozenset(kept)


def _first_not_below(tails: list[int], place: int) -> int:
    low, high = 0, len(tails)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if tails[middle] < place else (low, middle)
    return low


def _settings(old: Any, new: Any, path: str) -> Iterator[Edit]:
    """`Set` for every key of one model that differs; structure and sizes are left to others."""
    skipped = {"residual", "first", "second", "hidden", "width", "name", "op"}
    before = old.model_dump(mode="json", exclude_defaults=True, exclude=skipped)
    after = new.model_dump(mode="json", exclude_defaults=True, exclude=skipped)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield Set(path=path, key=key, old=before.get(key), new=after.get(key))


def _node(arch: Architecture, new: Node, path: str, leavers: Leavers) -> Iterator[Edit]:
    """Edits below one chain layer; each is applied at once, so that the next sees what is there."""
    for edit in _layer_edits(arch, new, path, leavers):
        yield edit
        arch = applied(arch, edit)
    for walk in (_leavings, _arrivals):
        for edit in walk(arch, new, path, leavers):
            yield edit
            arch = applied(arch, edit)


def _layer_edits(arch: Architecture, new: Node, path: str, leavers: Leavers) -> Iterator[Edit]:
    """Settings and the chain site's size: a layer that joins a stream gets the stream's width before."""
    edits = [*_shortcut_and_settings(_node_of(arch, path), new, path)]
    if any(isinstance(e, Set) and e.key == "shortcut" and e.new == "identity" for e in edits):
        stream = trace(arch)[0][layer_index(arch, path)].reads.neurons
        edits = [*_resized(f"{path}.width", site_size(arch, f"{path}.width"), stream, leavers), *edits]
    for edit in edits:
        yield edit
        arch = applied(arch, edit)
    if isinstance(new, Conv | Dense) and new.width is not None:
        yield from _resized(f"{path}.width", site_size(arch, f"{path}.width"), new.width, leavers)


def _node_of(arch: Architecture, path: str) -> Node:
    node = next(layer for layer in arch.net if layer.name == path)
    if not isinstance(node, Node):
        raise TypeError(f"{path} is not a node")
    return node


def _shortcut_and_settings(old: Node, new: Node, path: str) -> Iterator[Edit]:
    for edit in _settings(old, new, path):
        if isinstance(edit, Set) and edit.key == "shortcut" and False in (edit.old, edit.new):
            if edit.new is False and edit.old != "identity":
                yield DropShortcut(path=path, leaf=old.shortcut)
                continue
            if edit.old is False and edit.new != "identity":
                yield RestoreShortcut(path=path, leaf=new.shortcut)
                continue
        yield edit


def _resized(site: str, now: int, wanted: int, leavers: Leavers) -> Iterator[Edit]:
    if wanted > now:
        yield AddNeurons(site=site, at=tuple(range(now, wanted)))
    elif wanted < now:
        yield RemoveNeurons(site=site, at=leavers(site, now, now - wanted))


def _leavings(arch: Architecture, new: Node, path: str, leavers: Leavers) -> Iterator[Edit]:
    """Neurons and residuals that go, innermost first, so that nothing full hangs in an empty one."""
    old = _below(arch, path)
    if old is None:
        return
    wanted = new.residual
    for slot in ("first", "second"):
        child = Node() if wanted is None else getattr(wanted, slot)
        yield from _leavings(arch, child, f"{path}.{slot}", leavers)
    target = 0 if wanted is None else min(old.hidden, wanted.hidden)
    yield from _resized(f"{path}.hidden", old.hidden, target, leavers)
    if wanted is None:
        yield Collapse(path=path, residual=_stripped(old))


def _below(arch: Architecture, path: str) -> Residual | None:
    name, *slots = path.split(".")
    node: Node = _node_of(arch, name)
    for slot in slots:
        if node.residual is None:
            return None
        node = getattr(node.residual, slot)
    return node.residual


def _stripped(residual: Residual) -> Residual:
    """What is left of a residual when all inside has collapsed."""
    return update(  # type: ignore[no-any-return]
        residual,
        hidden=0,
        first=update(residual.first, residual=None),
        second=update(residual.second, residual=None),
    )


def _emptied(residual: Residual) -> Residual:
    """The same residual without a neuron in it or below."""
    slots = {}
    for slot in ("first", "second"):
        node = getattr(residual, slot)
        inner = None if node.residual is None else _emptied(node.residual)
        slots[slot] = update(node, residual=inner)
    return update(residual, hidden=0, **slots)  # type: ignore[no-any-return]


def _arrivals(arch: Architecture, new: Node, path: str, leavers: Leavers) -> Iterator[Edit]:
    """Residuals, settings and neurons that come, outermost first."""
    wanted = new.residual
    if wanted is None:
        return
    old = _below(arch, path)
    if old is None:
        old = _emptied(wanted)
        yield Promote(path=path, residual=old)
    yield from _settings(old, wanted, f"{path}.residual")
    yield from _resized(f"{path}.hidden", old.hidden, wanted.hidden, leavers)
    for slot in ("first", "second"):
        before, after = getattr(old, slot), getattr(wanted, slot)
        yield from _shortcut_and_settings(before, after, f"{path}.{slot}")
        arch = _assume(arch, path, old)
        yield from _arrivals(arch, after, f"{path}.{slot}", leavers)


def _assume(arch: Architecture, path: str, residual: Residual) -> Architecture:
    """`arch` with the residual that a promotion above has just brought."""
    if _below(arch, path) is not None:
        return arch
    return change_node(arch, path, lambda node: update(node, residual=residual))
