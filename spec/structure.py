"""The architecture with everything derived: nodes, leaves and sites (DESIGN §2, §3).

`kernel` and `norm` are resolved, ports and shapes filled in. Compiler, measures, edits and search
all read this view, so that nothing is derived twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nhnas.spec.by_identity import remembered
from nhnas.spec.model import Architecture, Conv, Dense, Layer, Node, Norm, Residual, ShortcutLeaf
from nhnas.spec.shapes import Flow, Port, is_identity, site_of, trace

_LIKE_THE_NODE = ShortcutLeaf.model_construct()
"""A shortcut leaf without settings of its own."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One convolution or matrix with its normalisation; owns `<path>.weight` and `<path>.norm.*`."""

    path: str
    op: str
    kernel: int
    stride: int
    norm: Norm
    identity_init: bool
    reads: Port
    writes: Port

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """[O, I] of a matrix, [O, I, k, k] of a convolution."""
        plane = (self.writes.neurons, self.reads.features)
        return (*plane, self.kernel, self.kernel) if self.op == "conv" else plane

    @property
    def fan_in(self) -> int:
        """Inputs of one neuron, the kernel included."""
        return self.reads.features * self.kernel**2


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node with its leaf (None without or with an identity shortcut) and its open residual.

    `first` and `second` are present where `residual` is, also at `hidden: 0`; their leaves exist
    only while it holds neurons (`live`).
    """

    path: str
    node: Node
    kernel: int
    norm: Norm
    reads: Port
    writes: Port
    identity: bool
    bias: bool
    live: bool
    leaf: Leaf | None
    residual: Residual | None
    first: NodeView | None
    second: NodeView | None

    @property
    def hidden_site(self) -> str:
        """Key of the site between `first` and `second`."""
        return f"{self.path}.hidden"

    @property
    def hidden(self) -> int:
        """Neurons of the residual; 0 without one."""
        return 0 if self.residual is None else self.residual.hidden

    def walk(self) -> Iterator[NodeView]:
        """This node and all below, parents first, `first` before `second`."""
        yield self
        for child in (self.first, self.second):
            if child is not None:
                yield from child.walk()

    def leaves(self) -> Iterator[Leaf]:
        """All leaves that own tensors, in the order of `walk`."""
        return (view.leaf for view in self.walk() if view.live and view.leaf is not None)

    def writers(self) -> Iterator[Leaf]:
        """The leaves that write this node's own output, its shortcut first."""
        if self.live and self.leaf is not None:
            yield self.leaf
        if self.second is not None:
            yield from self.second.writers()


@dataclass(frozen=True, slots=True)
class Site:
    """A place where neurons live.

    `open`: growth may add here and choice may remove; `keep_one`: never to be emptied. `columns`:
    features that one neuron becomes on its way to the readers is in their ports.
    """

    key: str
    neurons: int
    path: str
    chain: bool
    fixed: bool
    open: bool
    keep_one: bool


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer of the chain; `node` is None for layers without weights."""

    index: int
    layer: Layer
    reads: Port
    writes: Port
    node: NodeView | None


@remembered
def structure(arch: Architecture) -> tuple[LayerView, ...]:
    """Resolve a (verified) architecture layer by layer."""
    return tuple(_layer_view(flow) for flow in trace(arch)[0])


def nodes(arch: Architecture) -> Iterator[NodeView]:
    """All nodes, in file order."""
    for view in structure(arch):
        if view.node is not None:
            yield from view.node.walk()


def leaves(arch: Architecture) -> Iterator[Leaf]:
    """All leaves that own tensors, in file order."""
    for view in structure(arch):
        if view.node is not None:
            yield from view.node.leaves()


def live_nodes(arch: Architecture) -> Iterator[NodeView]:
    """The nodes outside of empty residuals."""
    return (node for node in nodes(arch) if node.live)


def biases(arch: Architecture) -> Iterator[NodeView]:
    """The nodes that own a bias."""
    return (node for node in live_nodes(arch) if node.bias)


@remembered
def sites(arch: Architecture) -> dict[str, Site]:
    """All sites by key, in file order; the data's own site is not among them."""
    views = structure(arch)
    output = views[-1].writes.site
    neurons_alone = all(view.node is None or view.node.identity for view in views)
    found: dict[str, Site] = {}
    for view in views:
        layer = view.layer
        if view.node is None or not isinstance(layer, Conv | Dense):
            continue
        if not is_identity(layer):
            is_open = not layer.fixed and site_of(layer) != output
            neurons = view.writes.neurons
            found[site_of(layer)] = Site(
                site_of(layer), neurons, layer.name, True, layer.fixed, is_open, True
            )
        for node in view.node.walk():
            if node.residual is not None:
                found[node.hidden_site] = _hidden_site(
                    node, node.residual, neurons_alone and node is view.node
                )
    return found


