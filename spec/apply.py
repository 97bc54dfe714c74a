"""What each edit does to an architecture (DESIGN §5).

The contract of every edit: the architecture is sound before and after the list, and what an edit
claims to find (a layer, a residual, an old value) is really there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from pydantic import ValidationError

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
from nhnas.spec.model import Architecture, Conv, Dense, Residual
from nhnas.spec.paths import (
    change_layer,
    change_node,
    change_residual,
    layer_index,
    node_at,
    replace_layers,
    residual_at,
    update,
)
from nhnas.spec.shapes import trace
from nhnas.spec.verify import verify


def apply(arch: Architecture, edits: Edit | Sequence[Edit]) -> Architecture:
    """The architecture after one edit or a list of them; raises InputError if they do not fit it."""
    verify(arch)
    for edit in edits if isinstance(edits, Sequence) else (edits,):
        arch = applied(arch, edit)
    return verify(arch)


def applied(arch: Architecture, edit: Edit) -> Architecture:
    """One edit inside a list; only the list's ends need be sound."""
    return _apply(edit, arch)


def site_size(arch: Architecture, site: str) -> int:
    """Neurons of a site."""
    path, _, kind = site.rpartition(".")
    if kind == "hidden":
        return residual_at(arch, path).hidden
    layer = node_at(arch, path) if kind == "width" else None
    if isinstance(layer, Conv | Dense) and layer.width is not None:
        return layer.width
    raise InputError(f"there is no site {site!r}")


def _resize(arch: Architecture, site: str, size: int) -> Architecture:
    path, _, kind = site.rpartition(".")
    if kind == "hidden":
        return change_residual(arch, path, hidden=size)
    if size == 0:
        raise InputError(f"{site}: a layer keeps at least one neuron; remove the layer instead")
    return change_layer(arch, path, lambda layer: update(layer, width=size))


def _check_positions(site: str, at: Sequence[int], size: int) -> None:
    if list(at) != sorted(set(at)) or at[-1] >= size:
        raise InputError(f"{site}: positions must rise and lie below {size}: {list(at)}")


def _expect(found: object, wanted: object, where: str) -> None:
    if found != wanted:
        raise InputError(f"{where} is {found!r}, but the edit expects {wanted!r}")


def is_empty(residual: Residual) -> bool:
    """True where neither the residual nor any residual inside holds a neuron."""
    below = (node.residual for node in (residual.first, residual.second))
    return residual.hidden == 0 and all(r is None or is_empty(r) for r in below)


def _check_empty(path: str, residual: Residual) -> None:
    if not is_empty(residual):
        raise InputError(f"{path}.residual holds neurons; only an empty one comes or goes")


@singledispatch
def _apply(edit: Edit, _arch: Architecture) -> Architecture:
    raise TypeError(f"not an edit: {edit!r}")


@_apply.register
def _(edit: AddNeurons, arch: Architecture) -> Architecture:
    size = site_size(arch, edit.site) + len(edit.at)
    _check_positions(edit.site, edit.at, size)
    return _resize(arch, edit.site, size)


@_apply.register
def _(edit: RemoveNeurons, arch: Architecture) -> Architecture:
    size = site_size(arch, edit.site)
    _check_positions(edit.site, edit.at, size)
    return _resize(arch, edit.site, size - len(edit.at))


@_apply.register
def _(edit: Promote, arch: Architecture) -> Architecture:
    _expect(node_at(arch, edit.path).residual, None, f"{edit.path}.residual")
    _check_empty(edit.path, edit.residual)
    return change_node(arch, edit.path, lambda node: update(node, residual=edit.residual))


@_apply.register
def _(edit: Collapse, arch: Architecture) -> Architecture:
    _expect(residual_at(arch, edit.path), edit.residual, f"{edit.path}.residual")
    _check_empty(edit.path, edit.residual)
    return change_node(arch, edit.path, lambda node: update(node, residual=None))


@_apply.register
def _(edit: DropShortcut, arch: Architecture) -> Architecture:
    _expect(node_at(arch, edit.path).shortcut, edit.leaf, f"{edit.path}.shortcut")
    return change_node(arch, edit.path, lambda node: update(node, shortcut=False))


