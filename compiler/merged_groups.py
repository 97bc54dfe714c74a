"""Which terms run together: leaves that read one value, or that write one sum, as one convolution.

Every term runs in one group: with others that read the same source, over concatenated outputs, or with
others that write the same sum, over concatenated inputs. Groups are a cover of the bipartite graph of sources
and sums, and the least cover of a tree with R residuals has R+1 groups for 2R+1 leaves. Which of the covers
is fastest is for the costs to say (`merged_cost`): outputs share lanes, concatenated inputs save an addition,
either way another pass over the map is made. A kernel may be padded with zeros up to its neighbour's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Literal

from nhnas.compiler.merged_cost import ADD, CALL, CAT, padded
from nhnas.compiler.merged_graph import Graph, Sum

Side = Literal["source", "target"]
Choice = tuple[Side, int]
"""Grouped by which of its ends, and with which kernel."""
GroupKey = tuple[Choice, str, bool, int]
"""What the links of a group have in common: the value at that end, a convolution or not, the stride."""


@dataclass(frozen=True)
class Link:
    """A term with a weight: I `inputs`, O `outputs`, `pixels` of its source and of its sum."""

    source: str
    target: str
    conv: bool
    stride: int
    kernel: int
    inputs: int
    outputs: int
    pixels: tuple[int, int]


@dataclass(frozen=True)
class Group:
    """Links that run as one: all of one source, or all of one target."""

    side: Side
    kernel: int
    links: tuple[Link, ...]


def grouped(graph: Graph) -> list[Group]:
    """The groups of a graph, in no order that matters."""
    return [group for links in components(list(links_of(graph))) for group in cheapest(links)]


def links_of(graph: Graph) -> Iterator[Link]:
    """The terms that have weights."""
    for key, value in graph.values.items():
        for term in value.terms if isinstance(value, Sum) else ():
            if term.weight is not None:
                outputs, inputs = term.weight.shape[:2]
                pixels = (prod(graph.values[term.source].shape[1:]), prod(value.shape[1:]))
                conv = term.weight.dim() == 4
                yield Link(term.source, key, conv, term.stride, term.kernel, inputs, outputs, pixels)


def components(links: Sequence[Link]) -> list[list[Link]]:
    """Links that share a source or a target are chosen for together; others do not touch them."""
    fresh = count()
    label: dict[tuple[str, str], int] = {}
    members: dict[int, list[Link]] = {}
    for link in links:
        ends = (("source", link.source), ("target", link.target))
        old = {label[end] for end in ends if end in label}
        own = next(fresh)
        members[own] = [known for part in sorted(old) for known in members.pop(part)] + [link]
        for known in members[own]:
            label[("source", known.source)] = label[("target", known.target)] = own
    return list(members.values())


def cheapest(links: Sequence[Link]) -> list[Group]:
    """The better of the two ends of a descent that begins with all by source, or all by target."""
    sides: tuple[Side, Side] = ("source", "target")
    ends = [_descended(links, [(side, link.kernel) for link in links]) for side in sides]
    return min(ends, key=cost)


def _descended(links: Sequence[Link], choices: list[Choice]) -> list[Group]:
    """Move on as long as that makes the whole cheaper."""
    best, improved = cost(groups_of(links, choices)), True
    moves = _moves(links)
    while improved:
        improved = False
        for move in moves:
            trial = [move.get(at, choice) for at, choice in enumerate(choices)]
            if (found := cost(groups_of(links, trial))) < best:
                best, choices, improved = found, trial, True
    return groups_of(links, choices)


def _moves(links: Sequence[Link]) -> list[dict[int, Choice]]:
    """New choices for one link, or for all that can then run together."""
    moves = [{at: choice} for at, link in enumerate(links) for choice in options_of(link, links)]
    together: defaultdict[GroupKey, dict[int, Choice]] = defaultdict(dict)
    for at, link in enumerate(links):
        for choice in options_of(link, links):
            together[_group_key(link, choice)][at] = choice
    return moves + [move for move in together.values() if len(move) > 1]


def options_of(link: Link, links: Sequence[Link]) -> list[Choice]:
    """Both sides, each with the kernels of the links that the link could then run with."""
    options: set[Choice] = set()
    for other in links:
        if other.kernel >= link.kernel and (other.conv, other.stride) == (link.conv, link.stride):
            options |= {("source", other.kernel)} if other.source == link.source else set()
            options |= {("target", other.kernel)} if other.target == link.target else set()
    return sorted(options)


def groups_of(links: Sequence[Link], choices: Sequence[Choice]) -> list[Group]:
    """The groups that a choice for each link makes."""
    found: defaultdict[GroupKey, list[Link]] = defaultdict(list)
    for link, choice in zip(links, choices, strict=True):
        found[_group_key(link, choice)].append(link)
    return [Group(side, kernel, tuple(members)) for ((side, kernel), *_), members in found.items()]


def _group_key(link: Link, choice: Choice) -> GroupKey:
    return choice, link.source if choice[0] == "source" else link.target, link.conv, link.stride


def cost(groups: Sequence[Group]) -> float:
    """Of the convolutions, of concatenating their inputs and of adding their outputs."""
    parts = Counter(target for group in groups for target in {link.target for link in group.links})
    sizes = {link.target: link.outputs * link.pixels[1] for group in groups for link in group.links}
    adds = sum((n - 1) * (CALL + ADD * sizes[target]) for target, n in parts.items())
    return adds + sum(map(_group_cost, groups))


def _group_cost(group: Group) -> int:
    first = group.links[0]
    inputs = {link.source: link.inputs for link in group.links}
    outputs = {link.target: link.outputs for link in group.links}
    cat = CALL + CAT * sum(inputs.values()) * first.pixels[0] if len(inputs) > 1 else 0
    macs = sum(inputs.values()) * padded(sum(outputs.values())) * group.kernel**2 * first.pixels[1]
    return CALL + macs + cat


def by_end(groups: Sequence[Group], side: Side) -> Mapping[str, list[Group]]:
    """The groups of one side by the value that their links share."""
    found: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        if group.side == side:
            found[group.links[0].source if side == "source" else group.links[0].target].append(group)
    return found
