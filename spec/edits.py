"""Edits of an architecture: frozen, in inverse pairs, each carrying what its inverse needs (DESIGN §5).

What an edit does to the architecture is in `nhnas.spec.apply`, to tensors in `nhnas.compiler.recipe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from nhnas.spec.model import Frozen, Layer, Residual, Shortcut

Positions = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
Value = str | int | float | bool | None | dict[str, Any]


class AddNeurons(Frozen):
    """Neurons appear at the positions `at` of the larger site."""

    kind: Literal["add_neurons"] = "add_neurons"
    site: str
    at: Positions

    @property
    def inverse(self) -> RemoveNeurons:
        """Removes the same neurons."""
        return RemoveNeurons(site=self.site, at=self.at)


class RemoveNeurons(Frozen):
    """Neurons vanish from the positions `at` of the larger site."""

    kind: Literal["remove_neurons"] = "remove_neurons"
    site: str
    at: Positions

    @property
    def inverse(self) -> AddNeurons:
        """Adds neurons at the same positions."""
        return AddNeurons(site=self.site, at=self.at)


class Promote(Frozen):
    """A node gets a residual without neurons: it becomes open to non-linearity."""

    kind: Literal["promote"] = "promote"
    path: str
    residual: Residual

    @property
    def inverse(self) -> Collapse:
        """Takes the empty residual away."""
        return Collapse(path=self.path, residual=self.residual)


class Collapse(Frozen):
    """A node loses its empty residual: it becomes its leaf alone."""

    kind: Literal["collapse"] = "collapse"
    path: str
    residual: Residual

    @property
    def inverse(self) -> Promote:
        """Gives the empty residual back."""
        return Promote(path=self.path, residual=self.residual)


class DropShortcut(Frozen):
    """A node loses its shortcut leaf; `leaf` is what stood at `shortcut`."""

    kind: Literal["drop_shortcut"] = "drop_shortcut"
    path: str
    leaf: Shortcut

    @property
    def inverse(self) -> RestoreShortcut:
        """Gives the leaf back."""
        return RestoreShortcut(path=self.path, leaf=self.leaf)


class RestoreShortcut(Frozen):
    """A node gets a shortcut leaf, silent at first."""

    kind: Literal["restore_shortcut"] = "restore_shortcut"
    path: str
    leaf: Shortcut

    @property
    def inverse(self) -> DropShortcut:
        """Takes the leaf away."""
        return DropShortcut(path=self.path, leaf=self.leaf)


class InsertLayer(Frozen):
    """A layer enters the chain before position `index` of the shorter chain."""

    kind: Literal["insert_layer"] = "insert_layer"
    index: Annotated[int, Field(ge=0)]
    layer: Layer

    @property
    def inverse(self) -> RemoveLayer:
        """Removes the layer."""
        return RemoveLayer(index=self.index, layer=self.layer)


class RemoveLayer(Frozen):
    """The layer at position `index` leaves the chain."""

    kind: Literal["remove_layer"] = "remove_layer"
    index: Annotated[int, Field(ge=0)]
    layer: Layer

    @property
    def inverse(self) -> InsertLayer:
        """Inserts the layer again."""
        return InsertLayer(index=self.index, layer=self.layer)


class SwapLayer(Frozen):
    """The layer at position `index`, which has no weights, makes way for another one without weights.

    Were it removed and inserted, what reads a flattened map behind it would have to start anew.
    """

    kind: Literal["swap_layer"] = "swap_layer"
    index: Annotated[int, Field(ge=0)]
    old: Layer
    new: Layer

    @property
    def inverse(self) -> SwapLayer:
        """Puts the old layer back."""
        return SwapLayer(index=self.index, old=self.new, new=self.old)


class Rename(Frozen):
    """A layer gets another name; its weights stay."""

    kind: Literal["rename"] = "rename"
    old: str
    new: str

    @property
    def inverse(self) -> Rename:
        """Gives the old name back."""
        return Rename(old=self.new, new=self.old)


class Set(Frozen):
    """A setting changes; `path` is a node's path, or `<path>.residual` for the residual's own keys.

    None stands for a key that is not written. Where `shortcut` turns from identity into a leaf
    the layer gets the stream's width as its own; on the way back it loses it.
    """

    kind: Literal["set"] = "set"
    path: str
    key: str
    old: Value
    new: Value

    @property
    def inverse(self) -> Set:
        """Sets the old value again."""
        return Set(path=self.path, key=self.key, old=self.new, new=self.old)


Edit = (
    AddNeurons
    | RemoveNeurons
    | Promote
    | Collapse
    | DropShortcut
    | RestoreShortcut
    | InsertLayer
    | RemoveLayer
    | SwapLayer
    | Rename
    | Set
)
_ADAPTER: TypeAdapter[Edit] = TypeAdapter(
    Annotated[Edit, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)


def edit_to_dict(edit: Edit) -> dict[str, Any]:
    """An edit as plain JSON data; defaults are left out, `kind` comes first."""
    data = {"kind": edit.kind, **edit.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})}
    for key in {"layer", "old", "new"} & data.keys():  # `op` has a default, but tells the layers apart
        layer = getattr(edit, key)
        if hasattr(layer, "op"):
            data[key] = {"op": layer.op, **data[key]}
    return data


def edit_from_dict(data: dict[str, Any]) -> Edit:
    """The inverse of `edit_to_dict`; raises pydantic.ValidationError."""
    return _ADAPTER.validate_python(data)


def invert(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits that undo `edits`, in the order in which to apply them."""
    return tuple(edit.inverse for edit in reversed(list(edits)))
