"""Linear values that need not be computed: one matrix for two in a row, means instead of a map.

Legend: O outputs, I inputs, k kernel, H and W of a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod

from torch import Tensor

from nhnas.compiler.merged_cost import CALL, MEAN, WINDOWS, padded
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
        total = graph.values[value.source] if isinstance(value, Applied) else value
        averaged = isinstance(value, Applied) and isinstance(value.layer, GlobalAvgPool)
        if averaged and isinstance(total, Sum) and total.act is None and _means_are_cheaper(graph, total):
            values |= _averaged(graph, key, total)
        else:
            values[key] = value
    return _live(values, graph.output)


def _means_are_cheaper(graph: Graph, total: Sum) -> bool:
    means = convolutions = largest = 0
    for term in total.terms:
        if term.weight is not None:
            inputs, *size = graph.values[term.source].shape
            cells, pixels = term.kernel**2, prod(size)
            means += MEAN * cells * inputs * pixels
            convolutions += padded(total.shape[0]) * cells * inputs * prod(total.shape[1:])
            largest = max(largest, cells * pixels)
    return means < convolutions and largest <= WINDOWS


def _averaged(graph: Graph, key: str, total: Sum) -> Iterator[tuple[str, Value]]:
    """The values that stand for the mean of a sum, that mean last."""
    terms: list[Term] = []
    for term in total.terms:
        name, inputs = f"{key}<{term.source}", graph.values[term.source].shape[0]
        if term.weight is None:
            yield name, Applied((inputs,), term.source, GlobalAvgPool(name="mean"))
            terms.append(Term(name, None))
        else:
            yield name, Means((inputs * term.kernel**2,), term.source, term.kernel, term.stride)
            terms.append(Term(name, term.weight.permute(0, 2, 3, 1).flatten(1)))
    yield key, Sum(total.shape[:1], tuple(terms), total.bias, None)


def composed(graph: Graph) -> Graph:
    """Without the linear sums that are read by matrices or 1×1 convolutions alone, where that costs less.

    A wider kernel pads with zeros where such a sum's own kernel would see pixels, so it would not be exact.
    """
    values, readers = dict(graph.values), _readers(graph.values)
    for key in graph.values:
        inner = values[key]
        if not isinstance(inner, Sum) or inner.act is not None or key == graph.output:
            continue
        outer = {reader: values[reader] for reader in readers[key]}
        if not all(_reads_pointwise(reader, key) for reader in outer.values()):
            continue
        after = {name: _substituted(reader, key, inner) for name, reader in outer.items()}
        if _macs(after.values()) <= _macs([inner, *outer.values()]) + CALL:
            values |= after
            del values[key]
            for term in inner.terms:
                readers[term.source] = (readers[term.source] - {key}) | outer.keys()
    return Graph(values, graph.output)


def _readers(values: Mapping[str, Value]) -> dict[str, set[str]]:
    """Who reads each value."""
    found: dict[str, set[str]] = {key: set() for key in values}
    for key, value in values.items():
        for source in sources(value):
            found[source].add(key)
    return found


def _reads_pointwise(reader: Value, key: str) -> bool:
    return isinstance(reader, Sum) and all(term.kernel == 1 for term in reader.terms if term.source == key)


def _substituted(reader: Value, key: str, inner: Sum) -> Sum:
    """`reader` with the terms of `inner` in place of `key`; no source is then read twice."""
    if not isinstance(reader, Sum):
        raise TypeError("only a sum has terms")
    terms: list[Term] = []
    bias = reader.bias
    for term in reader.terms:
        if term.source == key:
            terms += [_product(term, before) for before in inner.terms]
            bias = added(bias, None if inner.bias is None else _transformed(term.weight, inner.bias))
        else:
            terms.append(term)
    return replace(reader, terms=tuple(terms), bias=bias)


def _transformed(weight: Tensor | None, bias: Tensor) -> Tensor:
    return bias if weight is None else weight.flatten(1) @ bias


def _product(outer: Term, inner: Term) -> Term:
    """`outer` (1×1, a matrix or the identity) after `inner`."""
    if outer.weight is None:
        return inner
    if inner.weight is None:
        return Term(inner.source, outer.weight, outer.stride)
    weight = (outer.weight.flatten(1) @ inner.weight.flatten(1)).view(-1, *inner.weight.shape[1:])
    return Term(inner.source, weight, outer.stride * inner.stride)


def _macs(sums: Iterable[Value]) -> int:
    """Multiply-accumulates of the terms for one sample."""
    terms = ((total, term) for total in sums if isinstance(total, Sum) for term in total.terms)
    return sum(
        term.weight.numel() * prod(total.shape[1:]) for total, term in terms if term.weight is not None
    )


def _live(values: dict[str, Value], output: str) -> Graph:
    """Without what nothing reads any more."""
    needed, waiting = {output}, [output]
    while waiting:
        new = set(sources(values[waiting.pop()])) - needed
        needed |= new
        waiting += new
    return Graph({key: value for key, value in values.items() if key in needed}, output)
