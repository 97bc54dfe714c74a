"""The only place that calls torch's update kernels and its lists-of-tensors operations.

The fused kernels are called directly, without the grouping in Python that `torch.optim` does at every
step (half of its time on small networks). Should a torch release move them, or a device lack them,
the same update goes through the public functional interface.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

FUSED_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Entries:
    """Dense pieces of one device and dtype to update, in place, all lists of the same length.

    `moments` holds one list for each moment, `steps` one float32 scalar a piece: views of `counter`.
    """

    parameters: list[Tensor]
    gradients: list[Tensor]
    moments: tuple[list[Tensor], ...]
    steps: list[Tensor]
    counter: Tensor


Kernel = Callable[[Entries, float], None]


def adam_kernel(
    betas: tuple[float, float], eps: float, weight_decay: float, *, decoupled: bool, direct: bool = True
) -> Kernel:
    """Adam (Kingma & Ba 2015, algorithm 1), or AdamW (Loshchilov & Hutter 2019) if `decoupled`.

    Counts every step of `Entries.steps` on by one, then updates with bias corrections for that count.
    """
    name = "_fused_adamw_" if decoupled else "_fused_adam_"
    fused = getattr(torch, name, None) if direct else None
    settings: dict[str, Any] = {
        "beta1": betas[0],
        "beta2": betas[1],
        "weight_decay": weight_decay,
        "eps": eps,
        "amsgrad": False,
        "maximize": False,
    }
    public: Callable[..., None] = partial(adam, decoupled_weight_decay=decoupled, **settings)

    def update(entries: Entries, lr: float) -> None:
        first, second = entries.moments
        lists = (entries.parameters, entries.gradients, first, second, list[Tensor](), entries.steps)
        if fused is not None and _is_fused(entries):
            entries.counter.add_(1.0)
            fused(*lists, lr=lr, **settings)
        else:
            public(*lists, lr=lr, **_flags(entries))

    return update


def sgd_kernel(
    momentum: float, weight_decay: float, *, nesterov: bool = False, direct: bool = True
) -> Kernel:
    """Gradient descent with momentum as in torch: m <- momentum·m + g, p <- p - lr·m.

    With `nesterov` (Sutskever et al. 2013): p <- p - lr·(g + momentum·m).

    Moments of zero make the first step torch's own (which copies the gradient).
    """
    fused = getattr(torch, "_fused_sgd_", None) if direct else None
    settings: dict[str, Any] = {
        "weight_decay": weight_decay,
        "momentum": momentum,
        "dampening": 0.0,
        "nesterov": nesterov,
        "maximize": False,
    }
    public: Callable[..., None] = partial(sgd, **settings)

    def update(entries: Entries, lr: float) -> None:
        buffers = entries.moments[0]
        if fused is not None and _is_fused(entries):
            # Without momentum the kernel must not see the buffers: 0·inf would be NaN.
            buffers = buffers if momentum else []
            fused(entries.parameters, entries.gradients, buffers, lr=lr, is_first_step=False, **settings)
        else:
            public(entries.parameters, entries.gradients, list(buffers), lr=lr, **_flags(entries))

    return update


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into its target, in one call where torch can."""
    together = getattr(torch, "_foreach_copy_", None)
    if together is None:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)
    elif targets:
        together(targets, sources)


def add_all(tensors: list[Tensor], number: int) -> None:
    """Add a number to each tensor in place, in one call where torch can."""
    together = getattr(torch, "_foreach_add_", None)
    if together is None:
        for tensor in tensors:
            tensor.add_(number)
    elif tensors:
        together(tensors, number)


def zero_all(tensors: list[Tensor]) -> None:
    """Fill each tensor with zeros, in one call where torch can."""
    together = getattr(torch, "_foreach_zero_", None)
    if together is None:
        for tensor in tensors:
            tensor.zero_()
    elif tensors:
        together(tensors)


def _is_fused(entries: Entries) -> bool:
    return entries.counter.device.type in FUSED_DEVICES


def _flags(entries: Entries) -> dict[str, Any]:
    return {"foreach": False, "fused": _is_fused(entries)}
