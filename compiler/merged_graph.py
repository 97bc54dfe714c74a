"""What a network computes in evaluation, as sums of linear terms: norms folded, nodes flattened.

A node is `shortcut(x) + second(act(first(x)))`, its leaves are linear in evaluation, and so every site is an
activation of a sum of leaves that read other sites. The tree is gone; a site reads and is read.

Legend: O outputs, I inputs, k kernel, C channels, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nhnas.spec.model import Act, Architecture, Conv, Dense, Dropout, Layer
from nhnas.spec.shapes import INPUT, input_port
from nhnas.spec.structure import LayerView, Leaf, NodeView, structure

EPS = 1e-5
"""What torch's norms add to the variance."""


@dataclass(frozen=True, eq=False)
class Term:
    """A linear function of `source`: a convolution [O, I, k, k], a matrix [O, I], or itself (None)."""

    source: str
    weight: Tensor | None
    stride: int = 1

    @property
    def kernel(self) -> int:
        """1 of a matrix."""
        return self.weight.shape[2] if self.weight is not None and self.weight.dim() == 4 else 1


@dataclass(frozen=True, eq=False)
class Input:
    """What the network is given; `shape` of one sample, as everywhere here."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sum:
    """`act(bias + Σ terms)`; bias [O]."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    bias: Tensor | None
    act: Act | None


@dataclass(frozen=True, eq=False)
class Applied:
    """A layer without weights."""

    shape: tuple[int, ...]
    source: str
    layer: Layer


@dataclass(frozen=True, eq=False)
class Means:
    """[C, H, W] → [k·k·C]: for each weight of a convolution the mean of all pixels that it meets."""

    shape: tuple[int, ...]
    source: str
    kernel: int
    stride: int


Value = Input | Sum | Applied | Means


@dataclass(frozen=True, eq=False)
class Graph:
    """Values by key, each after those that it reads."""

    values: Mapping[str, Value]
    output: str


def sources(value: Value) -> list[str]:
    """What a value reads."""
    match value:
        case Input():
            return []
        case Sum():
            return [term.source for term in value.terms]
        case _:
            return [value.source]


def flat_graph(arch: Architecture, tensors: Mapping[str, Tensor]) -> Graph:
    """The graph of a sound architecture with its tensors; all weights float64, on the CPU."""
    values: dict[str, Value] = {INPUT: Input(input_port(arch).shape)}
    key = INPUT
    for view in structure(arch):
        found = dict(_layer(view, key, tensors))
        values |= found
        key = next(reversed(found), key)
    return Graph(values, key)


def _layer(view: LayerView, source: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Value]]:
    """The values that a layer adds, its output last; none where it hands on what it reads."""
    key, layer = str(view.index), view.layer
    if view.node is not None and isinstance(layer, Conv | Dense):
        if view.node.identity and not view.node.hidden and layer.act is None:
            return
        found = _Flattened(tensors, {})
        terms, bias = found.node(view.node, source)
        yield from found.hidden.items()
        yield key, Sum(view.writes.shape, terms, bias, layer.act)
    elif not isinstance(layer, Dropout):
        yield key, Applied(view.writes.shape, source, layer)


@dataclass(frozen=True)
class _Flattened:
    """A chain layer's hidden sites so far."""

    tensors: Mapping[str, Tensor]
    hidden: dict[str, Value]

    def node(self, node: NodeView, source: str) -> tuple[tuple[Term, ...], Tensor | None]:
        """The terms that write the node's output, and its bias."""
        name = f"{node.path}.bias"
        bias = _exact(self.tensors[name]) if name in self.tensors else None
        terms = (Term(source, None),) if node.identity else ()
        if node.leaf is not None:
            weight, offset = folded(node.leaf, self.tensors)
            terms, bias = (*terms, Term(source, weight, node.leaf.stride)), added(bias, offset)
        residual = node.residual
        if residual is None or not node.hidden or node.first is None or node.second is None:
            return terms, bias
        shape = (node.hidden, *node.writes.shape[1:])
        self.hidden[node.hidden_site] = Sum(shape, *self.node(node.first, source), residual.act)
        more, offset = self.node(node.second, node.hidden_site)
        return (*terms, *more), added(bias, offset)


def folded(leaf: Leaf, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a leaf with its norm in it, float64."""
    weight = _exact(tensors[f"{leaf.path}.weight"])
    if leaf.norm == "none":
        return weight, None
    entries = ("weight", "bias", "running_mean", "running_var")
    gain, offset, mean, variance = (_exact(tensors[f"{leaf.path}.norm.{e}"]) for e in entries)
    scale = gain / torch.sqrt(variance + EPS)
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), offset - mean * scale


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()


def added(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The sum, where None is nothing."""
    if first is None or second is None:
        return second if first is None else first
    return first + second
