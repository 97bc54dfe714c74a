"""The matrix of gradients that gradmax looks at, by loops over samples, pixels and cells.

Legend: B batch, I inputs, O outputs of the node, k kernel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor

from nhnas.compiler.network import Network, Node
from nhnas.spec.structure import nodes
from nhnas.trainer.gradmax import Sample, fillers
from tests.grown_networks import Growth


def seen(network: Network, node: Node, samples: Sequence[Sample]) -> list[tuple[Any, Any]]:
    """Inputs of the node and the gradient of its output, of the loss summed over a batch's samples."""
    found: list[tuple[Tensor, Tensor]] = []

    def note(_: Any, arguments: Any, y: Tensor) -> None:
        y.retain_grad()
        found.append((arguments[0].detach(), y))

    handle = node.register_forward_hook(note)
    network.eval()
    for inputs, targets in samples:
        error = network(inputs).float() - targets
        (len(inputs) * error.square().mean()).backward()
    handle.remove()
    network.zero_grad()
    network.train()
    return [(x.numpy(), y.grad.numpy()) for x, y in found if y.grad is not None]


def slow_gradient(x: Any, g: Any, kernel: int, stride: int) -> Any:
    """Σ g·patchᵀ, pixel by pixel: [O, I, k, k] from x [B, I, H, W] and g [B, O, …], [O, I] from features."""
    if x.ndim == 2:
        return sum(np.outer(g[b], x[b]) for b in range(len(x)))
    total = np.zeros((g.shape[1], x.shape[1], kernel, kernel))
    for b, o, i, row, column in product(*map(range, (len(x), g.shape[1], x.shape[1], *g.shape[2:]))):
        for down, right in product(range(kernel), repeat=2):
            at = row * stride + down - kernel // 2, column * stride + right - kernel // 2
            if all(0 <= place < size for place, size in zip(at, x.shape[2:], strict=True)):
                total[o, i, down, right] += g[b, o, row, column] * x[b, i, at[0], at[1]]
    return total


def slow_matrix(case: Growth, site: str) -> Any:
    """M of a site [O, I·k·k] by loops."""
    node = next(node for node in fillers(case.after) if node.site == site)
    view = next(view for view in nodes(case.after.arch) if view.hidden_site == site)
    assert view.first is not None
    assert view.first.leaf is not None
    leaf = view.first.leaf
    parts = seen(case.after, node, case.samples)
    return sum(slow_gradient(x, g, leaf.kernel, leaf.stride) for x, g in parts)
