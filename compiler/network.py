"""The torch module of an architecture, built node by node.

Legend: B batch, C channels, F features; x is [B, C, H, W] or [B, F].

Torch refuses module names such as `train` and dots in any, so modules are not named after layers;
`Network.tensors` gives every tensor its canonical name (DESIGN §3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.compiler.fused_leaves import FusedLeaves
from nhnas.compiler.leaf import Leaf, Place
from nhnas.compiler.plain_attributes import set_children, set_parameter, set_plain
from nhnas.compiler.streams import Readings, readings
from nhnas.spec.model import (
    Act,
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
)
from nhnas.spec.structure import LayerView, NodeView, structure

Observer = Callable[[str, Tensor, bool, str], None]
"""(site, values after the activation, activation is ReLU, reader), called in training mode.

`reader` tells those apart that read one site before its stream ends: the path of the node, else empty.
"""
Comparer = Callable[[str, Tensor, Tensor], None]
"""(path of a node with hidden neurons, output of its shortcut leaf, its own), called in training mode."""

ACTIVATIONS: dict[Act, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


@dataclass
class Probe:
    """Who looks at the neurons of which sites, and at shortcuts; shared by all modules of a network.

    `fused`: in training, leaves that read the same input run as one.
    """

    observer: Observer | None = None
    sites: frozenset[str] = field(default_factory=frozenset)
    comparer: Comparer | None = None
    fused: bool = False

    def see(self, site: str, values: Tensor, act: Act | None, reader: str = "") -> None:
        """Show one site's values to the observer, if it wants them."""
        if self.observer is not None and site in self.sites:
            self.observer(site, values, act == "relu", reader)

    def read(self, site: str, values: Tensor, act: Act | None, reader: str) -> Tensor:
        """The values as one of several readers of a site gets them, so that its own gradient can be seen."""
        alias = values.view_as(values)
        self.see(site, alias, act, reader)
        return alias


class Node(nn.Module):
    """`shortcut(x) + second(act(first(x)))` (paper, section 2.1), or its leaf alone."""

    path: str
    probe: Probe
    identity: bool
    leaf: Leaf | None
    bias: nn.Parameter | None
    first: Node | None
    second: Node | None
    site: str
    act: Act
    dropout: float
    maps: bool
    stream: tuple[str, Act | None] | None

    def __init__(self, view: NodeView, probe: Probe, stream: tuple[str, Act | None] | None = None) -> None:
        """`stream`: the site that an identity layer's residual reads, and the activation before."""
        super().__init__()
        set_plain(self, path=view.path, probe=probe, identity=view.identity, stream=stream)
        set_parameter(self, "bias", nn.Parameter(torch.empty(view.writes.neurons)) if view.bias else None)
        first = second = None
        residual = view.residual
        if residual is not None and view.hidden > 0 and view.first is not None and view.second is not None:
            set_plain(self, site=view.hidden_site, act=residual.act, dropout=residual.dropout)
            set_plain(self, maps=view.writes.map is not None)
            first, second = Node(view.first, probe), Node(view.second, probe)
        leaf = None if view.leaf is None else Leaf(view.leaf)
        set_children(self, leaf=leaf, first=first, second=second)

    @cached_property
    def together(self) -> FusedLeaves:
        """What runs as one in training; put together when it is first needed."""
        return FusedLeaves(self._readers())

    def _readers(self) -> Iterator[Any]:
        """The nodes from here on, this one included, whose leaves read what this node reads."""
        if self.leaf is not None:
            yield self
        if self.first is not None:
            yield from self.first._readers()

    @property
    def leaf_bias(self) -> Tensor | None:
        """The bias where the leaf adds it itself: it has no norm."""
        return self.bias if self.leaf is not None and self.leaf.norm is None else None

    def forward(self, x: Tensor, ready: Mapping[Leaf, Tensor] | None = None) -> Tensor:
        """[B, I, …] → [B, O, …]; `ready`: outputs of the leaves that read x, where they are known already."""
        read = x
        if self.stream is not None and self.training:  # always, so that gradients add up in one order
            read = self.probe.read(self.stream[0], x, self.stream[1], self.path)
        if ready is None and self.training and self.probe.fused:
            ready = self.together(read)
        y = self._shortcut(x, ready)
        if self.first is not None:
            y = self._sum(y, self._residual(read, ready))
        if y is None:
            raise RuntimeError(f"{self.path} has neither a shortcut nor neurons")
        if self.bias is not None and self.leaf_bias is None:
            y = y + (self.bias.view(-1, 1, 1) if y.dim() == 4 else self.bias)
        return y

    def _shortcut(self, x: Tensor, ready: Mapping[Leaf, Tensor] | None) -> Tensor | None:
        if self.leaf is None:
            return x if self.identity else None
        return self.leaf(x, self.leaf_bias) if ready is None else ready[self.leaf]

    def _sum(self, shortcut: Tensor | None, branch: Tensor) -> Tensor:
        if shortcut is None:
            return branch
        y = shortcut + branch
        if self.training and self.probe.comparer is not None and self.leaf is not None:
            self.probe.comparer(self.path, shortcut, y)
        return y

    def _residual(self, x: Tensor, ready: Mapping[Leaf, Tensor] | None) -> Tensor:
        hidden = ACTIVATIONS[self.act](self.first(x, ready))  # type: ignore[misc]
        if self.training:
            self.probe.see(self.site, hidden, self.act)
        if self.dropout and self.training:
            drop = F.dropout2d if self.maps else F.dropout
            hidden = drop(hidden, self.dropout, True)
        return self.second(hidden)  # type: ignore[misc, no-any-return]

    def places(self) -> Iterator[Place]:
        """Where the tensors of this node and all below are, by canonical name."""
        if self.leaf is not None:
            yield from self.leaf.places()
        if self.bias is not None:
            yield f"{self.path}.bias", self, "_parameters", "bias"
        for child in (self.first, self.second):
            if child is not None:
                yield from child.places()


