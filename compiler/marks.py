"""Index maps: for each new index of an axis, the old index it comes from, or a mark.

One map per axis is enough: a cell is ZERO if its column is new, RANDOM if only its row is new
(DESIGN §5), and a leaf that starts anew is RANDOM in the columns that it is born with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

IndexMap = npt.NDArray[np.int64]

NEW = -1
"""A new row; a new column, zero in every leaf that reads its site."""
RANDOM = -2
"""A column that its leaf was born with."""
QUIET = -3
"""A row born silent: norm weight 0; without norm, or in a bias, the row itself is 0."""
IDENTITY = -10
"""Row or column i of a leaf born as the identity is `IDENTITY - i`."""


def _frozen(values: IndexMap) -> IndexMap:
    values.flags.writeable = False
    return values


def same(size: int) -> IndexMap:
    """Nothing moves: [0, 1, …, size-1]."""
    return _frozen(np.arange(size, dtype=np.int64))


def constant(size: int, mark: int) -> IndexMap:
    """One mark everywhere."""
    return _frozen(np.full(size, mark, dtype=np.int64))


def identity_marks(size: int) -> IndexMap:
    """The marks of the rows, or columns, of an identity matrix."""
    return _frozen(IDENTITY - np.arange(size, dtype=np.int64))


def with_new(size: int, at: Sequence[int]) -> IndexMap:
    """Map onto the larger axis of `size` in which the positions `at` are new."""
    result = np.full(size, NEW, dtype=np.int64)
    old = np.ones(size, dtype=bool)
    old[list(at)] = False
    result[old] = np.arange(size - len(at))
    return _frozen(result)


def without(size: int, at: Sequence[int]) -> IndexMap:
    """Map onto the smaller axis that is left when the positions `at` of `size` go."""
    return _frozen(np.delete(np.arange(size, dtype=np.int64), list(at)))


@lru_cache(maxsize=256)
def centred(old: int, new: int) -> IndexMap:
    """One axis of a kernel embedded in the middle of another; outside the old one NEW."""
    source = np.arange(new, dtype=np.int64) - (new - old) // 2
    return _frozen(np.where((source < 0) | (source >= old), NEW, source))


def chain(first: IndexMap, second: IndexMap) -> IndexMap:
    """`second` after `first`: marks of the later map win, else the earlier one is looked up."""
    if first.size == 0:
        return second
    return _frozen(np.where(second < 0, second, first[np.maximum(second, 0)]))


def spread(neurons: IndexMap, columns: int) -> IndexMap:
    """From neurons to features where one neuron became `columns` neighbouring ones (flatten)."""
    if columns == 1:
        return neurons
    within = np.arange(columns, dtype=np.int64)
    kept = neurons[:, None] * columns + within
    return _frozen(np.where(neurons[:, None] < 0, neurons[:, None], kept).ravel())


def is_same(index: IndexMap, old_size: int) -> bool:
    """True where nothing moves, comes or goes."""
    return index.size == old_size and bool((index == np.arange(old_size)).all())
