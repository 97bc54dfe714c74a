"""Random numbers that depend on a key, a row and a column alone.

A weight's first value must not depend on when, where or together with what it is drawn (DESIGN
§5), so a counter-based generator serves: SplitMix64's finalizer (Steele et al. 2014, variant 13
of Stafford) over key, row and column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)


def key_of(*parts: object) -> np.uint64:
    """64 bits of SHA-256 over the parts' text, each prefixed with its length."""
    digest = sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return np.uint64(int.from_bytes(digest.digest()[:8], "little"))


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))


def uniform(
    key: np.uint64, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """[len(rows), len(columns)] numbers in [-1, 1), cell (i, j) a function of key, rows[i], columns[j]."""
    with np.errstate(over="ignore"):
        by_row = _mix((rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN ^ key)
        cells = _mix(by_row[:, None] + (columns.astype(np.uint64) + np.uint64(1))[None, :] * _GOLDEN)
    return (cells >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


@dataclass(frozen=True, slots=True)
class Draw:
    """What to ask of `uniform`: a key, rows, and how many columns, from 0 on."""

    key: np.uint64
    rows: npt.NDArray[np.int64]
    columns: int


BATCH = 1 << 16
"""Numbers that are drawn together: few enough for the cache, and for what lies beside them in memory."""


def uniforms(draws: Iterable[Draw]) -> Iterator[npt.NDArray[np.float64]]:
    """The numbers of each draw, as `uniform` gives them; small draws share their passes over memory."""
    batch: list[Draw] = []
    waiting = 0
    for draw in draws:
        size = draw.rows.size * draw.columns
        if batch and waiting + size > BATCH:
            yield from _together(batch)
            batch, waiting = [], 0
        batch.append(draw)
        waiting += size
    yield from _together(batch)


def _together(draws: list[Draw]) -> Iterator[npt.NDArray[np.float64]]:
    if len(draws) <= 1:
        yield from (uniform(d.key, d.rows, np.arange(d.columns, dtype=np.int64)) for d in draws)
        return
    counts = [draw.rows.size for draw in draws]
    widths = np.repeat([draw.columns for draw in draws], counts)
    ends = np.cumsum(widths)
    column = np.arange(1, ends[-1] + 1) - np.repeat(ends - widths, widths)
    rows = np.concatenate([draw.rows for draw in draws]).astype(np.uint64)
    keys = np.repeat(np.array([draw.key for draw in draws], dtype=np.uint64), counts)
    with np.errstate(over="ignore"):
        by_row = _mix((rows + np.uint64(1)) * _GOLDEN ^ keys)
        cells = _mix(np.repeat(by_row, widths) + column.astype(np.uint64) * _GOLDEN)
    values = (cells >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    start = 0
    for draw, count in zip(draws, counts, strict=True):
        stop = start + count * draw.columns
        yield values[start:stop].reshape(count, draw.columns)
        start = stop
