"""Learning rates: each schedule is one line of arithmetic over progress in [0, 1]."""

from __future__ import annotations

import math
from typing import Literal

ONECYCLE_START = 0.04


def warmed_up(lr: float, done: int, warmup: float) -> float:
    """Quadratic warm-up over the first `warmup` batches (DESIGN §6 Fit); `done` batches lie behind."""
    return lr if done + 1 >= warmup else lr * ((done + 1) / warmup) ** 2


def scheduled(
    kind: Literal["constant", "cosine", "onecycle"], lr: float, done: int, total: int, warmup: float
) -> float:
    """Rate of the next batch when `done` of `total` are behind.

    `cosine` falls to 0 after the warm-up (Loshchilov & Hutter 2017); `onecycle` rises from a 25th over
    the first 30% and falls to 0 (Smith & Topin 2018; as torch's OneCycleLR), both along half a cosine.
    """
    progress = done / max(total, 1)
    if kind == "onecycle":
        rising = progress / 0.3
        if rising < 1.0:
            return lr * (ONECYCLE_START + (1.0 - ONECYCLE_START) * _fall(1.0 - rising))
        return lr * _fall((progress - 0.3) / 0.7)
    warm = warmed_up(lr, done, warmup)
    return warm * _fall(progress) if kind == "cosine" else warm


def _fall(progress: float) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))
