"""What every cell of the new network must hold, read off the followed individuals.

Legend: O outputs, I inputs (features), k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from math import sqrt
from typing import Any

from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, biases, leaves
from tests.laws.individuals import BORN, NEW, QUIET, Known, Label, World

Index = tuple[int, ...]
FILLS = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Old:
    """The value of an old cell."""

    name: str
    index: Index


@dataclass(frozen=True)
class Drawn:
    """A random value within the bound; it depends on final row and column (all but the row, flattened)."""

    bound: float
    row: int
    column: int


Holding = Old | Drawn | float


def holdings(world: World, arch: Architecture) -> Iterator[tuple[str, Index, Holding]]:
    """Name, index and due content of every cell but the counters'."""
    for leaf in leaves(arch):
        known = world.leaves[leaf.path]
        rows = [known.rows[name] for name in world.sites[leaf.writes.site].names]
        yield from _weight(leaf, known, rows, _features(world, leaf, known))
        if leaf.norm == "batch":
            yield from _norm(leaf, known, rows)
    for node in biases(arch):
        known = world.biases[node.path]
        bound = 1.0 / sqrt(node.reads.features * node.kernel**2)
        for row, name in enumerate(world.sites[node.writes.site].names):
            label = known.rows[name]
            holding: Holding = 0.0 if label == QUIET else Drawn(bound, row, 0)
            if isinstance(label, int):
                holding = Old(f"{known.source}.bias", (label,))
            yield f"{node.path}.bias", (row,), holding


def _kernel(leaf: Leaf, known: Known) -> list[Label]:
    """Where each place along one axis of the kernel comes from: the middle stays the middle."""
    if leaf.op != "conv":
        return [0]
    kernel: list[Label] = [*range(leaf.kernel if known.source is None else known.kernel)]
    while len(kernel) < leaf.kernel:
        kernel = [NEW, *kernel, NEW]
    while len(kernel) > leaf.kernel:
        kernel = kernel[1:-1]
    return kernel


def _features(world: World, leaf: Leaf, known: Known) -> list[Label]:
    """Labels of the features: a neuron behind a flatten is several."""
    per = leaf.reads.columns
    result: list[Label] = []
    for name in world.sites[leaf.reads.site].names:
        label = known.columns[name]
        result += [label * per + i if isinstance(label, int) else label for i in range(per)]
    return result


def _weight(
    leaf: Leaf, known: Known, rows: list[Label], columns: list[Label]
) -> Iterator[tuple[str, Index, Holding]]:
    kernel = _kernel(leaf, known)
    k, bound = len(kernel), 1.0 / sqrt(len(columns) * leaf.kernel**2)
    for o, i, y, x in product(range(len(rows)), range(len(columns)), range(k), range(k)):
        index = (o, i, y, x) if leaf.op == "conv" else (o, i)
        labels = (rows[o], columns[i], kernel[y], kernel[x])
        middle = y == x == k // 2
        drawn = Drawn(bound, o, (i * k + y) * k + x)
        yield f"{leaf.path}.weight", index, _cell(leaf, known, labels, drawn, middle)


def _cell(leaf: Leaf, known: Known, labels: tuple[Label, ...], drawn: Drawn, middle: bool) -> Holding:
    row, column, *window = labels
    if NEW in (column, *window):
        return 0.0
    if isinstance(row, int):
        old = [row, column, *window] if leaf.op == "conv" else [row, column]
        return Old(f"{known.source}.weight", tuple(x for x in old if isinstance(x, int)))
    if isinstance(row, tuple) and isinstance(column, tuple):
        return 1.0 if row == column and middle else 0.0
    if row == QUIET and leaf.norm == "none":
        return 0.0
    if known.source is None and column != BORN and not isinstance(column, tuple):
        raise RuntimeError(f"{leaf.path}: a leaf that starts anew reads an old column {column}")
    return drawn


def _norm(leaf: Leaf, known: Known, rows: list[Label]) -> Iterator[tuple[str, Index, Holding]]:
    for (row, label), (entry, fill) in product(enumerate(rows), FILLS.items()):
        holding: Holding = fill
        if known.source is not None and known.norm == leaf.norm and isinstance(label, int):
            holding = Old(f"{known.source}.norm.{entry}", (label,))
        elif label == QUIET and entry == "weight":
            holding = 0.0
        yield f"{leaf.path}.norm.{entry}", (row,), holding


def slow_uniform(parts: tuple[Any, ...], row: int, column: int) -> float:
    """The keyed random number in [-1, 1) of one cell, in whole numbers of Python."""
    digest = sha256()
    for text in (str(part).encode() for part in parts):
        digest.update(len(text).to_bytes(8, "little") + text)
    key = int.from_bytes(digest.digest()[:8], "little")
    golden = 0x9E3779B97F4A7C15
    state = _finalize(((row + 1) * golden & MASK) ^ key)
    return (_finalize((state + (column + 1) * golden) & MASK) >> 11) / 2**52 - 1.0


def _finalize(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def due(holding: Holding, old: Mapping[str, Any], key: tuple[Any, ...]) -> float:
    """The number itself; `key`: seed, parent and tensor name. `old`: nested lists by tensor name."""
    if isinstance(holding, Drawn):
        return holding.bound * slow_uniform(key, holding.row, holding.column)
    if isinstance(holding, Old):
        value: Any = old[holding.name]
        for index in holding.index:
            value = value[index]
        return float(value)
    return holding
