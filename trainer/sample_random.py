"""Random numbers that belong to a sample: functions of a key and a sample's number, of nothing else.

A key names a purpose, as in `stream("order", seed, version, epoch)`; the number drawn for a sample
is the output of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
OOPSLA 2014) started at the key, at the sample's place. No state is carried, so a training run that
was cut anywhere goes on with the same numbers, in batches of any size, on any device.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


def stream(*parts: int | str) -> int:
    """The 64-bit key of a purpose, from SHA-256; different parts give unrelated keys."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def bits(key: int, samples: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 random bits for each sample number; two samples of one key never get the same."""
    mixed = np.uint64(key) + (samples.astype(np.uint64) + np.uint64(1)) * _GAMMA
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    return mixed ^ (mixed >> np.uint64(31))


def uniform(key: int, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number of [0, 1) for each sample, of 53 random bits."""
    return (bits(key, samples) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(key: int, n: int) -> NDArray[np.int64]:
    """0 … n-1 in random order: sorted by their bits, which are all different."""
    return np.argsort(bits(key, np.arange(n)))
