"""An architecture, or two versions of it, as a drawing: a card for each layer of the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from nhnas.spec.drawing import Card, Change, Drawing, Look, Part, Series, Tile
from nhnas.spec.drawing_nodes import arrow, change_of, node_part, site_tile
from nhnas.spec.drawing_pairs import Pair, paired
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure, node_macs, node_parameters
from nhnas.spec.model import Architecture, Conv, Dense
from nhnas.spec.paths import node_at
from nhnas.spec.shapes import is_identity
from nhnas.spec.shown import shown
from nhnas.spec.structure import LayerView, structure

WHOLE = Look()

_COUNTS = {"parameters": "parameters", "macs": "MACs"}
_TOTALS = {"neurons": "neurons", **_COUNTS, "depth": "depth"}


def drawn(new: Architecture, old: Architecture | None = None, look: Look = WHOLE, title: str = "") -> Drawing:
    """The picture of `new`, or of what changed since `old`.

    Raises InputError where a path of `look.collapse` leads to no node with a residual.
    """
    for path in sorted(look.collapse):
        _check_collapsible(path, [new] if old is None else [new, old])
    pairs = ((view, view) for view in structure(new)) if old is None else paired(old, new)
    cards = [_card(pair, look) for pair in pairs]
    before = new if old is None else old
    most = max((tile.macs for card in cards for tile in _tiles(card.content)), default=0)
    return Drawing(
        title=title,
        totals=_counted(measure(before).as_dict(), measure(new).as_dict(), _TOTALS),
        input=arrow(_shape(before.input), _shape(new.input)),
        cards=tuple(cards if look.each else _neighbours_merged(cards)),
        compares=old is not None,
        most_macs=most if look.macs else 0,
    )


def _check_collapsible(path: str, versions: Iterable[Architecture]) -> None:
    errors = []
    for arch in versions:
        try:
            if node_at(arch, path).residual is not None:
                return
            errors.append(f"'{shown(path)}' has no residual")
        except InputError as error:
            errors.append(shown(error, 300))
    raise InputError(f"--collapse: {errors[0]}")


def _tiles(content: Part | None) -> Iterator[Tile]:
    waiting: list[Part] = [] if content is None else [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tile):
            yield part
        waiting += part.parts


def _card(pair: Pair, look: Look) -> Card:
    old, new = pair
    view = new or old
    if view is None:
        raise ValueError("a layer must be in one version at least")
    words = [None if v is None else _words(v) for v in pair]
    renamed = old is not None and new is not None and old.layer.name != new.layer.name
    return Card(
        names=(view.layer.name,),
        about=arrow(*_both(words)),
        counts=_counts(*pair),
        shape=arrow(*_both([None if v is None else _shape(v.writes.shape) for v in pair])),
        content=_content(old, new, look),
        change="changed" if renamed else change_of(*words),
        was=old.layer.name if renamed and old is not None else None,
    )


def _both(texts: list[str | None]) -> tuple[str, str]:
    """A text for each version; what is only in one version reads the same in both."""
    old, new = texts
    return old if old is not None else new or "", new if new is not None else old or ""


def _words(view: LayerView) -> str:
    """What a layer is; of a node what does not stand in its tiles."""
    layer = view.layer
    if isinstance(layer, Conv | Dense):
        return layer.op
    keys = layer.model_dump(exclude_none=True, exclude={"name", "op", "note", "renamed_from"})
    return " ".join([layer.op, *(str(v) if k == "act" else f"{k} {v}" for k, v in keys.items())])


def _counts(old: LayerView | None, new: LayerView | None) -> str:
    """Parameters and MACs of a layer with weights."""
    found = [
        {"parameters": node_parameters(view.node), "macs": node_macs(view.node)}
        for view in (old, new)
        if view is not None and view.node is not None
    ]
    return _counted(found[0], found[-1], _COUNTS) if found else ""


def _counted(old: Mapping[str, int], new: Mapping[str, int], words: Mapping[str, str]) -> str:
    """`12 neurons`, or `neurons 12 → 15` where two versions differ."""
    return ", ".join(
        f"{word} {old[key]:,} → {new[key]:,}" if old[key] != new[key] else _count(new[key], word)
        for key, word in words.items()
    )


def _count(number: int, word: str) -> str:
    return f"depth {number}" if word == "depth" else f"{number:,} {word}"


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


def _content(old: LayerView | None, new: LayerView | None, look: Look) -> Part | None:
    """The node, its activation, and the chain site that the layer owns."""
    before, after = (None if view is None else view.node for view in (old, new))
    if before is None and after is None:
        return None
    found = (node_part(before, after, look), _act(old, new), _width(old, new))
    parts = tuple(part for part in found if part is not None)
    return parts[0] if len(parts) == 1 else Series(parts)


def _act(old: LayerView | None, new: LayerView | None) -> Tile | None:
    before, after = (
        None if view is None or not isinstance(view.layer, Conv | Dense) else view.layer.act
        for view in (old, new)
    )
    if before is None and after is None:
        return None
    change: Change = change_of(before, after)
    text = arrow(*_both([before, after]))
    return Tile("act", text, about=f"act: {text}", change=change)


def _width(old: LayerView | None, new: LayerView | None) -> Tile | None:
    before, after = _own_width(old), _own_width(new)
    return None if before is None and after is None else site_tile(before, after, "width")


def _own_width(view: LayerView | None) -> tuple[int, str] | None:
    if view is None or not isinstance(view.layer, Conv | Dense) or is_identity(view.layer):
        return None
    return view.writes.neurons, "fixed" if view.layer.fixed else ""


def _neighbours_merged(cards: Iterable[Card]) -> Iterator[Card]:
    """Neighbours that look the same but for their names become one card."""
    for first, group in groupby(cards, key=lambda card: replace(card, names=())):
        found = list(group)
        if first.was is not None:
            yield from found
        else:
            yield replace(first, names=tuple(name for card in found for name in card.names))
