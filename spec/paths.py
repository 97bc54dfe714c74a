"""Where a node is: `block1.first.second`; reading and replacing what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture, Layer, Node, Residual


def layer_index(arch: Architecture, name: str) -> int:
    """Position of the layer `name` in the chain."""
    for index, layer in enumerate(arch.net):
        if layer.name == name:
            return index
    raise InputError(f"there is no layer {name!r}; the layers are {', '.join(x.name for x in arch.net)}")


def replace_layers(arch: Architecture, layers: Iterable[Layer]) -> Architecture:
    """The architecture with another chain."""
    return arch.model_copy(update={"net": tuple(layers)})


def update(model: Any, **changes: Any) -> Any:
    """A copy of frozen spec data with some fields changed."""
    return model.model_copy(update=changes)


def change_layer(arch: Architecture, name: str, change: Callable[[Any], Any]) -> Architecture:
    """Replace the layer `name` by `change(layer)`."""
    at = layer_index(arch, name)
    return replace_layers(arch, (change(x) if i == at else x for i, x in enumerate(arch.net)))


def node_at(arch: Architecture, path: str) -> Node:
    """The node at `path`; raises InputError where there is none."""
    name, *slots = path.split(".")
    node = arch.net[layer_index(arch, name)]
    if not isinstance(node, Node):
        raise InputError(f"layer {name!r} ({node.op}) is not a node")
    below: Node = node
    for slot in slots:
        if below.residual is None or slot not in ("first", "second"):
            raise InputError(f"there is no node {path!r}")
        below = getattr(below.residual, slot)
    return below


def residual_at(arch: Architecture, path: str) -> Residual:
    """The residual of the node at `path`; raises InputError where there is none."""
    residual = node_at(arch, path).residual
    if residual is None:
        raise InputError(f"{path!r} has no residual")
    return residual


def change_node(arch: Architecture, path: str, change: Callable[[Any], Any]) -> Architecture:
    """Replace the node at `path` by `change(node)`."""
    node_at(arch, path)
    name, *slots = path.split(".")
    return change_layer(arch, name, lambda layer: _change_below(layer, slots, change))


def change_residual(arch: Architecture, path: str, **changes: Any) -> Architecture:
    """Change fields of the residual of the node at `path`."""
    residual_at(arch, path)
    return change_node(arch, path, lambda n: update(n, residual=update(n.residual, **changes)))


def _change_below(node: Any, slots: list[str], change: Callable[[Any], Any]) -> Any:
    if not slots:
        return change(node)
    slot, *rest = slots
    child = _change_below(getattr(node.residual, slot), rest, change)
    return update(node, residual=update(node.residual, **{slot: child}))
