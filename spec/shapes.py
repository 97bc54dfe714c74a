"""Shapes and sites along the chain, and every problem that one part poses to another.

Legend: C channels, H height, W width of a map, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nhnas.spec.model import Architecture, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Layer, MaxPool

INPUT = "input"
"""Key of the site that the data fills; it never grows."""

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """What flows between two layers.

    `neurons` of `site`, each of them `columns` neighbouring features ([F], `map` None) or one
    channel of a `map` (H, W).
    """

    site: str
    neurons: int
    columns: int = 1
    map: tuple[int, int] | None = None

    @property
    def features(self) -> int:
        """Length of the first axis of one sample: C, or F."""
        return self.neurons * self.columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: [C, H, W] or [F]."""
        return (self.features,) if self.map is None else (self.features, *self.map)


@dataclass(frozen=True, slots=True)
class Flow:
    """One layer with what it reads and what it writes."""

    index: int
    layer: Layer
    reads: Port
    writes: Port


@dataclass(frozen=True, slots=True)
class Problem:
    """Something an architecture must not be; `loc` leads to it from the root of the file."""

    loc: Loc
    message: str


def is_identity(layer: Layer) -> bool:
    """True for a chain layer that adds its residual to the stream that it reads."""
    return isinstance(layer, Conv | Dense) and layer.shortcut == "identity"


def site_of(layer: Conv | Dense) -> str:
    """Key of the chain site that a layer with a width of its own begins."""
    return f"{layer.name}.width"


def input_port(arch: Architecture) -> Port:
    """What the first layer reads: [C, H, W] or [F]."""
    size = arch.input
    return Port(INPUT, size[0], map=(size[1], size[2]) if len(size) == 3 else None)


def trace(arch: Architecture) -> tuple[tuple[Flow, ...], tuple[Problem, ...]]:
    """Follow a sample through the chain; an impossible layer is reported, and guessed."""
    if len(arch.input) not in (1, 3):
        return (), (Problem(("input",), "expected [features] or [channels, height, width]"),)
    port = input_port(arch)
    flows: list[Flow] = []
    problems: list[Problem] = []
    for index, layer in enumerate(arch.net):
        found = [Problem(("net", index, *p.loc), p.message) for p in _misfits(layer, port)]
        writes = _guess(layer, port) if found else _output(layer, port)
        problems += found
        flows.append(Flow(index, layer, port, writes))
        port = writes
    return tuple(flows), tuple(problems)


def _guess(layer: Layer, port: Port) -> Port:
    """What a misfit would write, so that one mistake is reported once, and that neurons keep their sites
    in the midst of an edit."""
    if isinstance(layer, Conv | Dense) and layer.width is not None:
        size = (port.map or (1, 1)) if isinstance(layer, Conv) else None
        return Port(site_of(layer), layer.width, map=size)
    if isinstance(layer, Flatten | GlobalAvgPool):
        return replace(port, map=None)
    return port


def _output(layer: Layer, port: Port) -> Port:
    """What a fitting layer writes."""
    match layer:
        case Conv() | Dense():
            size = _strided(port.map, layer.stride) if isinstance(layer, Conv) else None
            if layer.width is None:
                return replace(port, map=size)
            return Port(site_of(layer), layer.width, map=size)
        case MaxPool() | AvgPool() if port.map is not None:
            height, width = ((n - layer.kernel) // layer.step + 1 for n in port.map)
            return replace(port, map=(height, width))
        case GlobalAvgPool():
            return replace(port, map=None)
        case Flatten() if port.map is not None:
            return replace(port, columns=port.map[0] * port.map[1], map=None)
        case _:
            return port


def _strided(size: tuple[int, int] | None, stride: int) -> tuple[int, int] | None:
    """Size of the map after a convolution with padding (kernel-1)/2."""
    return None if size is None else ((size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1)


def _misfits(layer: Layer, port: Port) -> Iterator[Problem]:
    """Why `layer` cannot read `port`, located within the layer."""
    if isinstance(layer, Dense) and port.map is not None:
        yield Problem(("op",), f"dense reads features, not a map {list(port.shape)}; flatten or pool first")
    elif not isinstance(layer, Dense) and port.map is None and _needs_map(layer):
        yield Problem(("op",), f"{layer.op} reads a map [C, H, W], not {port.features} features")
    elif isinstance(layer, MaxPool | AvgPool) and port.map is not None and layer.kernel > min(port.map):
        yield Problem(("kernel",), f"a window of {layer.kernel} does not fit into a map of {list(port.map)}")
    if isinstance(layer, Conv | Dense):
        yield from _width_problems(layer, port)


def _needs_map(layer: Layer) -> bool:
    return isinstance(layer, Conv | MaxPool | AvgPool | GlobalAvgPool | Flatten)


def _width_problems(layer: Conv | Dense, port: Port) -> Iterator[Problem]:
    if not is_identity(layer):
        if layer.width is None:
            yield Problem((), "width is missing (only shortcut: identity takes it from the stream)")
        return
    if layer.width is not None:
        yield Problem(("width",), "an identity layer has the width of the stream that it reads; remove this")
    if layer.fixed:
        yield Problem(("fixed",), "an identity layer owns no width; fix the layer that began the stream")
    if isinstance(layer, Conv) and layer.stride != 1:
        yield Problem(("stride",), "shortcut: identity needs stride 1")
    if port.columns > 1:
        yield Problem(("shortcut",), "an identity cannot continue a flattened map; put a dense layer before")
