"""From a graph to the steps that compute it.

Legend: O outputs, I inputs, k kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from nhnas.compiler.merged_graph import Applied, Graph, Means, Sum
from nhnas.compiler.merged_groups import Group, by_end, grouped
from nhnas.compiler.merged_steps import Apply, Linear, Step, Total, WindowMeans


def program(graph: Graph) -> Iterator[Step]:
    """All steps, each after those that it needs: a source's group right behind it, a sum's before it."""
    groups = grouped(graph)
    early, late = by_end(groups, "source"), by_end(groups, "target")
    writer = _Writer(graph)
    for key, value in graph.values.items():
        match value:
            case Sum():
                yield from map(writer.linear, late.get(key, []))
                yield writer.total(key, value)
            case Applied():
                yield Apply(key, value)
            case Means():
                yield WindowMeans(key, value, graph.values[value.source].shape[1:])
        yield from map(writer.linear, early.get(key, []))


@dataclass(frozen=True)
class _Part:
    """What a step has put under `key` for a sum; `whole`: a tensor of its own, no slice of a larger one."""

    key: str
    whole: bool


@dataclass(frozen=True)
class _Writer:
    """Makes steps; `parts` of each sum so far."""

    graph: Graph
    parts: dict[str, list[_Part]] = field(default_factory=dict)

    def linear(self, group: Group) -> Linear:
        """The step of a group: its weights side by side (outputs) or one behind the other (inputs)."""
        side = 0 if group.side == "source" else 1
        weight = torch.cat(
            [self._weight(link.source, link.target, group.kernel) for link in group.links], side
        )
        targets = list(dict.fromkeys(link.target for link in group.links))
        bias = self._bias(targets)
        writes = [(self._part(key, len(targets) == 1), self.graph.values[key].shape[0]) for key in targets]
        reads = list(dict.fromkeys(link.source for link in group.links))
        return Linear(reads, writes, weight, bias, group.links[0].stride)

    def total(self, key: str, value: Sum) -> Total:
        """The step that ends a sum; a part that may be written over comes first."""
        parts = sorted(self.parts.get(key, []), key=lambda part: not part.whole)
        streams = [term.source for term in value.terms if term.weight is None]
        owned = bool(parts) and parts[0].whole
        return Total(key, [part.key for part in parts], streams, owned, value.act)

    def _weight(self, source: str, target: str, kernel: int) -> Tensor:
        """[O, I] or [O, I, k, k], padded with zeros to the group's kernel."""
        weights = (term.weight for term in self._sum(target).terms if term.source == source)
        weight = next(weight for weight in weights if weight is not None)
        return F.pad(weight, 4 * [(kernel - weight.shape[2]) // 2]) if weight.dim() == 4 else weight

    def _bias(self, targets: list[str]) -> Tensor | None:
        """The biases of the sums to which nothing was added yet, 0 for the others; None where all are 0."""
        biases = [None if key in self.parts else self._sum(key).bias for key in targets]
        given = next((bias for bias in biases if bias is not None), None)
        if given is None:
            return None
        sizes = [self.graph.values[key].shape[0] for key in targets]
        zeros = [given.new_zeros(size) for size in sizes]
        return torch.cat([zero if bias is None else bias for bias, zero in zip(biases, zeros, strict=True)])

    def _part(self, key: str, whole: bool) -> str:
        parts = self.parts.setdefault(key, [])
        parts.append(_Part(f"{key}+{len(parts)}", whole))
        return parts[-1].key

    def _sum(self, key: str) -> Sum:
        value = self.graph.values[key]
        if not isinstance(value, Sum):
            raise TypeError(f"{key} is no sum")
        return value
