"""Which parts of a tensor have lived for equally many steps, as few rectangles as possible.

A cell's age is min(age of its row, age of its column) (DESIGN §9). Networks grow by whole rows and
columns, so a tensor of shape [O, I, ...] falls into a few rectangles of one age each.

Shape letters: O rows (dim 0), I columns (dim 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

Span = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """Cells [rows[0]:rows[1], columns[0]:columns[1]], all of the same age."""

    rows: Span
    columns: Span
    age: int


def runs(values: Sequence[int]) -> list[tuple[Span, int]]:
    """Maximal runs of equal neighbours: [7, 7, 3] -> [((0, 2), 7), ((2, 3), 3)]."""
    found = []
    start = 0
    for value, group in groupby(values):
        stop = start + sum(1 for _ in group)
        found.append(((start, stop), value))
        start = stop
    return found


def row_slabs(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[Span, int]]:
    """Runs of rows [O] with the age of their oldest cell; a vector has no columns [I] (empty)."""
    return runs(_capped_by_columns(rows, columns))


def young_blocks(rows: Sequence[int], columns: Sequence[int]) -> list[Block]:
    """The cells that are younger than `row_slabs` says: young columns crossing older rows."""
    oldest = _capped_by_columns(rows, columns)
    return [
        Block(span, column_span, age)
        for column_span, age in runs(columns)
        for span, younger in runs([row > age for row in oldest])
        if younger
    ]


def all_blocks(rows: Sequence[int], columns: Sequence[int]) -> list[Block]:
    """Every cell of the tensor; a vector counts as one column that is as old as its oldest row."""
    return [
        Block(span, column_span, age)
        for column_span, column_age in runs(columns or [max(rows, default=0)])
        for span, age in runs([min(row, column_age) for row in rows])
    ]


def horizon(betas: tuple[float, float], epsilon: float) -> int:
    """The age from which both 1 - beta**age round to exactly 1: older cells are corrected alike.

    `epsilon` is that of the number format of the update (2**-23 for float32, 2**-52 for float64).
    """
    # 1 - x rounds to 1 for x <= epsilon / 4; one bit to spare for the rounding of the power itself.
    return max(math.ceil(math.log(epsilon / 8) / math.log(beta)) if beta else 1 for beta in betas)


def merged(ages: Sequence[int], limit: int, oldest: int) -> list[int]:
    """Ages from `limit` on all become `oldest`."""
    return [oldest if age >= limit else age for age in ages]


def _capped_by_columns(rows: Sequence[int], columns: Sequence[int]) -> Sequence[int]:
    if not columns:
        return rows
    oldest = max(columns)
    return [min(row, oldest) for row in rows]
