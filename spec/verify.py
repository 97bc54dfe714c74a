"""What one part of an architecture demands of another; all problems in one pass (DESIGN §3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nhnas.spec.by_identity import recognised
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Conv, Dense, Layer, Node, Residual, ShortcutLeaf
from nhnas.spec.shapes import Flow, Loc, Problem, is_identity, trace
from nhnas.spec.shown import shown

MAX_NESTING = 64


@recognised
def problems(arch: Architecture) -> tuple[Problem, ...]:
    """Everything wrong with `arch`, in file order; empty for a sound one."""
    flows, found = trace(arch)
    every = [*found, *_without_weights(arch)]
    every += repeated_names((index, layer.name) for index, layer in enumerate(arch.net))
    every += _renamings(arch)
    for index, layer in enumerate(arch.net):
        every += local_problems(index, layer)
    for flow in flows:
        every += _identity_start(flow)
    return tuple(sorted(every, key=lambda p: tuple(map(_order, p.loc))))


def local_problems(index: int, layer: Layer) -> Iterator[Problem]:
    """What can be said of one layer without knowing the others."""
    if isinstance(layer, Conv | Dense):
        yield from _node(layer, ("net", index), dense=isinstance(layer, Dense), depth=0)


def repeated_names(names: Iterable[tuple[int, str]]) -> Iterator[Problem]:
    """One problem for each name, given with its layer's index, that an earlier layer has already."""
    seen: dict[str, int] = {}
    for index, name in names:
        if name in seen:
            message = f"the name '{shown(name)}' is taken by layer {seen[name] + 1} of net"
            yield Problem(("net", index, "name"), message)
        seen.setdefault(name, index)


def _renamings(arch: Architecture) -> Iterator[Problem]:
    """A layer goes on under one other name, and that name is free."""
    staying = {layer.name for layer in arch.net if layer.renamed_from is None}
    heirs: dict[str, str] = {}
    for index, layer in enumerate(arch.net):
        before, loc = layer.renamed_from, ("net", index, "renamed_from")
        if before is None:
            continue
        if before == layer.name:
            yield Problem(loc, "this is the layer's name already; remove renamed_from")
        elif before in staying:
            yield Problem(loc, f"a layer '{shown(before)}' is still there; give that one another name first")
        elif before in heirs:
            yield Problem(
                loc, f"the layer '{shown(heirs[before])}' is renamed from '{shown(before)}' already"
            )
        heirs.setdefault(before, layer.name)


def verify(arch: Architecture) -> Architecture:
    """Return `arch`; raise InputError with one line a problem if it is not sound."""
    found = problems(arch)
    if found:
        raise InputError("\n".join(f"{'.'.join(map(str, p.loc))}: {p.message}" for p in found))
    return arch


def _order(key: str | int) -> tuple[int, str]:
    return (key, "") if isinstance(key, int) else (-1, key)


def _without_weights(arch: Architecture) -> Iterator[Problem]:
    nodes = [layer for layer in arch.net if isinstance(layer, Conv | Dense)]
    if all(is_identity(layer) and (layer.residual is None or layer.residual.hidden == 0) for layer in nodes):
        rest = "; an identity without neurons has none" if nodes else ""
        yield Problem(("net",), f"no layer has weights; add a conv or dense layer{rest}")


def _identity_start(flow: Flow) -> Iterator[Problem]:
    """`init: identity` needs a leaf that can be the identity."""
    layer = flow.layer
    own = layer.shortcut if isinstance(layer, Conv | Dense) else None
    if not isinstance(own, ShortcutLeaf) or own.init is None:
        return
    strided = isinstance(layer, Conv) and layer.stride != 1
    if strided or flow.reads.columns > 1:
        message = "init: identity needs stride 1 and neurons that are not flattened"
        yield Problem(("net", flow.index, "shortcut", "init"), message)


def _node(node: Node, loc: Loc, dense: bool, depth: int) -> Iterator[Problem]:
    yield from _kernel(node, loc, dense)
    if depth > 0 and node.shortcut == "identity":
        yield Problem((*loc, "shortcut"), "identity is for chain layers; here true, false or {kernel, norm}")
    if depth > 0 and isinstance(node.shortcut, ShortcutLeaf) and node.shortcut.init is not None:
        yield Problem((*loc, "shortcut", "init"), "init: identity is for chain layers")
    if node.shortcut is False and (node.residual is None or node.residual.hidden == 0):
        yield Problem(
            (*loc, "shortcut"), "a node needs a shortcut or hidden neurons; set hidden to 1 at least"
        )
    if node.residual is not None:
        yield from _residual(node.residual, (*loc, "residual"), dense, depth + 1)


def _kernel(node: Node, loc: Loc, dense: bool) -> Iterator[Problem]:
    if not dense:
        return
    if node.kernel is not None:
        yield Problem((*loc, "kernel"), "a dense node has no kernel")
    if isinstance(node.shortcut, ShortcutLeaf) and node.shortcut.kernel is not None:
        yield Problem((*loc, "shortcut", "kernel"), "a dense node has no kernel")


def _residual(residual: Residual, loc: Loc, dense: bool, depth: int) -> Iterator[Problem]:
    if depth > MAX_NESTING:
        yield Problem(loc, f"residuals are nested at most {MAX_NESTING} deep")
        return
    for slot, node in (("first", residual.first), ("second", residual.second)):
        yield from _node(node, (*loc, slot), dense, depth)
        if residual.hidden == 0 and node.residual is not None and node.residual.hidden > 0:
            where = (*loc, slot, "residual", "hidden")
            yield Problem(where, "inside an empty residual every residual is empty; set this to 0")
