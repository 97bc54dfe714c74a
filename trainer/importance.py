"""How much each neuron matters, measured in the ordinary backward passes (DESIGN §6 Importance).

For neuron j of a site with activations σ and loss L summed over the batch,

    A_j = Σ_samples |Σ_positions σ·∂L/∂σ|,   B_j = share of positive activations (0 unless ReLU),
    importance I_j = A_j·(1 - B_j³³), summed over the readers of the site:

the first-order change of the loss if the neuron went (paper, section 2), less for a ReLU neuron
that is nearly always on: it is linear, and the shortcut can do its work.

Letters: B samples of a batch, H neurons of the site, R readers, P positions (height x width, or 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

POWER = 33
"""Exponent of B (paper, section 2; the authors' code)."""
CACHED = 2**18
"""Activations of a block on a CPU: a megabyte of float32."""
READER = "/"
"""Between site and reader: a character that no name has."""
COUNTED, APART = 2**13, 4
"""Activations of a neuron that a batch counts at least, if it has as many; at most so many samples apart."""


@dataclass(frozen=True)
class Measured:
    """What was summed for one site: A [R, H], and B [R, H] in [0, 1]."""

    sensitivity: Floats
    positive: Floats


@dataclass
class _Sums:
    """Running sums of one reader: A [H] and positive activations [H], where it computes; activations."""

    sensitivity: Tensor
    positive: Tensor
    count: int = 0


class ImportanceMeter:
    """Adds up A and B of every observed site over the backward passes since the last `reset`.

    A is a sum over all samples. B, a mean over very many numbers where maps are large, is counted in every
    second to fourth sample of a batch as long as `counted` activations of a neuron remain.
    """

    def __init__(self, counted: int = COUNTED) -> None:
        self._counted = counted
        self._sums: dict[str, _Sums] = {}

    def observe(self, site: str, sigma: Tensor, relu: bool, reader: str = "") -> None:
        """Measure σ, [B, H] or [B, H, height, width], when its gradient arrives.

        To be called in the forward pass with the activations after the activation function and
        before dropout; they must not be changed in place afterwards. The loss is taken as a mean
        over the batch. Without a gradient, as in evaluation, nothing happens. A site that has several
        readers is observed for each of them, with its own gradient.
        """
        if not sigma.requires_grad:
            return
        values, key = sigma.detach(), f"{site}{READER}{reader}" if reader else site
        sigma.register_hook(  # type: ignore[no-untyped-call]  # torch gives it no types
            lambda gradient: self._add(key, values, gradient, relu)
        )

    def result(self) -> dict[str, Measured]:
        """A and B of every site seen since the last `reset`; sites and readers in the order of their names.

        Readers are added up: in another order, such as that of a loaded state, last digits would differ.
        """
        readers: dict[str, list[_Sums]] = {}
        for key, sums in sorted(self._sums.items()):
            readers.setdefault(key.partition(READER)[0], []).append(sums)
        return {site: _measured(each) for site, each in readers.items()}

    def reset(self) -> None:
        """Forget everything: the next epoch starts."""
        self._sums.clear()

    def state(self) -> dict[str, Tensor]:
        """Copies of the sums, float64: `site/sensitivity` [H], `site/positive` [H], `site/count` [1].

        Where there are several readers, `site/reader/sensitivity` and so on. All are sums over samples, so
        processes may add up theirs.
        """
        state = {}
        for key, sums in self._sums.items():
            state[f"{key}/sensitivity"] = sums.sensitivity.clone()
            state[f"{key}/positive"] = sums.positive.clone()
            state[f"{key}/count"] = torch.tensor([sums.count], dtype=torch.float64)
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned; on whatever device the next gradients are."""
        keys = dict.fromkeys(name.rpartition("/")[0] for name in state)
        self._sums = {
            key: _Sums(
                state[f"{key}/sensitivity"].clone(),
                state[f"{key}/positive"].clone(),
                int(state[f"{key}/count"].item()),
            )
            for key in keys
        }

    def _add(self, key: str, values: Tensor, gradient: Tensor, relu: bool) -> None:
        sums = self._sums_of(key, values)
        step = self._apart(values)
        for some, their_gradient in _in_cache(values, gradient, step):
            work = torch.empty_like(some)  # one buffer for both passes: less memory traffic
            if relu:
                sums.positive += _positive(some[::step], work[::step])
            # the gradient is that of the mean over the batch: times B it is that of the sum
            sums.sensitivity.add_(_effect(some, their_gradient, work), alpha=values.shape[0])
        sums.count += values[::step].numel() // values.shape[1]

    def _apart(self, values: Tensor) -> int:
        """How many samples lie from one whose positive activations are counted to the next."""
        activations = values.numel() // values.shape[1]
        return max(1, min(APART, activations // self._counted))

    def _sums_of(self, key: str, values: Tensor) -> _Sums:
        found = self._sums.get(key)
        if found is None:
            zeros = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
            found = self._sums[key] = _Sums(zeros, zeros.clone())
        elif found.sensitivity.device != values.device:
            found.sensitivity = found.sensitivity.to(values.device)
            found.positive = found.positive.to(values.device)
        return found


def importance(sensitivity: Floats, positive: Floats) -> Floats:
    """I = Σ_readers A·(1 - B³³) of each neuron, [H], from two of [R, H]."""
    weighted: Floats = (sensitivity * (1.0 - positive**POWER)).sum(0)
    return weighted


def scale(importances: Mapping[str, Floats], removable: Collection[str]) -> dict[str, Floats]:
    """Importances of the removable sites, in units of their mean over all removable neurons.

    Sites stay in the order of `importances`. Where all are 0 they stay 0.
    """
    kept = {site: values for site, values in importances.items() if site in removable}
    neurons = sum(values.size for values in kept.values())
    total = sum(float(values.sum()) for values in kept.values())
    unit = total / neurons if total > 0.0 else 1.0
    return {site: values / unit for site, values in kept.items()}


def _in_cache(values: Tensor, gradient: Tensor, step: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Both in blocks of samples; on a CPU so small that a block is still in its cache at the second pass.

    Blocks begin at multiples of `step`, so that every step-th sample of a block is one of the batch's.
    """
    samples = max(1, CACHED * values.shape[0] // values.numel()) if values.numel() else 1
    samples = -(-samples // step) * step
    if values.device.type != "cpu" or samples >= values.shape[0]:
        return [(values, gradient)]
    return zip(torch.split(values, samples), torch.split(gradient, samples), strict=True)


def _positive(values: Tensor, work: Tensor) -> Tensor:
    """How many activations of each neuron are positive: [H]."""
    torch.gt(values, 0, out=work)  # as 0.0 and 1.0: counting booleans is six times slower
    return _over_positions(work).sum(0)  # in two stages: at once is eight times slower


def _effect(values: Tensor, gradient: Tensor, work: Tensor) -> Tensor:
    """Σ_samples |Σ_positions σ·gradient|: [H] from two of [B, H, …]."""
    torch.mul(values, gradient, out=work)
    return _over_positions(work).abs_().sum(0)


def _over_positions(work: Tensor) -> Tensor:
    """Sums over the positions of each map: [B, H] from [B, H, …]."""
    return work.to(_wide(work)) if work.dim() == 2 else work.sum((2, 3), dtype=_wide(work))


def _wide(values: Tensor) -> torch.dtype:
    """The type in which one batch is summed: float32 or wider."""
    return torch.promote_types(values.dtype, torch.float32)


def _measured(readers: Sequence[_Sums]) -> Measured:
    return Measured(
        np.stack([sums.sensitivity.cpu().numpy() for sums in readers]),
        np.stack([sums.positive.cpu().numpy() / max(sums.count, 1) for sums in readers]),
    )
