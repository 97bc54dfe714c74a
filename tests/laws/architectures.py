"""Sound random architectures: small maps, few neurons, every form that the design knows.

A seeded generator instead of hypothesis' own strategies: one case takes about a millisecond, so that
the laws see thousands of them. Widths are written last, so every choice is valid by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from nhnas.spec.model import Act, Architecture, Conv, Dense, Layer, Node, Residual, ShortcutLeaf
from nhnas.spec.verify import verify

ACTS: tuple[Act, ...] = ("relu", "gelu", "silu", "tanh")
WIDTHS = (1, 2, 2, 3, 3, 4, 5, 6)
LAYER_NAMES = ("train", "type", "weight", "forward", "a:b", "müll", "first", "residual", "hidden", "input")
"""Awkward on purpose: attributes of torch modules, words of paths, a colon, an umlaut."""


@dataclass
class Place:
    """Where the chain has arrived: `size` of the map (None for features) and neurons of the stream."""

    channels: int
    size: int | None
    flat: bool = False


def random_architecture(rng: Random, form: tuple[tuple[int, ...], int] | None = None) -> Architecture:
    """A sound architecture; `form` fixes its input and the width of its output."""
    shape = form[0] if form else random_input(rng)
    names = iter(rng.sample(LAYER_NAMES, 4) + [f"n{i}" for i in range(30)])
    place = Place(shape[0], shape[1] if len(shape) == 3 else None)
    layers: list[Any] = []
    if place.size is not None:
        _maps(rng, layers, place, names)
    if place.size is None:
        _features(rng, layers, place, names)
    head = {"width": form[1]} if form else {}
    if form or rng.random() < 0.85 or not any(isinstance(x, Conv | Dense) for x in layers):
        kind: Any = Dense if place.size is None else Conv
        layers.append(_own_layer(rng, kind, place, next(names), head))
    return verify(Architecture(input=shape, net=tuple(layers)))


def random_input(rng: Random) -> tuple[int, ...]:
    """[C, H, W] with maps of 3 to 8 pixels, or [F]."""
    if rng.random() < 0.3:
        return (rng.randint(1, 4),)
    size = rng.randint(3, 8)
    return (rng.randint(1, 3), size, size)


def _maps(rng: Random, layers: list[Any], place: Place, names: Any) -> None:
    """Convolutions, and what may stand between and behind them."""
    for _ in range(rng.choice((1, 2, 2, 3))):
        layers.append(_own_layer(rng, Conv, place, next(names)))
        while rng.random() < 0.3:
            layers.append(random_identity(rng, Conv, next(names)))
        if rng.random() < 0.35:
            layers.append(weightless(rng, place, next(names)))
    if rng.random() < 0.9:
        flatten = rng.random() < 0.5 and place.size is not None and place.size <= 4
        op = "flatten" if flatten else "global_avg_pool"
        layers.append(layer_of({"op": op, "name": next(names)}))
        place.size, place.flat = None, flatten


def _features(rng: Random, layers: list[Any], place: Place, names: Any) -> None:
    """Matrices, and what may stand between them."""
    for _ in range(rng.choice((0, 1, 1)) if layers else rng.choice((1, 2, 3))):
        layers.append(_own_layer(rng, Dense, place, next(names)))
        while rng.random() < 0.4:
            layers.append(random_identity(rng, Dense, next(names)))
        if rng.random() < 0.3:
            layers.append(weightless(rng, place, next(names)))


def layer_of(data: dict[str, Any]) -> Layer:
    """One layer from plain data."""
    return Architecture.model_validate({"input": [1], "net": [data]}).net[0]


def weightless(rng: Random, place: Place, name: str) -> Layer:
    """Pooling, an activation or dropout; pooling shrinks the place's map."""
    if place.size is not None and place.size >= 2 and rng.random() < 0.5:
        kernel, stride = rng.choice(((2, None), (2, 1), (2, 2)))
        step = kernel if stride is None else stride
        place.size = (place.size - kernel) // step + 1
        op = rng.choice(("max_pool", "avg_pool"))
        return layer_of({"op": op, "name": name, "kernel": kernel, "stride": stride})
    if rng.random() < 0.2:
        return layer_of({"op": "dropout", "name": name, "p": rng.choice((0.0, 0.5))})
    return layer_of({"op": "activation", "name": name, "act": rng.choice(ACTS)})