class ChainNode(nn.Module):
    """A node of the chain with the activation of its layer."""

    site: str
    act: Act | None
    probe: Probe
    node: Node
    readings: Readings

    def __init__(self, view: LayerView, node: NodeView, probe: Probe, readings: Readings) -> None:
        super().__init__()
        stream = (view.reads.site, readings.residual_act) if readings.residual else None
        set_children(self, node=Node(node, probe, stream))
        act = view.layer.act if isinstance(view.layer, Conv | Dense) else None
        set_plain(self, site=view.writes.site, act=act, probe=probe, readings=readings)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, …] → [B, O, …]."""
        y = self.node(x)
        if self.act is not None:
            y = ACTIVATIONS[self.act](y)
        if self.training and self.readings.end:
            self.probe.see(self.site, y, self.readings.end_act)
        return y  # type: ignore[no-any-return]


class Function(nn.Module):
    """A layer without weights that is the same in training and evaluation."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function."""
        return self.function(x)


def _mean_of_map(x: Tensor) -> Tensor:
    """[B, C, H, W] → [B, C]; with a name of its own, so that a network can be pickled."""
    return x.mean((2, 3))


def weightless(layer: Layer, maps: bool) -> nn.Module:
    """The module of a layer without weights, which reads maps or features; TypeError for any other."""
    match layer:
        case Activation():
            return Function(ACTIVATIONS[layer.act])
        case MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.step)
        case AvgPool():
            return nn.AvgPool2d(layer.kernel, layer.step)
        case GlobalAvgPool():
            return Function(_mean_of_map)
        case Flatten():
            return nn.Flatten(1)
        case Dropout():
            return nn.Dropout2d(layer.p) if maps else nn.Dropout(layer.p)
        case _:
            raise TypeError(f"no module for {layer.op}")


class Network(nn.Module):
    """The chain; [B, *input] → [B, outputs]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.probe = Probe()
        views = structure(arch)
        found = readings(views)
        self.layers = nn.ModuleList(self._layer(view, found.get(view.index)) for view in views)

    def _layer(self, view: LayerView, found: Readings | None) -> nn.Module:
        if view.node is None or found is None:
            return weightless(view.layer, view.reads.map is not None)
        return ChainNode(view, view.node, self.probe, found)

    def forward(self, x: Tensor) -> Tensor:
        """[B, *input] → [B, outputs]."""
        for layer in self.layers:
            x = layer(x)
        return x

    @cached_property
    def _places(self) -> list[Place]:
        """Where every tensor is; a walk over all modules takes as long as moving what is in them."""
        tops = (layer.node for layer in self.layers if isinstance(layer, ChainNode))
        return [place for top in tops for place in top.places()]

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and running statistics by canonical name, in file order."""
        return {name: module.__dict__[kind][key] for name, module, kind, key in self._places}

    def fuse(self, fused: bool) -> Network:
        """Say whether, in training, leaves that read the same input run as one; returns itself."""
        self.probe.fused = fused
        if fused:  # now, since torch.compile does not follow into a cached property that is still to be made
            _ = [module.together for module in self.modules() if isinstance(module, Node)]
        return self

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters by canonical name."""
        return {name: t for name, t in self.tensors().items() if isinstance(t, nn.Parameter)}
