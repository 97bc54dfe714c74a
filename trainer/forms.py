"""Which way of computing a network is fastest here, by measuring it (DESIGN §9): never by belief.

A form is a precision, a memory format, and whether leaves that read the same input run as one. First the
precisions are timed in turn, round after round, on the first samples of training, then the forms of the one
that is taken: the fastest, unless a simpler one, or that of the version before, is as fast. bfloat16 is taken
only if it gives the same loss. Where a pass is short one thread is tried against all of them.

Legend: B batch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nhnas.compiler.network import Network, Node
from nhnas.spec.config import Train
from nhnas.trainer.engine import loss_of
from nhnas.trainer.numerics import Numerics, autocast, use_numerics

Sample = tuple[Tensor, Tensor]
"""Inputs [B, *input] as the network takes them, and targets [B] or [B, T]."""

SECONDS = 1.0
"""What measuring may take, as long as there are enough samples; of large networks they take some seconds."""
ROUNDS, TRIES = 5, 2
"""Passes of each form at most, and at least: one alone may be disturbed by whatever else runs."""
FEW, ENOUGH = 4, 16
"""Samples to see how slow a network is, and to measure with: fewer fit a cache, and other forms win there."""
SLOW, SHORT = 1.5, 0.02
"""Times the fastest: forms that get no further try; seconds: longer passes gain from every thread."""
GAIN = 1.03
"""How much faster a form must be than a simpler one, or than the one of the version before."""
COMPARED = 32
"""Samples of each of the first batches over which precisions must agree."""
AGREEING = 0.01
"""Share of the loss by which bfloat16 may be off, over the first batches; far less than one step moves it."""
ROOM = 0.002
"""Added to that, where the loss is almost 0."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a pass forward and back over `samples` samples, by form and by number of threads.

    `refused` are faster precisions that were not taken, since they give another loss.
    """

    samples: int
    forms: dict[str, float]
    threads: dict[str, float]
    refused: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON data."""
        more = {"refused": list(self.refused)} if self.refused else {}
        return {"samples": self.samples, "forms": self.forms, "threads": self.threads, **more}


def name_of(numerics: Numerics) -> str:
    """`bfloat16 channels_last fused`."""
    return f"{numerics.precision} {numerics.memory_format} {'fused' if numerics.fused else 'plain'}"


def measured(
    numerics: Numerics, network: Network, drawn: Iterable[Sample], train: Train, before: str | None = None
) -> tuple[Numerics, Timing | None]:
    """`numerics` with the fastest form for training `network`, which stays as it is, and what was measured.

    `drawn` are the first batches; deterministic runs draw and measure nothing and keep what they were given.
    Where `train.threads` is given, the number of threads is not tried. `before` is the form of the version
    before, by name: it stays unless another one is clearly faster.
    """
    if numerics.deterministic:
        return numerics, None
    samples = list(drawn)
    precisions = _precisions(numerics, train, samples[0][0].dim() == 4)
    forms = [_in_precision(numerics, precision, network, samples[0][0]) for precision in precisions]
    batch = _cut(samples[0], _count(_Trial(forms[0][0], network, train), samples[0], len(forms[0])))
    first: dict[str, float] = {}
    if len(forms) > 1:  # the most elaborate form of each, first
        first = _round_robin([_Trial(some[-1], network, train) for some in forms], batch)
    chosen, refused = forms[0], []
    for some in forms[1:]:
        gain = 1 / GAIN if before in [name_of(form) for form in some] else GAIN
        if first[name_of(some[-1])] * gain < first[name_of(chosen[-1])]:
            if agree(forms[0][-1], some[-1], network, samples, train):
                chosen = some
            else:
                refused.append(some[-1].precision)
    times = _round_robin([_Trial(form, network, train) for form in chosen], batch)
    times = {**first, **{name: min(took, first.get(name, took)) for name, took in times.items()}}
    best = _fastest(chosen, times, before)
    threads: dict[str, float] = {}
    if train.threads is None and best.device == "cpu" and times[name_of(best)] < SHORT:
        best, threads = _threads(best, _Trial(best, network, train), batch)
    use_numerics(best)
    milliseconds = {name: _milli(seconds) for name, seconds in times.items()}
    return best, Timing(len(batch[0]), milliseconds, threads, tuple(refused))


def _in_precision(numerics: Numerics, precision: str, network: Network, inputs: Tensor) -> list[Numerics]:
    """The forms of a precision, the simplest first."""
    layouts = ("contiguous", "channels_last") if inputs.dim() == 4 else ("contiguous",)
    fusing = (False, True) if _can_fuse(network) else (False,)
    return [
        replace(numerics, precision=precision, memory_format=layout, fused=fused)  # type: ignore[arg-type]
        for layout in layouts
        for fused in fusing
    ]


