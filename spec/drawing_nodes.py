"""A node as a series-parallel part; of two versions of it both at once, each piece marked by what changed."""

from __future__ import annotations

from dataclasses import dataclass, field

from nhnas.spec.drawing import Change, Fork, Frame, Kind, Look, Part, Series, Tile
from nhnas.spec.measure import leaf_macs, leaf_parameters, node_macs, node_neurons, node_parameters
from nhnas.spec.model import Node
from nhnas.spec.structure import Leaf, NodeView

View = NodeView | None
"""A node in one of the two versions; None where that version has none."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a tile says of one version; `inside` is what a folded tile does not say."""

    text: str
    detail: str = ""
    about: str = field(default="", compare=False)  # with counts, which a neighbour's width changes too
    macs: int = field(default=0, compare=False)
    inside: Node | None = None


def node_part(old: View, new: View, look: Look, level: int = 0) -> Part | None:
    """The node in both versions, `level` residuals below the chain; None where nothing is to be seen."""
    if _is_folded(old, new, look, level):
        return _tile("folded", _folded(old), _folded(new))
    shortcut = _shortcut(old, new)
    if not any(view and view.residual for view in (old, new)):
        return shortcut
    branch = _branch(old, new, look, level + 1)
    return branch if shortcut is None else Fork(shortcut, branch, not _is_filled(old) and not _is_filled(new))


def arrow(old: str, new: str) -> str:
    """One text for both versions."""
    return new if old == new else f"{old or '–'} → {new or '–'}"


def change_of(old: object, new: object) -> Change:
    """What became of something that is None where it is not."""
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "kept" if old == new else "changed"


def site_tile(old: tuple[int, str] | None, new: tuple[int, str] | None, about: str) -> Tile:
    """Neurons of a site, given with a detail; `about` is the site's key within its layer."""
    facts = [None if x is None else _Facts(str(x[0]), x[1], f"{about}: {x[0]} neurons") for x in (old, new)]
    tile = _tile("site", *facts)
    empty = all(x is None or x[0] == 0 for x in (old, new))
    return Tile(tile.kind, tile.text, tile.detail, tile.about, tile.change, faint=empty)


def _tile(kind: Kind, old: _Facts | None, new: _Facts | None) -> Tile:
    if old is None or new is None:
        facts = new or old or _Facts("")
        return Tile(kind, facts.text, facts.detail, facts.about, change_of(old, new), facts.macs)
    return Tile(
        kind,
        arrow(old.text, new.text),
        arrow(old.detail, new.detail),
        arrow(old.about, new.about),
        change_of(old, new),
        new.macs,
    )


def _is_folded(old: View, new: View, look: Look, level: int) -> bool:
    views = [view for view in (old, new) if view is not None and view.residual is not None]
    too_deep = look.depth is not None and level >= look.depth
    return bool(views) and (too_deep or any(view.path in look.collapse for view in views))


def _is_filled(view: View) -> bool:
    return view is not None and view.hidden > 0


def _shortcut(old: View, new: View) -> Tile | None:
    """The leaf or the identity beside the residual."""
    before, after = _straight(old), _straight(new)
    if before is None and after is None:
        return None
    bare = all(view is None or view.identity for view in (old, new))
    return _tile("identity" if bare else "leaf", before, after)


def _straight(view: View) -> _Facts | None:
    if view is None:
        return None
    if view.identity:
        return _Facts("identity", about=_within(view.path, "the stream itself"))
    return _leaf(view.leaf) if view.live and view.leaf is not None else None


def _leaf(leaf: Leaf) -> _Facts:
    text = f"{leaf.kernel}×{leaf.kernel}" if leaf.op == "conv" else "dense"
    usual = "batch" if leaf.op == "conv" else "none"
    norm = "no norm" if leaf.norm == "none" else "batch norm"
    detail = [
        *([f"stride {leaf.stride}"] if leaf.stride > 1 else []),
        *([norm] if leaf.norm != usual else []),
        *(["from identity"] if leaf.identity_init else []),
    ]
    flow = f"{leaf.reads.features}→{leaf.writes.neurons}"
    about = f"{text}, {flow}, {norm}, {leaf_parameters(leaf):,} parameters, {leaf_macs(leaf):,} MACs"
    return _Facts(text, ", ".join(detail), _within(leaf.path, about), leaf_macs(leaf))


def _within(path: str, text: str) -> str:
    """The place within the layer, whose name stands on its card."""
    inner = path.partition(".")[2]
    return f"{inner}: {text}" if inner else text


def _branch(old: View, new: View, look: Look, level: int) -> Part:
    """`first`, the neurons, `second`."""
    views = [view for view in (old, new) if view is not None and view.residual is not None]
    site = site_tile(_hidden(old), _hidden(new), views[-1].hidden_site.partition(".")[2])
    found = (
        _slot("first", _child(old, "first"), _child(new, "first"), look, level),
        site,
        _slot("second", _child(old, "second"), _child(new, "second"), look, level),
    )
    parts = tuple(part for part in found if part is not None)
    return parts[0] if len(parts) == 1 else Series(parts)


def _child(view: View, slot: str) -> View:
    return None if view is None else view.first if slot == "first" else view.second


def _hidden(view: View) -> tuple[int, str] | None:
    if view is None or view.residual is None:
        return None
    residual = view.residual
    dropout = f", dropout {residual.dropout}" if residual.dropout else ""
    return residual.hidden, residual.act + dropout + (", fixed" if residual.fixed else "")


def _slot(label: str, old: View, new: View, look: Look, level: int) -> Part | None:
    """A nested node, in a box if it is more than a leaf."""
    part = node_part(old, new, look, level)
    if part is None or (isinstance(part, Tile) and part.kind != "site"):
        return part
    before, after = (None if view is None else view.residual for view in (old, new))
    place = (new or old or _missing()).path.partition(".")[2]
    change: Change = "kept" if before is not None and after is not None else change_of(before, after)
    return Frame(label, part, place, change)


def _unnamed(node: Node) -> Node:
    """What is below a node; its own name, width and activation stand elsewhere."""
    return Node.model_construct(
        kernel=node.kernel, norm=node.norm, shortcut=node.shortcut, residual=node.residual
    )


def _missing() -> NodeView:
    raise ValueError("a node must be in one version at least")


def _folded(view: View) -> _Facts | None:
    """A node with all below it in two lines."""
    if view is None:
        return None
    straight = _straight(view)
    text = " + ".join(([straight.text] if straight else []) + ([str(view.hidden)] if view.residual else []))
    neurons = node_neurons(view)
    parameters, macs = (node_parameters(view), node_macs(view)) if view.live else (0, 0)
    detail = f"{neurons} neurons inside"
    about = f"{detail}, {parameters:,} parameters, {macs:,} MACs"
    return _Facts(text, detail, _within(view.path, about), macs, _unnamed(view.node))
