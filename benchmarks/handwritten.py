"""A ResNet for CIFAR (He et al. 2015, section 4.2) as anybody would write it in torch, to compare with."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions with norms; the shortcut is the identity, 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H/stride, W/stride]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """Three stages of `blocks` blocks, `width`, 2·`width` and 4·`width` wide; [B, 3, 32, 32] -> [B, 10]."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)
        )
        layers, inputs = [], width
        for stage in range(3):
            for at in range(blocks):
                layers.append(Block(inputs, width << stage, 2 if stage and not at else 1))
                inputs = width << stage
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 32, 32] -> [B, 10]."""
        y: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return y


def resnet_macs(width: int, blocks: int) -> int:
    """Multiply-accumulates of convolutions and head for one image."""
    total, inputs = 3 * width * 9 * 1024, width
    for stage in range(3):
        outputs, pixels = width << stage, 1024 >> (2 * stage)
        for _ in range(blocks):
            total += pixels * 9 * outputs * (inputs + outputs)
            total += pixels * inputs * outputs if inputs != outputs else 0
            inputs = outputs
    return total + inputs * 10
