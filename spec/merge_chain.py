"""Three-way merge of the chain `net`: which layers there are, in which order, and what each says.

A layer is its name; one that a side renamed is still the base's layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from nhnas.spec.merge_values import Conflict, Merged, merge_values

Layers = Sequence[dict[str, Any]]
Key = tuple[bool, str]
"""Whether a layer is the base's, and its name: in the base, else its own."""
Chain = dict[Key, dict[str, Any]]
Gap = tuple[tuple[Key, ...], tuple[Key, ...]]
"""Layers at one place, on our side and on theirs, that the other side does not have."""


def merge_chains(
    base: Layers,
    sides: tuple[Layers, Layers],
    renamed: tuple[Mapping[str, str], Mapping[str, str]],
    deep: bool = True,
) -> Merged | None:
    """The merged `net`; None where both sides moved layers, and differently.

    `renamed` maps, for each side, names in the base to new ones. With `deep` False a layer that both
    sides changed is one conflict.
    """
    names = {str(layer["name"]) for layer in base}
    before = _keyed(base, names, {})
    ours, theirs = (_keyed(net, names, moves) for net, moves in zip(sides, renamed, strict=True))
    layers = _merge_layers(before, ours, theirs, deep)
    spine = merge_values(
        "net", *([k for k in chain if k in ours and k in theirs] for chain in (before, ours, theirs))
    )
    if spine.conflicts:
        return None
    nets: list[Layers] = []
    crossed: dict[Gap, None] = {}
    for side in (0, 1):
        alive = {key for key, merged in layers.items() if merged.sides[side] is not None}
        gaps = list(_gaps(spine.ours, ours, theirs, alive))
        crossed |= {gap: None for gap in gaps if all(gap)}
        keys = _order(spine.ours, gaps, alive, side)
        nets.append([layers[key].sides[side] for key in keys])
    conflicts = [conflict for merged in layers.values() for conflict in merged.conflicts]
    conflicts += [_at_one_place(gap, ours, theirs) for gap in crossed]
    return Merged(nets[0], nets[1], tuple(conflicts))


def _keyed(net: Layers, names: Collection[str], renamed: Mapping[str, str]) -> Chain:
    back = {after: before for before, after in renamed.items()}
    found: Chain = {}
    for layer in net:
        name = str(layer["name"])
        known = name in back or (name in names and name not in renamed)
        found[known, back.get(name, name)] = layer
    return found


def _merge_layers(before: Chain, ours: Chain, theirs: Chain, deep: bool) -> dict[Key, Merged]:
    found = {}
    for key in {**before, **ours, **theirs}:
        versions = [chain.get(key) for chain in (before, ours, theirs)]
        one_op = len({layer["op"] for layer in versions if layer is not None}) == 1
        found[key] = merge_values(key[1], *versions, deep=deep and one_op)
    return found


def _gaps(spine: Sequence[Key], ours: Chain, theirs: Chain, alive: Collection[Key]) -> Iterator[Gap]:
    """Before the first layer that both have, and behind each: what only one of them has there."""
    mine, other = (_behind(chain, set(spine), alive) for chain in (ours, theirs))
    return ((tuple(mine.get(anchor, ())), tuple(other.get(anchor, ()))) for anchor in (None, *spine))


def _behind(chain: Chain, spine: Collection[Key], alive: Collection[Key]) -> dict[Key | None, list[Key]]:
    found: dict[Key | None, list[Key]] = {}
    anchor: Key | None = None
    for key in chain:
        if key in spine:
            anchor = key
        elif key in alive:
            found.setdefault(anchor, []).append(key)
    return found


def _order(spine: Sequence[Key], gaps: Sequence[Gap], alive: Collection[Key], side: int) -> Iterator[Key]:
    for anchor, gap in zip((None, *spine), gaps, strict=True):
        if anchor is not None and anchor in alive:
            yield anchor
        yield from gap[side] or gap[1 - side]


def _at_one_place(gap: Gap, ours: Chain, theirs: Chain) -> Conflict:
    mine, other = (
        [chain[key]["name"] for key in keys] for chain, keys in zip((ours, theirs), gap, strict=True)
    )
    return Conflict("net", None, mine, other)
