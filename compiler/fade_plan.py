"""Which cells of which tensors fade when neurons leave, and which are held still (DESIGN §6 Fade)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, NodeView, biases, leaves, nodes, sites

Leavers = Mapping[str, Sequence[int]]
"""Positions of the neurons that leave, by site."""


@dataclass(frozen=True, slots=True)
class FadePlan:
    """By tensor name: `columns` that fade, `rows` that are held, and tensors that fade as a `whole`."""

    columns: dict[str, tuple[int, ...]]
    rows: dict[str, tuple[int, ...]]
    whole: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor that is touched."""
        return tuple(dict.fromkeys([*self.columns, *self.rows, *self.whole]))


def with_nested(arch: Architecture, leavers: Leavers) -> dict[str, tuple[int, ...]]:
    """The leavers, and every neuron inside a residual that they empty; in file order."""
    result = {site: tuple(at) for site, at in leavers.items() if at}
    for node in nodes(arch):
        if node.hidden and len(result.get(node.hidden_site, ())) == node.hidden:
            result |= {n.hidden_site: tuple(range(n.hidden)) for n in _inside(node) if n.hidden}
    return {site: result[site] for site in sites(arch) if site in result}


def _inside(node: NodeView) -> Iterator[NodeView]:
    for child in (node.first, node.second):
        if child is not None:
            yield from child.walk()


def fade_plan(arch: Architecture, leavers: Leavers, dropped: Collection[str] = ()) -> FadePlan:
    """The plan for `leavers`, which must be closed under `with_nested`, and the shortcuts at paths `dropped`.

    Where a residual empties, its columns stay and the norm weight and bias of every leaf that
    writes the node's output from it fade instead (without norm: the weight): a batch norm would
    scale fading columns back up and leave a constant. A residual inside it goes unheard with it, so
    there nothing fades, and what it feeds is held still. A shortcut that is dropped fades alike.
    """
    emptied = {
        n.hidden_site: n for n in nodes(arch) if n.hidden and len(leavers.get(n.hidden_site, ())) == n.hidden
    }
    columns = {
        f"{leaf.path}.weight": _features(leaf, leavers[leaf.reads.site])
        for leaf in leaves(arch)
        if leavers.get(leaf.reads.site) and leaf.reads.site not in emptied
    }
    rows: dict[str, tuple[int, ...]] = {}
    for leaf in leaves(arch):
        if leavers.get(leaf.writes.site):
            rows |= dict.fromkeys(_row_tensors(leaf), tuple(leavers[leaf.writes.site]))
    for node in biases(arch):
        if leavers.get(node.writes.site):
            rows[f"{node.path}.bias"] = tuple(leavers[node.writes.site])
    outermost = [node for node in emptied.values() if not any(_is_inside(node, x) for x in emptied.values())]
    silenced = [leaf for node in outermost if node.second is not None for leaf in node.second.writers()]
    silenced += [leaf for leaf in leaves(arch) if leaf.path in dropped]
    whole = [name for leaf in silenced for name in _gains(leaf)]
    return FadePlan(columns, rows, tuple(dict.fromkeys(whole)))


def _is_inside(node: NodeView, outer: NodeView) -> bool:
    return node.path.startswith(f"{outer.path}.")


def _features(leaf: Leaf, neurons: Sequence[int]) -> tuple[int, ...]:
    per = leaf.reads.columns
    return tuple(neuron * per + i for neuron in neurons for i in range(per))


def _row_tensors(leaf: Leaf) -> tuple[str, ...]:
    norm = (f"{leaf.path}.norm.weight", f"{leaf.path}.norm.bias") if leaf.norm == "batch" else ()
    return (f"{leaf.path}.weight", *norm)


def _gains(leaf: Leaf) -> tuple[str, ...]:
    """What silences a leaf."""
    if leaf.norm == "batch":
        return (f"{leaf.path}.norm.weight", f"{leaf.path}.norm.bias")
    return (f"{leaf.path}.weight",)