def random_identity(rng: Random, kind: type[Conv] | type[Dense], name: str) -> Layer:
    """A layer that adds its residual, often an empty one, to the stream."""
    fields = _node_fields(rng, kind is Conv, depth=0, empty=rng.random() < 0.3)
    return kind(name=name, **(fields | {"shortcut": "identity"}), act=_maybe(rng, 0.15, rng.choice(ACTS)))


def _own_layer(
    rng: Random, kind: type[Conv] | type[Dense], place: Place, name: str, fixed: dict[str, Any] | None = None
) -> Layer:
    """A layer with a width of its own; moves the place along."""
    width = (fixed or {}).get("width", rng.choice(WIDTHS))
    fields = _node_fields(rng, kind is Conv, depth=0, empty=rng.random() < 0.1)
    stride = 2 if kind is Conv and rng.random() < 0.25 else 1
    if (
        isinstance(fields.get("shortcut"), ShortcutLeaf)
        and stride == 1
        and not place.flat
        and rng.random() < 0.5
    ):
        width = (fixed or {}).get("width", place.channels)
        born = "identity" if width == place.channels else None
        fields["shortcut"] = fields["shortcut"].model_copy(update={"init": born})
    extra: dict[str, Any] = {"stride": stride} if kind is Conv else {}
    if place.size is not None:
        place.size = (place.size - 1) // stride + 1
    place.channels, place.flat = width, False
    act = _maybe(rng, 0.3, rng.choice(ACTS))
    return kind(name=name, width=width, act=act, fixed=rng.random() < 0.1, **fields, **extra)


def random_node(rng: Random, conv: bool, depth: int, empty: bool) -> Node:
    """`first` or `second`, `depth` residuals below the chain; `empty`: without any neuron."""
    return Node(**_node_fields(rng, conv, depth, empty))


def _node_fields(rng: Random, conv: bool, depth: int, empty: bool) -> dict[str, Any]:
    residual = None
    if rng.random() < (0.75, 0.4, 0.35, 0.1, 0.0)[depth]:
        residual = random_residual(rng, conv, depth, empty or rng.random() < 0.15)
    fields: dict[str, Any] = {"residual": residual, "norm": _maybe(rng, 0.25, rng.choice(("batch", "none")))}
    if conv:
        fields["kernel"] = _maybe(rng, 0.2, rng.choice((1, 3, 5)))
    if residual is not None and residual.hidden > 0 and rng.random() < 0.15:
        fields["shortcut"] = False
    elif rng.random() < 0.2:
        kernel = _maybe(rng, 0.7, rng.choice((1, 3))) if conv else None
        fields["shortcut"] = ShortcutLeaf(kernel=kernel, norm=_maybe(rng, 0.4, rng.choice(("batch", "none"))))
    return fields


def random_residual(rng: Random, conv: bool, depth: int, empty: bool) -> Residual:
    """The residual of a node that lies `depth` residuals below the chain."""
    return Residual(
        hidden=0 if empty else rng.choice((1, 1, 2, 3, 4)),
        act=rng.choice(ACTS),
        dropout=0.5 if rng.random() < 0.05 else 0.0,
        fixed=rng.random() < 0.1,
        first=random_node(rng, conv, depth + 1, empty),
        second=random_node(rng, conv, depth + 1, empty),
    )


def _maybe(rng: Random, share: float, value: Any) -> Any:
    return value if rng.random() < share else None
