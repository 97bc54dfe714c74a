"""Random edit lists over random architectures; after every edit the architecture is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from nhnas.spec.apply import apply, is_empty
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
    SwapLayer,
)
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Conv, Dense, Dropout, Layer, MaxPool, Node
from nhnas.spec.shapes import is_identity
from nhnas.spec.structure import NodeView, nodes, sites, structure
from tests.laws.architectures import ACTS, Place, random_identity, random_residual, weightless

Proposal = Callable[[Random, Architecture], tuple[Edit, ...]]


def random_edits(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """One to eight edits of all kinds that fit `arch` one after another."""
    proposals = (
        *(add, add, add_anywhere, remove, remove, empty, promote, collapse, drop, restore, restore),
        *(
            insert,
            insert,
            take_out,
            swap,
            swap,
            swap,
            rename,
            setting,
            setting,
            leave_stream,
            join_stream,
            grow_kernel,
        ),
    )
    return collect(rng, arch, proposals, rng.choice((1, 2, 3, 4, 5, 6)))


def exact_edits(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """Edits that leave the output as it is without any fading."""
    kinds = (add, add, add, promote, restore, collapse, rename, insert_empty, leave_stream, grow_kernel)
    return collect(rng, arch, kinds, rng.choice((1, 2, 4, 5)))


def collect(rng: Random, arch: Architecture, proposals: tuple[Proposal, ...], count: int) -> tuple[Edit, ...]:
    """Proposals that fit until there are `count` edits or luck runs out."""
    edits: list[Edit] = []
    for _ in range(4 * count):
        found = rng.choice(proposals)(rng, arch)
        try:
            arch = apply(arch, found) if found else arch
        except InputError:
            continue
        edits += found
        if len(edits) >= count:
            break
    return tuple(edits)


def fits(arch: Architecture, edits: Edit | Sequence[Edit]) -> bool:
    """True where the edits lead to a sound architecture."""
    try:
        apply(arch, edits)
    except InputError:
        return False
    return True


def leaving(rng: Random, arch: Architecture) -> tuple[RemoveNeurons, ...]:
    """Removals as a search chooses them, at most one a site; an emptied residual takes its inside along."""
    going: dict[str, tuple[int, ...]] = {}
    for node in list(nodes(arch)):
        if node.hidden and node.live and rng.random() < 0.25 and can_empty(node):
            going |= {n.hidden_site: tuple(range(n.hidden)) for n in reversed(list(node.walk())) if n.hidden}
    for key, site in sites(arch).items():
        if key not in going and site.open and site.neurons > 1 and rng.random() < 0.3:
            going[key] = positions(rng, site.neurons, rng.randint(1, site.neurons - 1))
    return tuple(RemoveNeurons(site=site, at=at) for site, at in going.items())


def can_empty(node: NodeView) -> bool:
    """No node without shortcut would be left without neurons."""
    return all(n.leaf is not None or n.identity for n in node.walk())


def positions(rng: Random, size: int, count: int) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(size), count)))


def add(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """New neurons anywhere in a site, but none in the output."""
    output = structure(arch)[-1].writes.site
    return tuple(edit for edit in add_anywhere(rng, arch) if edit.site != output)


def add_anywhere(rng: Random, arch: Architecture) -> tuple[AddNeurons, ...]:
    """New neurons anywhere in a site."""
    found = list(sites(arch).values())
    if not found:  # identities alone, which all belong to the data's stream
        return ()
    site, count = rng.choice(found), rng.choice((1, 1, 2, 3))
    return (AddNeurons(site=site.key, at=positions(rng, site.neurons + count, count)),)


def remove(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """Some neurons of a site, never all."""
    full = [site for site in sites(arch).values() if site.neurons > 1]
    if not full:
        return ()
    site = rng.choice(full)
    return (RemoveNeurons(site=site.key, at=positions(rng, site.neurons, rng.randint(1, site.neurons - 1))),)


def empty(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """All neurons of a residual and of those inside it."""
    full = [node for node in nodes(arch) if node.hidden and can_empty(node)]
    if not full:
        return ()
    inside = [node for node in reversed(list(rng.choice(full).walk())) if node.hidden]
    return tuple(RemoveNeurons(site=n.hidden_site, at=tuple(range(n.hidden))) for n in inside)


def promote(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    plain = [node for node in nodes(arch) if node.residual is None]
    if not plain:
        return ()
    node = rng.choice(plain)
    depth = node.path.count(".")
    conv = next(v for v in structure(arch) if v.layer.name == node.path.split(".")[0]).layer.op == "conv"
    return (Promote(path=node.path, residual=random_residual(rng, conv, min(depth, 3), empty=True)),)


def collapse(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    vacant = [node for node in nodes(arch) if node.residual is not None and is_empty(node.residual)]
    if not vacant:
        return ()
    node = rng.choice(vacant)
    return (Collapse(path=node.path, residual=node.residual),) if node.residual else ()


def drop(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    able = [node for node in nodes(arch) if node.leaf is not None and node.hidden and node.live]
    if not able:
        return ()
    node = rng.choice(able)
    return (DropShortcut(path=node.path, leaf=node.node.shortcut),)


def restore(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    able = [node for node in nodes(arch) if node.node.shortcut is False]
    if not able:
        return ()
    return (RestoreShortcut(path=rng.choice(able).path, leaf=True),)


def insert(rng: Random, arch: Architecture) -> tuple[InsertLayer, ...]:
    """A layer without weights or one that joins a stream; both fit nearly anywhere."""
    index = rng.randint(0, len(arch.net))
    flows = structure(arch)
    port = flows[index].reads if index < len(flows) else flows[-1].writes
    size = port.map[0] if port.map else None
    if rng.random() < 0.4:
        layer = weightless(rng, Place(port.features, size), fresh_name(rng, arch))
    else:
        layer = random_identity(rng, Dense if size is None else Conv, fresh_name(rng, arch))
    return (InsertLayer(index=index, layer=layer),)


def insert_empty(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """An identity layer without a neuron."""
    return tuple(edit for edit in insert(rng, arch) if computes_nothing(edit.layer))


def computes_nothing(layer: Layer) -> bool:
    """True for an identity layer without neurons and activation."""
    if not isinstance(layer, Conv | Dense) or layer.act is not None or not is_identity(layer):
        return False
    return layer.residual is None or is_empty(layer.residual)


def take_out(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    index = rng.randrange(len(arch.net))
    return (RemoveLayer(index=index, layer=arch.net[index]),)


def swap(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """A layer without weights gives its place to another one, under any name."""
    plain = [index for index, layer in enumerate(arch.net) if not isinstance(layer, Conv | Dense)]
    if not plain:
        return ()
    index = rng.choice(plain)
    reads = structure(arch)[index].reads
    place = Place(reads.features, reads.map[0] if reads.map else None)
    name = rng.choice((arch.net[index].name, fresh_name(rng, arch)))
    return (SwapLayer(index=index, old=arch.net[index], new=weightless(rng, place, name)),)


def rename(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    return (Rename(old=rng.choice(arch.net).name, new=fresh_name(rng, arch)),)


def fresh_name(rng: Random, arch: Architecture) -> str:
    taken = {layer.name for layer in arch.net}
    return next(name for name in iter(lambda: f"x{rng.randrange(100)}", None) if name not in taken)


def setting(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """One key of one node, residual or layer without weights."""
    edits = list(_settings(rng, arch))
    edit = rng.choice(edits)
    return (edit,) if isinstance(edit, Set) and edit.old != edit.new else ()


def _settings(rng: Random, arch: Architecture) -> Iterator[Edit]:
    for layer in arch.net:
        if isinstance(layer, Conv | Dense):
            yield set_key(layer, layer.name, "act", rng.choice((None, *ACTS)))
            yield set_key(layer, layer.name, "note", rng.choice((None, "by hand")))
            if not is_identity(layer):
                yield set_key(layer, layer.name, "fixed", not layer.fixed)
        if isinstance(layer, Conv):
            yield set_key(layer, layer.name, "stride", 3 - min(layer.stride, 2))
        if isinstance(layer, MaxPool):
            yield set_key(layer, layer.name, "stride", 1)
        if isinstance(layer, Dropout):
            yield set_key(layer, layer.name, "p", 0.25)
    for view in nodes(arch):
        yield from _node_settings(rng, view)


def _node_settings(rng: Random, view: NodeView) -> Iterator[Edit]:
    yield set_key(view.node, view.path, "norm", rng.choice((None, "batch", "none")))
    yield set_key(view.node, view.path, "kernel", rng.choice((None, 1, 3, 5)))
    if view.residual is not None:
        yield set_key(view.residual, f"{view.path}.residual", "act", rng.choice(ACTS))
        yield set_key(view.residual, f"{view.path}.residual", "fixed", not view.residual.fixed)
    if view.leaf is not None:
        yield set_key(
            view.node, view.path, "shortcut", rng.choice((None, {"norm": "none"}, {"norm": "batch"}))
        )


def set_key(model: Any, path: str, key: str, new: Any) -> Set:
    """`Set` as `diff` would write it: a default is None."""
    default = type(model).model_fields[key].default
    old = model.model_dump(mode="json", exclude_defaults=True).get(key)
    return Set(path=path, key=key, old=old, new=None if new == default else new)


def leave_stream(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """An identity becomes a leaf that starts as the identity."""
    streams = [layer for layer in arch.net if is_identity(layer)]
    if not streams:
        return ()
    layer = rng.choice(streams)
    born: dict[str, Any] = {"norm": "none", "init": "identity"}
    born |= {"kernel": 1} if isinstance(layer, Conv) else {}
    return (Set(path=layer.name, key="shortcut", old="identity", new=born),)


def join_stream(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """A layer as wide as what it reads becomes an identity."""
    able = [
        view.layer
        for view in structure(arch)
        if isinstance(view.layer, Conv | Dense) and view.layer.width == view.reads.neurons
    ]
    if not able:
        return ()
    layer = rng.choice(able)
    old = layer.model_dump(mode="json", exclude_defaults=True).get("shortcut")
    return (Set(path=layer.name, key="shortcut", old=old, new="identity"),)


def grow_kernel(rng: Random, arch: Architecture) -> tuple[Edit, ...]:
    """A node's kernel, and with it that of every leaf below which inherits it, grows by two or more."""
    views = [n for v in structure(arch) if isinstance(v.layer, Conv) and v.node for n in v.node.walk()]
    able = [n for n in views if all(_not_above(child.node, n.kernel + 2) for child in n.walk())]
    if not able:
        return ()
    view = rng.choice(able)
    return (Set(path=view.path, key="kernel", old=view.node.kernel, new=view.kernel + rng.choice((2, 2, 4))),)


def _not_above(node: Node, kernel: int) -> bool:
    return node.kernel is None or node.kernel <= kernel
