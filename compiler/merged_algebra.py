"""Linear values that need not be computed: one matrix for two in a row, means instead of a map.

Legend: O outputs, I inputs, k kernel, T outputs of what reads a value, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from nhnas.compiler.merged_cost import CALL, MEAN, padded
from nhnas.compiler.merged_graph import Applied, Graph, Means, Sum, Term, Value, added, sources
from nhnas.spec.model import GlobalAvgPool


def simplified(graph: Graph) -> Graph:
    """The same function with fewer values."""
    return composed(with_means(graph))


def with_means(graph: Graph) -> Graph:
    """Where a sum is only averaged over its map, the average of each term instead.

    The mean of a convolution's output is its weight times the means of what each cell of the kernel meets,
    padding included: exact for every stride and kernel. Done where it costs less.
    """
    values: dict[str, Value] = {}
    for key, value in graph.values.items():
        if isinstance(value, Applied) and isinstance(value.layer, GlobalAvgPool):
            total = graph.values[value.source]
            alone = graph.readers(value.source) == [key]
            if isinstance(total, Sum) and alone and total.act is None and _means_are_cheaper(graph, total):
                values |= _averaged(graph, key, total)
                continue
        values[key] = value
    return _live(values, graph.output)


def _means_are_cheaper(graph: Graph, total: Sum) -> bool:
    weighted = [term for term in total.terms if term.weight is not None]
    sizes = [(prod(graph.values[term.source].shape), term.kernel**2) for term in weighted]
    pixels = [prod(graph.values[term.source].shape[1:]) for term in weighted]
    outputs = prod(total.shape[1:]) * padded(total.shape[0])
    convolutions = sum(size / n * cells * outputs for (size, cells), n in zip(sizes, pixels, strict=True))
    return bool(weighted) and MEAN * sum(size * cells for size, cells in sizes) < convolutions


def _averaged(graph: Graph, key: str, total: Sum) -> Iterator[tuple[str, Value]]:
    """The values that stand for the mean of a sum, that mean last."""
    terms: dict[str, Term] = {}
    for term in total.terms:
        inputs = graph.values[term.source].shape[0]
        if term.weight is None:
            name = f"{key}<{term.source}"
            yield name, Applied((inputs,), term.source, GlobalAvgPool(name="mean"))
            terms[name] = Term(name, None)
        else:
            name = f"{key}<{term.source}:{term.kernel}:{term.stride}"
            yield name, Means((inputs * term.kernel**2,), term.source, term.kernel, term.stride)
            terms[name] = Term(name, added(term.weight.flatten(1), terms[name].weight if name in terms else None))
    yield key, Sum(total.shape[:1], tuple(terms.values()), total.bias, None)


def composed(graph: Graph) -> Graph:
    """Without the linear sums that are read by matrices or 1×1 convolutions alone, where that costs less.

    A wider kernel pads with zeros what such a sum has no zeros for, so it would not be exact.
    """
    values = dict(graph.values)
    for key in graph.values:
        inner = values[key]
        readers = Graph(values, graph.output).readers(key)
        outer = [values[reader] for reader in readers]
        if not isinstance(inner, Sum) or inner.act is not None or key == graph.output:
            continue
        if not all(_reads_pointwise(reader, key) for reader in outer):
            continue
        after = {reader: _substituted(values[reader], key, inner) for reader in readers}
        before = _cost(values, [inner, *outer]) + CALL
        if _cost(values, after.values()) <= before:
            values |= after
            del values[key]
    return Graph(values, graph.output)


def _reads_pointwise(reader: Value, key: str) -> bool:
    return isinstance(reader, Sum) and all(term.kernel == 1 for term in reader.terms if term.source == key)


def _substituted(reader: Value, key: str, inner: Sum) -> Sum:
    """`reader` with the terms of `inner` in place of `key`."""
    if not isinstance(reader, Sum):
        raise TypeError("only a sum reads a term")
    terms: list[Term] = []
    bias = reader.bias
    for term in reader.terms:
        if term.source == key:
            terms += [_product(term, before) for before in inner.terms]
            bias = added(bias, None if inner.bias is None else _transformed(term.weight, inner.bias))
        else:
            terms.append(term)
    return replace(reader, terms=_united(terms), bias=bias)


def _transformed(weight: Tensor | None, bias: Tensor) -> Tensor:
    return bias if weight is None else weight.flatten(1) @ bias


def _product(outer: Term, inner: Term) -> Term:
    """`outer` (1×1, a matrix or the identity) after `inner`."""
    stride = outer.stride * inner.stride
    if outer.weight is None:
        return inner
    if inner.weight is None:
        return Term(inner.source, outer.weight, stride)
    weight = (outer.weight.flatten(1) @ inner.weight.flatten(1)).view(-1, *inner.weight.shape[1:])
    return Term(inner.source, weight, stride)


def _united(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms that differ in their weights alone are one; an identity joins a matrix that reads the same."""
    found: dict[tuple[object, ...], Term] = {}
    for term in sorted(terms, key=lambda term: term.weight is None):
        shape = None if term.weight is None else tuple(term.weight.shape)
        key = (term.source, term.stride, shape)
        match = key if key in found else _square_matrix(term, found)
        known = found.get(match)
        if known is None or known.weight is None:
            # Twice the same identity is no case: each of a chain's sums has at most one.
            found[(*key, len(found)) if key in found else key] = term
            continue
        other = torch.eye(len(known.weight)).to(known.weight) if term.weight is None else term.weight
        found[match] = replace(known, weight=known.weight + other)
    return tuple(found.values())


def _square_matrix(term: Term, found: dict[tuple[object, ...], Term]) -> tuple[object, ...]:
    """Where a matrix is that an identity can be added to."""
    if term.weight is None:
        for key, other in found.items():
            if other.source == term.source and other.weight is not None and other.weight.dim() == 2:
                return key
    return ()


def _cost(values: dict[str, Value], sums: Iterable[Value]) -> int:
    """Multiply-accumulates of the terms for one sample."""
    terms = ((total, term) for total in sums if isinstance(total, Sum) for term in total.terms)
    return sum(term.weight.numel() * prod(total.shape[1:]) for total, term in terms if term.weight is not None)


def _live(values: dict[str, Value], output: str) -> Graph:
    """Without what nothing reads any more."""
    needed, waiting = {output}, [output]
    while waiting:
        new = set(sources(values[waiting.pop()])) - needed
        needed |= new
        waiting += new
    return Graph({key: value for key, value in values.items() if key in needed}, output)
