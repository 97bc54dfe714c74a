"""Training passes through `torch.compile`, once for each architecture, and never silently without it.

Left to itself, torch.compile goes back to plain Python where it cannot go on: at what it cannot trace, after
eight networks with the same code (growth soon has them), or for the last, smaller batch of an epoch, which
it compiles again. Here what cannot be traced is an error (`fullgraph`), all that was compiled for the network
before is forgotten, and batches of another size, and those in which importance is measured, run as they are.

Legend: B batch, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch._dynamo  # two seconds: torch.compile would do it later, and load libraries on our behalf
from torch import Tensor

from nhnas.compiler.network import Network
from nhnas.spec.errors import InputError

BACKEND = "inductor"
"""What turns the traced network into machine code; it needs a C++ compiler, on a GPU Triton."""


class Compiled:
    """The forward pass of a network in training mode, compiled at its first batch of `batch` samples."""

    def __init__(self, network: Network, batch: int) -> None:
        torch.compiler.reset()
        self._network, self._batch = network, batch
        self._compiled: Callable[[Tensor], Tensor] = torch.compile(
            network, fullgraph=True, dynamic=False, backend=BACKEND
        )

    def __call__(self, x: Tensor) -> Tensor:
        """[B, *input] → [B, O]; raises InputError, in one line, where it cannot be compiled."""
        probe = self._network.probe
        if len(x) != self._batch or probe.observer is not None or probe.comparer is not None:
            y: Tensor = self._network(x)
            return y
        try:
            return self._compiled(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"train.compile: torch.compile failed: {reason}; it needs a C++ compiler (g++), or write "
                "compile: false"
            ) from error
