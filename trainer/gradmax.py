"""Incoming weights for neurons that growth adds, from the gradient that their outgoing weights would see.

After GradMax (Evci, van Merriënboer, Unterthiner, Vladymyrov, Pedregosa: "GradMax: Growing Neural Networks
using Gradient Information", ICLR 2022), transposed: there the incoming weights start at zero and the outgoing
ones are chosen so that the gradient of the incoming ones is largest; here the outgoing ones are zero, as is
the law of every growth, and the incoming ones are chosen. For a node y = shortcut(x) + second(act(first(x)))
and a new hidden neuron with incoming weights w, take the neuron for linear and `second` for a 1x1 tap. Then
the gradient of its outgoing weights is M w with

    M = Σ_samples Σ_positions ∂L/∂y · patchᵀ,

where y is the node's output before its `act` and the patch is what the leaf of `first` sees there, with its
kernel, stride and padding. Under ‖w‖ = 1, ‖M w‖ is largest for the first right-singular vector of M, and for
several neurons together for as many of them. M is the gradient of a convolution with zero weights beside the
node, and is computed as that. Norms are taken for the identity: of a leaf they only scale a neuron, which
its norm undoes, and of `second` they only weigh the outputs.

Legend: B batch, I inputs, O outputs of the node, k kernel size, K = I·k·k cells of a row, N newcomers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nhnas.compiler.leaf import Leaf
from nhnas.compiler.network import Network, Node
from nhnas.spec.config import Train
from nhnas.trainer.batches import first_batches
from nhnas.trainer.engine import Engine, loss_of
from nhnas.trainer.evaluate import evaluation_mode

BATCHES = 4
"""Batches that M is summed over; the paper takes one large one."""
NOISE = 1e-5
"""Singular values below this share of the largest are rounding: the gradients are float32."""

Sample = tuple[Tensor, Tensor]
"""Inputs [B, *input] as the network takes them, and targets [B] or [B, T]."""


def first_samples(engine: Engine) -> Iterator[Sample]:
    """The first batches of the engine's version, as its network takes them."""
    for batch in first_batches(engine.dataset, engine.train, engine.version, BATCHES, engine.numerics.device):
        maps = batch.inputs.dim() == 4
        inputs = batch.inputs.to(memory_format=engine.numerics.torch_format) if maps else batch.inputs
        yield inputs, batch.targets


def set_rows(
    network: Network, samples: Iterable[Sample], train: Train, rows: Mapping[str, Sequence[int]]
) -> int:
    """Give new neurons their incoming weights, in place; returns how many rows were set.

    `rows` are the neurons' positions by site. Of a hidden site's rows those in the leaf of `first` itself are
    set, not those of residuals inside `first`; each keeps the root mean square of the random row that it
    replaces, and cells that are zero in all of them (columns of other newcomers) stay zero. Rows stay
    random at sites of the chain, where `first` has no leaf, and where M is zero or not finite. Nothing
    else in the network changes.
    """
    nodes = {node.site: node for node in fillers(network) if node.site in rows}
    count = 0
    for site, gradient in gradients(network, samples, train, nodes).items():
        weight, at = leaf_of(nodes[site]).weight, list(rows[site])
        old = weight.detach()[at].cpu().double()
        new, found = best_rows(gradient, old)
        with torch.no_grad():
            weight[at[:found]] = new[:found].to(weight.device, weight.dtype)
        count += found
    return count


def fillers(network: Network) -> Iterator[Node]:
    """The nodes with hidden neurons whose `first` has a leaf."""
    for module in network.modules():
        if isinstance(module, Node) and module.first is not None and module.first.leaf is not None:
            yield module


def leaf_of(node: Node) -> Leaf:
    """The leaf of a filler's `first`."""
    if node.first is None or node.first.leaf is None:
        raise ValueError(f"{node.path} has no leaf that fills its hidden neurons")
    return node.first.leaf


def gradients(
    network: Network, samples: Iterable[Sample], train: Train, nodes: Mapping[str, Node]
) -> dict[str, Tensor]:
    """M [O, I] or [O, I, k, k] of each of `nodes`, by its key; float64, on the CPU.

    In evaluation mode: running statistics must not move, dropout must draw nothing, and it is the function
    that growth leaves as it is. The loss is that of training, summed over samples.
    """
    sums: dict[str, Tensor] = {}
    with evaluation_mode(network), _probed(nodes) as probes, torch.enable_grad():
        for inputs, targets in samples if nodes else ():
            outputs = network(inputs).float()
            loss = len(inputs) * loss_of(outputs, targets, train, train.label_smoothing)
            found = torch.autograd.grad(loss, list(probes.values()))
            for site, gradient in zip(probes, found, strict=True):
                wide = gradient.cpu().double()
                sums[site] = sums[site] + wide if site in sums else wide
    return sums


def best_rows(gradient: Tensor, old: Tensor) -> tuple[Tensor, int]:
    """Rows [N, …] in place of `old`, and how many of them, the first, are new; from M [O, …], both float64.

    The right-singular vectors of M, the largest value first, each with the sign that is nearer to the row it
    replaces; then all of them with the other sign, since a rectifier hears one half; the rest stay.
    """
    flat = old.flatten(1)
    open_cells = (flat != 0).any(0)
    vectors = _directions(gradient.flatten(1)[:, open_cells])
    first = vectors[: len(old)]
    signs = torch.where((first * flat[: len(first), open_cells]).sum(1) < 0, -1.0, 1.0)
    first = first * signs[:, None]
    chosen = torch.cat([first, -first])[: len(old)]
    new = flat.clone()
    new[: len(chosen), open_cells] = chosen * flat[: len(chosen)].norm(dim=1, keepdim=True)
    return new.reshape(old.shape), len(chosen)


def _directions(gradient: Tensor) -> Tensor:
    """Right-singular vectors [R, K] of M [O, K] whose values are above noise; none where M is not finite."""
    if gradient.numel() == 0 or not gradient.isfinite().all() or not gradient.any():
        return gradient.new_zeros(0, gradient.shape[1])
    values: Tensor
    vectors: Tensor
    _, values, vectors = torch.linalg.svd(gradient, full_matrices=False)
    return vectors[values > NOISE * values[0]]


@contextmanager
def _probed(nodes: Mapping[str, Node]) -> Iterator[dict[str, Tensor]]:
    """Each node with a leaf of zero weights [O, I, …] beside it, while it lasts; those of the last pass."""
    probes: dict[str, Tensor] = {}

    def beside(key: str, leaf: Leaf) -> Any:
        def add(_: Any, arguments: tuple[Any, ...], y: Tensor) -> Tensor:
            shape = (y.shape[1], *leaf.weight.shape[1:])
            probes[key] = leaf.weight.new_zeros(shape).requires_grad_()
            return y + leaf.apply_weight(arguments[0].detach(), probes[key], None)

        return add

    handles = [node.register_forward_hook(beside(key, leaf_of(node))) for key, node in nodes.items()]
    try:
        yield probes
    finally:
        for handle in handles:
            handle.remove()
