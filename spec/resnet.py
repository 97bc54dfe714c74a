"""The hand-designed network to compare with: a residual network for small images (He et al. 2016, §4.2).

Three stages of `blocks` blocks, of widths W, 2W and 4W; a block is two 3×3 convolutions beside an identity,
or beside a 1×1 convolution where a stage halves the map. At W = 16 and 3 blocks this is ResNet-20 with 1×1
shortcuts.
"""

from __future__ import annotations

from collections.abc import Iterator

from nhnas.spec.model import Architecture, Conv, Dense, GlobalAvgPool, Layer, Residual, ShortcutLeaf

STAGES = 3


def resnet(
    width: int, blocks: int, classes: int = 10, images: tuple[int, int, int] = (3, 32, 32)
) -> Architecture:
    """For `images` [C, H, W]; `width` neurons in the first stage, `blocks` blocks a stage."""
    stem = Conv(name="stem", width=width, act="relu")
    head = Dense(name="head", width=classes)
    return Architecture(input=images, net=(stem, *_stages(width, blocks), GlobalAvgPool(name="pool"), head))


def _stages(width: int, blocks: int) -> Iterator[Layer]:
    for stage in range(STAGES):
        for block in range(blocks):
            name = f"stage{stage + 1}_block{block + 1}"
            yield _block(name, width << stage, stage > 0 and block == 0)


def _block(name: str, width: int, halves: bool) -> Conv:
    inner = Residual(hidden=width)
    if halves:
        shortcut = ShortcutLeaf(kernel=1)
        return Conv(name=name, stride=2, width=width, act="relu", shortcut=shortcut, residual=inner)
    return Conv(name=name, act="relu", shortcut="identity", residual=inner)