@_apply.register
def _(edit: RestoreShortcut, arch: Architecture) -> Architecture:
    _expect(node_at(arch, edit.path).shortcut, False, f"{edit.path}.shortcut")
    return change_node(arch, edit.path, lambda node: update(node, shortcut=edit.leaf))


@_apply.register
def _(edit: InsertLayer, arch: Architecture) -> Architecture:
    if edit.index > len(arch.net):
        raise InputError(f"a layer cannot enter at {edit.index}: there are {len(arch.net)} layers")
    return replace_layers(arch, (*arch.net[: edit.index], edit.layer, *arch.net[edit.index :]))


@_apply.register
def _(edit: RemoveLayer, arch: Architecture) -> Architecture:
    found = arch.net[edit.index] if edit.index < len(arch.net) else None
    _expect(found, edit.layer, f"layer {edit.index + 1}")
    return replace_layers(arch, (*arch.net[: edit.index], *arch.net[edit.index + 1 :]))


@_apply.register
def _(edit: SwapLayer, arch: Architecture) -> Architecture:
    found = arch.net[edit.index] if edit.index < len(arch.net) else None
    _expect(found, edit.old, f"layer {edit.index + 1}")
    if isinstance(edit.old, Conv | Dense) or isinstance(edit.new, Conv | Dense):
        raise InputError(f"layer {edit.index + 1}: only layers without weights are swapped")
    return replace_layers(arch, (*arch.net[: edit.index], edit.new, *arch.net[edit.index + 1 :]))


@_apply.register
def _(edit: Rename, arch: Architecture) -> Architecture:
    if any(layer.name == edit.new for layer in arch.net):
        raise InputError(f"a layer {edit.new!r} is there already")
    return change_layer(arch, edit.old, lambda layer: _set_field(layer, "name", edit.new))


@_apply.register
def _(edit: Set, arch: Architecture) -> Architecture:
    name, *slots = edit.path.split(".")
    residual = slots[-1:] == ["residual"]
    path = edit.path.removesuffix(".residual") if residual else edit.path
    if not residual and not slots and not isinstance(arch.net[layer_index(arch, name)], Conv | Dense):
        return change_layer(arch, name, lambda layer: _set(edit, layer))
    if residual:
        changed = _set(edit, residual_at(arch, path))
        return change_node(arch, path, lambda node: update(node, residual=changed))
    width = _width_after(edit, arch, path) if edit.key == "shortcut" and not slots else {}
    return change_node(arch, path, lambda node: update(_set(edit, node), **width))


def _width_after(edit: Set, arch: Architecture, name: str) -> dict[str, int | None]:
    """A layer that leaves a stream takes its width along; one of the same width may join it."""
    if "identity" not in (edit.old, edit.new):
        return {}
    stream = trace(arch)[0][layer_index(arch, name)].reads.neurons
    if edit.old == "identity":
        return {"width": stream}
    _expect(site_size(arch, f"{name}.width"), stream, f"{name}.width, which must be the stream's,")
    return {"width": None}


def _set(edit: Set, model: Any) -> Any:
    """`model` with one key changed; the old value must be as the edit says."""
    dumped = model.model_dump(mode="json", exclude_defaults=True)
    fields = type(model).model_fields
    if edit.key not in fields or edit.key in ("residual", "first", "second", "hidden", "width", "name", "op"):
        raise InputError(f"{edit.path}: {edit.key!r} cannot be set by an edit of this kind")
    if _set_field(model, edit.key, edit.old) != model:  # a default may be written or not
        _expect(dumped.get(edit.key), edit.old, f"{edit.path}.{edit.key}")
    return _set_field(model, edit.key, edit.new)


def _set_field(model: Any, key: str, value: object) -> Any:
    """A validated copy with one field changed; None takes the key away. Raises InputError."""
    dumped = model.model_dump(mode="json", exclude_defaults=True)
    dumped.pop(key, None)
    if "op" in type(model).model_fields:
        dumped["op"] = model.op
    if value is not None:
        dumped[key] = value
    try:
        return type(model).model_validate(dumped)
    except ValidationError as error:
        raise InputError(f"{key} cannot be {value!r}: {error.errors()[0]['msg']}") from error
