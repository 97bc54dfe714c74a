"""The evaluation form of a network: the same function in fewer and larger pieces (DESIGN §9).

Norms are folded into weights, leaves that read one input or write one sum run as one convolution, linear
layers in a row become one, and what is only averaged is averaged first. How, is in the merged_* modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nhnas.compiler.merged_algebra import simplified
from nhnas.compiler.merged_graph import flat_graph
from nhnas.compiler.merged_program import program
from nhnas.compiler.merged_steps import Step
from nhnas.compiler.network import Network
from nhnas.spec.errors import InputError
from nhnas.spec.shapes import INPUT


class MergedNetwork(nn.Module):
    """[B, *input] → [B, outputs], in evaluation mode only and without gradients.

    Its parameters have no canonical names: it cannot be trained, saved as a snapshot or grown.
    """

    def __init__(self, shape: tuple[int, ...], steps: Sequence[Step], output: str) -> None:
        super().__init__()
        self.shape, self.output = shape, output
        self.steps = nn.ModuleList(steps)
        self.last_use = _last_uses(steps, output)
        self.eval()

    def train(self, mode: bool = True) -> MergedNetwork:
        """Refuses training mode: InputError."""
        if mode:
            raise InputError("a merged network is for evaluation only; train the network it was made of")
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[B, *input] → [B, outputs]; raises InputError for samples of another shape."""
        if tuple(x.shape[1:]) != self.shape:
            raise InputError(f"expected samples of shape {list(self.shape)}, not {list(x.shape[1:])}")
        values = {INPUT: x}
        for step, finished in zip(self.steps, self.last_use, strict=True):
            step(values)
            for key in finished:
                del values[key]
        return values[self.output]


def merged(network: Network) -> MergedNetwork:
    """A module for evaluation that computes what `network`, in evaluation mode, computes.

    A copy on the same device, in the same dtype. Equal up to rounding, since sums are taken in another order:
    of the size of the outputs 1e-12 in float64, 1e-5 in float32. On the CPU its weights are channels_last,
    which is faster for inputs of either format; `.to(memory_format=torch.contiguous_format)` takes that back.
    Raises InputError in training mode.
    """
    if network.training:
        raise InputError("only a network in evaluation mode can be merged; call network.eval() first")
    tensors = network.tensors()
    like = next(t for t in tensors.values() if t.is_floating_point())
    graph = simplified(flat_graph(network.arch, tensors))
    module = MergedNetwork(network.arch.input, list(program(graph)), graph.output).to(like)
    if like.device.type == "cpu" or any(_is_channels_last(tensor) for tensor in tensors.values()):
        module = module.to(memory_format=torch.channels_last)
    return module


def _is_channels_last(tensor: Tensor) -> bool:
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def _last_uses(steps: Sequence[Step], output: str) -> list[list[str]]:
    """For each step the values that no later one reads: maps are large."""
    last = {key: at for at, step in enumerate(steps) for key in (*step.reads, *step.writes)}
    found: list[list[str]] = [[] for _ in steps]
    for key, at in last.items():
        if key != output:
            found[at].append(key)
    return found
