"""The edits that lead from one architecture to another.

Matching is trivial because nodes have identities: a layer is its name, a node its path (DESIGN §2).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    RestoreShortcut,
    Set,
    SwapLayer,
)
from nhnas.spec.model import Architecture, Conv, Dense, Layer, Node, Residual
from nhnas.spec.paths import change_node, update
from nhnas.spec.renames import rename_edits
from nhnas.spec.shapes import Port, trace
from nhnas.spec.turnover import LAST_ONES, Turnover


def diff(
    old: Architecture,
    new: Architecture,
    turnover: Turnover = LAST_ONES,
    renamed: Mapping[str, str] | None = None,
) -> tuple[Edit, ...]:
    """Edits with `apply(old, diff(old, new)) == new`.

    `turnover` chooses which neurons go and come where a site has another size; `renamed` maps old layer
    names to new ones. `input` is no part of an edit: of two architectures with different inputs only
    `net` is compared.
    """
    edits: list[Edit] = []
    arch = old
    for edit in rename_edits(old, renamed or {}):
        edits.append(edit)
        arch = applied(arch, edit)
    staying = _staying(arch.net, new.net)
    edits += _chain(arch.net, new.net, staying.keys())
    for flow in trace(new)[0]:
        if turnover is LAST_ONES and staying.get(flow.layer.name) == flow.layer:
            continue  # nothing comes or goes
        layer, before = flow.layer, staying.get(flow.layer.name)
        if isinstance(layer, Node) and before is not None:
            edits += _node(_alone(before, flow.reads), layer, layer.name, turnover)
    return tuple(edits)


def _alone(layer: Layer, reads: Port) -> Architecture:
    """A chain of this layer alone, reading what it will read: its edits concern no other layer."""
    return Architecture.model_construct(input=(reads.neurons, *(reads.map or ())), net=(layer,))


def _staying(old: Sequence[Layer], new: Sequence[Layer]) -> dict[str, Layer]:
    """Name → old layer of all that neither come, go nor move."""
    after = {x.name: x for x in new}
    names = _in_order([x.name for x in old if _same_kind(x, after.get(x.name))], list(after))
    return {x.name: x for x in old if x.name in names}


def _chain(old: Sequence[Layer], new: Sequence[Layer], staying: Collection[str]) -> Iterator[Edit]:
    """Remove, swap and insert layers until names, operations and order agree; set weightless layers."""
    before = {x.name: x for x in old}
    swaps = _swaps(old, new, staying)
    swapped = {layer.name for layer in swaps.values()}
    for index in range(len(old) - 1, -1, -1):
        if old[index].name not in staying and old[index].name not in swapped:
            yield RemoveLayer(index=index, layer=old[index])
    for index, layer in enumerate(new):
        if index in swaps:
            yield SwapLayer(index=index, old=swaps[index], new=layer)
        elif layer.name not in staying:
            yield InsertLayer(index=index, layer=layer)
    for layer in new:
        if layer.name in staying and not isinstance(layer, Node):
            yield from _settings(before[layer.name], layer, layer.name)


def _same_kind(old: Layer, new: Layer | None) -> bool:
    return new is not None and new.op == old.op


def _swaps(old: Sequence[Layer], new: Sequence[Layer], staying: Collection[str]) -> dict[int, Layer]:
    """Index of a new layer without weights → the one that makes way for it, between the same neighbours."""
    leaving = _between(old, staying)
    arriving = _between([*new], staying)
    places = {id(layer): index for index, layer in enumerate(new)}
    return {
        places[id(y)]: x
        for anchor, layers in arriving.items()
        for x, y in zip(leaving.get(anchor, ()), layers, strict=False)
    }


def _between(net: Sequence[Layer], staying: Collection[str]) -> dict[str, list[Layer]]:
    """Layers without weights that do not stay, by the staying layer before them."""
    found: dict[str, list[Layer]] = {}
    anchor = ""
    for layer in net:
        if layer.name in staying:
            anchor = layer.name
        elif not isinstance(layer, Node):
            found.setdefault(anchor, []).append(layer)
    return found


def _in_order(names: list[str], order: list[str]) -> frozenset[str]:
    """The most names that need not move: longest rising run of their places (patience sorting)."""
    places = {name: place for place, name in enumerate(order)}
    tails: list[int] = []
    before: dict[int, int | None] = {}
    for place in (places[name] for name in names):
        at = bisect_left(tails, place)
        before[place] = tails[at - 1] if at else None
        tails[at : at + 1] = [place]
    kept, place_or_none = set(), tails[-1] if tails else None
    while place_or_none is not None:
        kept.add(order[place_or_none])
        place_or_none = before[place_or_none]
    return frozenset(kept)


def _settings(old: Any, new: Any, path: str) -> Iterator[Edit]:
    """`Set` for every key of one model that differs; structure and sizes are left to others."""
    skipped = {"residual", "first", "second", "hidden", "width", "name", "op", "renamed_from"}
    before = old.model_dump(mode="json", exclude_defaults=True, exclude=skipped)
    after = new.model_dump(mode="json", exclude_defaults=True, exclude=skipped)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield Set(path=path, key=key, old=before.get(key), new=after.get(key))


def _node(arch: Architecture, new: Node, path: str, turnover: Turnover) -> Iterator[Edit]:
    """Edits of one chain layer; each is applied at once, so that the next sees what is there."""
    for edit in _layer_edits(arch, new, path, turnover):
        yield edit
        arch = applied(arch, edit)
    for walk in (_leavings, _arrivals):
        for edit in walk(arch, new, path, turnover):
            yield edit
            arch = applied(arch, edit)


def _layer_edits(arch: Architecture, new: Node, path: str, turnover: Turnover) -> Iterator[Edit]:
    """Settings and the chain site's size: a layer that joins a stream gets the stream's width before."""
    edits = [*_shortcut_and_settings(_node_of(arch, path), new, path)]
    if any(isinstance(e, Set) and e.key == "shortcut" and e.new == "identity" for e in edits):
        stream = arch.input[0]
        edits = [*_resized(f"{path}.width", site_size(arch, f"{path}.width"), stream, turnover), *edits]
    for edit in edits:
        yield edit
        arch = applied(arch, edit)
    if isinstance(new, Conv | Dense) and new.width is not None:
        yield from _resized(f"{path}.width", site_size(arch, f"{path}.width"), new.width, turnover)


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


def _resized(site: str, now: int, wanted: int, turnover: Turnover) -> Iterator[Edit]:
    leaving = turnover.leaving(site, now, wanted)
    if leaving:
        yield RemoveNeurons(site=site, at=leaving)
    yield from _arriving(site, now - len(leaving), wanted, turnover)


def _arriving(site: str, kept: int, wanted: int, turnover: Turnover) -> Iterator[Edit]:
    arriving = turnover.arriving(site, kept, wanted)
    if arriving:
        yield AddNeurons(site=site, at=arriving)


def _leavings(arch: Architecture, new: Node, path: str, turnover: Turnover) -> Iterator[Edit]:
    """Neurons and residuals that go, innermost first, so that nothing full hangs in an empty one."""
    old = _below(arch, path)
    if old is None:
        return
    wanted = new.residual
    for slot in ("first", "second"):
        child = Node() if wanted is None else getattr(wanted, slot)
        yield from _leavings(arch, child, f"{path}.{slot}", turnover)
    site = f"{path}.hidden"
    leaving = turnover.leaving(site, old.hidden, wanted.hidden) if wanted else tuple(range(old.hidden))
    if leaving:
        yield RemoveNeurons(site=site, at=leaving)
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


def _arrivals(arch: Architecture, new: Node, path: str, turnover: Turnover) -> Iterator[Edit]:
    """Residuals, settings and neurons that come, outermost first."""
    wanted = new.residual
    if wanted is None:
        return
    old = _below(arch, path)
    if old is None:
        old = _emptied(wanted)
        yield Promote(path=path, residual=old)
    yield from _settings(old, wanted, f"{path}.residual")
    yield from _arriving(f"{path}.hidden", old.hidden, wanted.hidden, turnover)
    for slot in ("first", "second"):
        before, after = getattr(old, slot), getattr(wanted, slot)
        yield from _shortcut_and_settings(before, after, f"{path}.{slot}")
        arch = _assume(arch, path, old)
        yield from _arrivals(arch, after, f"{path}.{slot}", turnover)


def _assume(arch: Architecture, path: str, residual: Residual) -> Architecture:
    """`arch` with the residual that a promotion above has just brought."""
    if _below(arch, path) is not None:
        return arch
    return change_node(arch, path, lambda node: update(node, residual=residual))
