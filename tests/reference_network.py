"""A slow network, written from DESIGN §2 and §3 with loops over pixels; numpy, float64.

Legend: B batch, I inputs, O outputs, k kernel; x is [B, C, H, W] or [B, F].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import erf
from typing import Any

import numpy as np
import numpy.typing as npt

from nhnas.spec.model import Architecture, Conv, Dense, Node, ShortcutLeaf

Array = npt.NDArray[np.float64]


def forward(arch: Architecture, tensors: Mapping[str, Array], x: Array, training: bool = False) -> Array:
    """The output without dropout; `training`: norms use the statistics of the batch."""
    slow = SlowNetwork(tensors, training)
    for layer in arch.net:
        x = slow.layer(layer, x)
    return x


@dataclass(frozen=True)
class SlowNetwork:
    """The tensors by canonical name, and how norms behave."""

    tensors: Mapping[str, Array]
    training: bool

    def layer(self, layer: Any, x: Array) -> Array:
        """One entry of the chain."""
        if isinstance(layer, Conv):
            y = self.node(layer, layer.name, x, layer.kernel or 3, layer.norm or "batch", layer.stride)
            return activated(layer.act, y)
        if isinstance(layer, Dense):
            return activated(layer.act, self.node(layer, layer.name, x, 0, layer.norm or "none", 1))
        if layer.op == "activation":
            return activated(layer.act, x)
        if layer.op == "global_avg_pool":
            return np.asarray(x.mean(axis=(2, 3)))
        if layer.op == "flatten":
            return x.reshape(len(x), -1)
        if layer.op == "dropout":
            return x
        return pooled(x, layer.kernel, layer.stride or layer.kernel, layer.op == "max_pool")

    def node(self, node: Node, path: str, x: Array, kernel: int, norm: str, stride: int) -> Array:
        """shortcut(x) + second(act(first(x))) + bias; `kernel` 0 is a matrix."""
        kernel, norm = node.kernel or kernel, node.norm or norm
        total: Any = x if node.shortcut == "identity" else 0.0
        if node.shortcut is True or isinstance(node.shortcut, ShortcutLeaf):
            own = node.shortcut if isinstance(node.shortcut, ShortcutLeaf) else ShortcutLeaf()
            total = self.leaf(path, x, own.kernel or kernel, own.norm or norm, stride)
        residual = node.residual
        if residual is not None and residual.hidden > 0:
            hidden = self.node(residual.first, f"{path}.first", x, kernel, norm, stride)
            hidden = activated(residual.act, hidden)
            total = total + self.node(residual.second, f"{path}.second", hidden, kernel, norm, 1)
        if f"{path}.bias" in self.tensors:
            total = total + _along_channels(self.tensors[f"{path}.bias"], total)
        return np.asarray(total)

    def leaf(self, path: str, x: Array, kernel: int, norm: str, stride: int) -> Array:
        """One convolution or matrix with its norm."""
        weight = self.tensors[f"{path}.weight"]
        y = x @ weight.T if kernel == 0 else convolved(x, weight, stride)
        return y if norm == "none" else self.normed(f"{path}.norm", y)

    def normed(self, path: str, y: Array) -> Array:
        """Batch norm, eps 1e-5, biased variance."""
        axes = (0, 2, 3) if y.ndim == 4 else (0,)
        mean, variance = self.tensors[f"{path}.running_mean"], self.tensors[f"{path}.running_var"]
        if self.training:
            mean, variance = y.mean(axis=axes), y.var(axis=axes)
        scaled = (y - _along_channels(mean, y)) / np.sqrt(_along_channels(variance, y) + 1e-5)
        gain, offset = self.tensors[f"{path}.weight"], self.tensors[f"{path}.bias"]
        return np.asarray(scaled * _along_channels(gain, y) + _along_channels(offset, y))


def _along_channels(values: Array, like: Array) -> Array:
    return values.reshape(-1, 1, 1) if like.ndim == 4 else values


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """[B, I, H, W] * [O, I, k, k]; padding (k-1)/2."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    rows, columns = range(0, x.shape[2], stride), range(0, x.shape[3], stride)
    y = np.zeros((len(x), len(weight), len(rows), len(columns)))
    for (i, top), (j, left) in product(enumerate(rows), enumerate(columns)):
        window = padded[:, :, top : top + k, left : left + k]
        y[:, :, i, j] = (window[:, None] * weight[None]).sum(axis=(2, 3, 4))
    return y


def pooled(x: Array, kernel: int, stride: int, largest: bool) -> Array:
    """Windows that lie wholly inside."""
    rows = range(0, x.shape[2] - kernel + 1, stride)
    columns = range(0, x.shape[3] - kernel + 1, stride)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for (i, top), (j, left) in product(enumerate(rows), enumerate(columns)):
        window = x[:, :, top : top + kernel, left : left + kernel]
        y[:, :, i, j] = window.max(axis=(2, 3)) if largest else window.mean(axis=(2, 3))
    return y


def activated(act: str | None, x: Array) -> Array:
    """The four activations by their formulas."""
    if act is None:
        return x
    if act == "relu":
        return np.maximum(x, 0.0)
    if act == "tanh":
        return np.tanh(x)
    if act == "silu":
        return np.asarray(x / (1.0 + np.exp(-x)))
    return np.asarray(x * 0.5 * (1.0 + np.vectorize(erf)(x / np.sqrt(2.0))))
