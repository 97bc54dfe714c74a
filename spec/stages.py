"""A nearly linear network to start from, for images of any size: a stem, and stages of empty identity blocks.

As the templates for CIFAR (after He et al. 2016, §4.2): the map is halved between stages while neurons
double, until it is small enough to pool. The identity blocks cost and compute nothing until neurons grow in
them.
"""

from __future__ import annotations

from collections.abc import Iterator

from nhnas.spec.model import Architecture, Conv, Dense, GlobalAvgPool, Layer, Residual, ShortcutLeaf

FIRST, MOST = 16, 64
"""Neurons of the first stage, and of the last ones."""
BLOCKS = 3
SMALL, LARGE = 8, 128
"""Side of a map that is pooled; side from which on the stem halves it, too."""


def near_linear(images: tuple[int, int, int], classes: int) -> Architecture:
    """For `images` [C, H, W] and so many classes."""
    side = min(images[1:])
    stem = Conv(name="stem", width=FIRST, stride=2 if side >= LARGE else 1)
    head = Dense(name="head", width=classes)
    side = -(-side // stem.stride)
    return Architecture(input=images, net=(stem, *_stages(side), GlobalAvgPool(name="pool"), head))


def _stages(side: int) -> Iterator[Layer]:
    """The first keeps the stem's map, each other one halves it."""
    stage, width = 1, FIRST
    yield from _blocks(stage)
    while side > SMALL:
        stage, width, side = stage + 1, min(2 * width, MOST), -(-side // 2)
        yield Conv(
            name=f"stage{stage}",
            width=width,
            stride=2,
            shortcut=ShortcutLeaf(kernel=1),
            residual=Residual(hidden=0),
        )
        yield from _blocks(stage)


def _blocks(stage: int) -> Iterator[Layer]:
    for block in range(1, BLOCKS + 1):
        name = f"stage{stage}_block{block}"
        yield Conv(name=name, shortcut="identity", residual=Residual(hidden=0))