def _hidden_site(node: NodeView, residual: Residual, neurons_alone: bool) -> Site:
    """`neurons_alone`: no layer has a matrix or a convolution of its own; neurons are all there is."""
    inside = (n for child in (node.first, node.second) if child is not None for n in child.walk())
    keep_one = neurons_alone or node.node.shortcut is False or any(_holds_on(n) for n in inside)
    is_open = node.live and not residual.fixed
    return Site(node.hidden_site, residual.hidden, node.path, False, residual.fixed, is_open, keep_one)


def _holds_on(node: NodeView) -> bool:
    """Whether the node's neurons cannot go, and so neither can all those of a residual around it."""
    is_fixed = node.residual is not None and node.residual.fixed
    return node.node.shortcut is False or (is_fixed and node.hidden > 0)


def _layer_view(flow: Flow) -> LayerView:
    layer = flow.layer
    if not isinstance(layer, Conv | Dense):
        return LayerView(flow.index, layer, flow.reads, flow.writes, None)
    conv = isinstance(layer, Conv)
    inherited: tuple[int, Norm] = (3, "batch") if conv else (1, "none")
    stride = layer.stride if isinstance(layer, Conv) else 1
    frame = _Frame(layer.op, stride, flow.reads, flow.writes, *inherited)
    return LayerView(flow.index, layer, flow.reads, flow.writes, _view(layer.name, layer, frame, True, True))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a node takes from above."""

    op: str
    stride: int
    reads: Port
    writes: Port
    kernel: int
    norm: Norm


def _view(path: str, node: Node, frame: _Frame, fills_site: bool, live: bool) -> NodeView:
    """Resolve one node; `fills_site`: the site it writes is its own, so a bias would be here."""
    kernel, norm = node.kernel or frame.kernel, node.norm or frame.norm
    reads, writes = frame.reads, frame.writes
    identity = node.shortcut == "identity"
    residual, first, second = node.residual, None, None
    if residual is not None:
        middle = Port(f"{path}.hidden", residual.hidden, map=writes.map)
        below = live and residual.hidden > 0
        before = _Frame(frame.op, frame.stride, reads, middle, kernel, norm)
        after = _Frame(frame.op, 1, middle, writes, kernel, norm)
        first = _view(f"{path}.first", residual.first, before, True, below)
        second = _view(f"{path}.second", residual.second, after, False, below)
    return NodeView(
        path=path,
        node=node,
        kernel=kernel,
        norm=norm,
        reads=reads,
        writes=writes,
        identity=identity,
        bias=fills_site and norm == "none" and not identity,
        live=live,
        leaf=_leaf(path, node, _Frame(frame.op, frame.stride, reads, writes, kernel, norm)),
        residual=residual,
        first=first,
        second=second,
    )


def _leaf(path: str, node: Node, frame: _Frame) -> Leaf | None:
    if node.shortcut is False or node.shortcut == "identity":
        return None
    own = node.shortcut if isinstance(node.shortcut, ShortcutLeaf) else _LIKE_THE_NODE
    return Leaf(
        path=path,
        op=frame.op,
        kernel=own.kernel or frame.kernel,
        stride=frame.stride,
        norm=own.norm or frame.norm,
        identity_init=own.init == "identity",
        reads=frame.reads,
        writes=frame.writes,
    )