def _precisions(numerics: Numerics, train: Train, maps: bool) -> tuple[str, ...]:
    """bfloat16 is tried for classes of maps; values, and few features, need more than its 8 bits."""
    if train.precision != "auto" or not maps or train.loss != "cross_entropy":
        return (numerics.precision,)
    if numerics.device == "cuda" and not torch.cuda.is_bf16_supported():
        return ("float32",)
    return ("float32", "bfloat16")


def _can_fuse(network: Network) -> bool:
    return any(isinstance(module, Node) and module.first is not None for module in network.modules())


def _fastest(forms: Sequence[Numerics], times: dict[str, float], before: str | None) -> Numerics:
    """The one of before, else the first, that no other one beats clearly."""
    best = next((form for form in forms if name_of(form) == before), forms[0])
    for form in forms:
        if times[name_of(form)] * GAIN < times[name_of(best)]:
            best = form
    return best


class _Trial:
    """A copy of the network in one form."""

    def __init__(self, numerics: Numerics, network: Network, train: Train) -> None:
        self.numerics, self._train = numerics, train
        trial: Any = copy.deepcopy(network).to(numerics.device, memory_format=numerics.torch_format)  # type: ignore[call-overload]
        self.network: Network = trial.fuse(numerics.fused).train()

    def loss(self, sample: Sample) -> Tensor:
        """As in training, without label smoothing."""
        inputs, targets = (part.to(self.numerics.device) for part in sample)
        if inputs.dim() == 4:
            inputs = inputs.to(memory_format=self.numerics.torch_format)
        with autocast(self.numerics):
            outputs = self.network(inputs)
        return loss_of(outputs.float(), targets, self._train, 0.0)

    def seconds(self, sample: Sample, clock: Callable[[], float] = time.perf_counter) -> float:
        """Of one pass forward and back."""
        self.network.zero_grad(set_to_none=False)
        begun = clock()
        self.loss(sample).backward()  # type: ignore[no-untyped-call]
        if self.numerics.device == "cuda":
            torch.cuda.synchronize()
        return clock() - begun


def _clock(numerics: Numerics) -> Callable[[], float]:
    """One thread on the processor computes here alone, whatever else the machine has to do meanwhile."""
    alone = numerics.device == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if alone else time.perf_counter


def _count(trial: _Trial, sample: Sample, forms: int) -> int:
    """With how many samples to measure."""
    first = _cut(sample, FEW)
    trial.seconds(first)
    each = trial.seconds(first) / len(first[0])
    return min(len(sample[0]), max(ENOUGH, int(SECONDS / (ROUNDS * forms) / each)))


def _cut(sample: Sample, count: int) -> Sample:
    return sample[0][:count], sample[1][:count]


def _round_robin(trials: Sequence[_Trial], sample: Sample) -> dict[str, float]:
    """The fastest pass of each: others may use the machine, for a while."""
    begun, clock = time.perf_counter(), _clock(trials[0].numerics)
    for trial in trials:
        trial.seconds(sample)
    times = {name_of(trial.numerics): float("inf") for trial in trials}
    for tries in range(ROUNDS):
        if tries >= TRIES and time.perf_counter() - begun > SECONDS:
            break
        best = min(times.values())
        for trial in trials:
            name = name_of(trial.numerics)
            if tries < TRIES or times[name] <= SLOW * best:
                times[name] = min(trial.seconds(sample, clock), times[name])
    return times


def _threads(numerics: Numerics, trial: _Trial, sample: Sample) -> tuple[Numerics, dict[str, float]]:
    """One thread where it is as fast as all: in small networks threads wait for each other."""
    times = {numerics.threads: float("inf"), 1: float("inf")}
    for _ in range(ROUNDS):
        for threads in times:
            torch.set_num_threads(threads)
            times[threads] = min(times[threads], trial.seconds(sample))
    best = 1 if times[1] < times[numerics.threads] * GAIN else numerics.threads
    return replace(numerics, threads=best), {str(threads): _milli(t) for threads, t in times.items()}


def agree(exact: Numerics, fast: Numerics, network: Network, samples: Sequence[Sample], train: Train) -> bool:
    """Whether the mean loss of the first batches is the same in both forms, but for `AGREEING`."""
    means = []
    for form in (exact, fast):
        trial = _Trial(form, _without_dropout(network), train)
        with torch.no_grad():
            means.append(sum(trial.loss(_cut(sample, COMPARED)).item() for sample in samples) / len(samples))
    return abs(means[1] - means[0]) <= AGREEING * abs(means[0]) + ROOM


def _without_dropout(network: Network) -> Network:
    """A copy of it; the forms would draw different numbers."""
    still = copy.deepcopy(network)
    for module in still.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif isinstance(module, Node):
            module.dropout = 0.0
    return still


def _milli(seconds: float) -> float:
    return round(1e3 * seconds, 3)
