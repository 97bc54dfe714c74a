"""`nhnas plan`: what becomes of every tensor when the file is taken as it is; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nhnas.base import Base, load_base
from nhnas.compiler.build import build
from nhnas.compiler.recipe import compile_recipe
from nhnas.compiler.tensor_plan import TensorPlan, tensor_plans
from nhnas.edits_file import EditsFile
from nhnas.net_digest import net_digest
from nhnas.opening import sample_inputs
from nhnas.spec.document import read_document
from nhnas.spec.edits import Edit, edit_to_dict
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture
from nhnas.work import PROBE_SAMPLES

SAME = 1e-9
"""Largest |Δoutput| in float64, relative to the largest output, that is rounding and no change."""


@dataclass(frozen=True)
class TensorChange:
    """One tensor: shapes before (None: new) and after (None: gone), and how many cells stay, come and go."""

    name: str
    source: str | None
    old: tuple[int, ...] | None
    new: tuple[int, ...] | None
    kept: int
    added: int
    dropped: int

    @property
    def is_change(self) -> bool:
        """False for a tensor that stays as it is, under its name."""
        return bool(self.added or self.dropped) or self.source != self.name or self.old != self.new

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class OutputChange:
    """How far the outputs move, in float64 and evaluation mode, over `samples`.

    `inputs` says which samples they are. `preserved` is None where the outputs have another shape;
    `accuracy` of the samples before and after is known for classes of a data set that could be read.
    """

    preserved: bool | None
    max_change: float | None
    changed: int | None
    samples: int
    inputs: str
    accuracy: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Plan:
    """What carrying over a file's pending edits means. `before` is None for an untrained file."""

    base: Base
    net: str
    before: Architecture | None
    tensors: tuple[TensorChange, ...]
    output: OutputChange | None

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits since the snapshot."""
        return self.base.pending

    def identity(self) -> dict[str, Any]:
        """What `apply` compares, to refuse a plan that was made for something else."""
        return {"version": self.base.version, "state": self.base.state, "net": self.net}

    def as_dict(self) -> dict[str, Any]:
        """JSON data (DESIGN §8)."""
        after = self.base.architecture
        return {
            "version": self.base.version,
            "state": self.base.state,
            "edits": [edit_to_dict(edit) for edit in self.edits],
            "tensors": [change.as_dict() for change in self.tensors],
            "output": None if self.output is None else self.output.as_dict(),
            "before": measure(self.before or after).as_dict(),
            "after": measure(after).as_dict(),
        }


def plan_spec(spec: Path, edits: EditsFile | None = None) -> Plan:
    """What carrying the weights over to the file, with `edits` on top, would do.

    Never imports a data set by its dotted path: the outputs are then compared over random inputs. Raises
    InputError where the snapshot or the file cannot be used, or `edits` do not fit.
    """
    document = read_document(spec)
    base = load_base(document, spec, edits=edits)
    digest = net_digest(document.architecture)
    if base.before is None:
        return Plan(base, digest, None, (), None)
    tensors = tensor_changes(base.before, base.pending, base.before_weights)
    output = _output_change(base, spec) if base.pending else None
    return Plan(base, digest, base.before, tensors, output)


def tensor_changes(
    before: Architecture, edits: Sequence[Edit], weights: Mapping[str, Tensor]
) -> tuple[TensorChange, ...]:
    """Every tensor of the new network, then those that go."""
    after, recipe = compile_recipe(before, edits)
    plans = tensor_plans(after, recipe)
    used = {plan.source for plan in plans.values()}
    gone = {name: tensor for name, tensor in weights.items() if name not in used}
    anew = {plan.name: gone.pop(plan.name, None) for plan in plans.values() if plan.source is None}
    found = [_change(plan, weights, anew.get(plan.name)) for plan in plans.values()]
    lost = [TensorChange(name, name, tuple(t.shape), None, 0, 0, t.numel()) for name, t in gone.items()]
    return (*found, *lost)


def _change(plan: TensorPlan, weights: Mapping[str, Tensor], gone: Tensor | None) -> TensorChange:
    """One tensor of the new network; `gone` is one of its name that has no successor."""
    shape = tuple(index.size for index in plan.maps)
    cells = prod(shape)
    if plan.source is None:
        old_shape, dropped = (None, 0) if gone is None else (tuple(gone.shape), gone.numel())
        return TensorChange(plan.name, None, old_shape, shape, 0, cells, dropped)
    old = weights[plan.source]
    kept = prod(int((index >= 0).sum()) for index in plan.maps)
    return TensorChange(
        plan.name, plan.source, tuple(old.shape), shape, kept, cells - kept, old.numel() - kept
    )


def _output_change(base: Base, spec: Path) -> OutputChange:
    inputs, targets, told = _samples(base, spec)
    before = _outputs(base.before, base.before_weights, inputs)
    after = _outputs(base.architecture, base.weights, inputs)
    if before.shape != after.shape:
        return OutputChange(None, None, None, len(inputs), told)
    largest = float((before - after).abs().max())
    preserved = largest <= SAME * max(1.0, float(before.abs().max()))
    if base.document.train.loss == "mse":
        return OutputChange(preserved, largest, None, len(inputs), told)
    changed = int((before.argmax(1) != after.argmax(1)).sum())
    accuracy = None
    if targets is not None:
        hits = [int((outputs.argmax(1) == targets).sum()) / len(targets) for outputs in (before, after)]
        accuracy = (hits[0], hits[1])
    return OutputChange(preserved, largest, changed, len(inputs), told, accuracy)


def _samples(base: Base, spec: Path) -> tuple[Tensor, Tensor | None, str]:
    """Inputs [N, *input] to compare over, their classes or values where known, and what they are."""
    shape = base.architecture.input
    if ":" not in base.document.data.dataset:
        try:
            inputs, targets = sample_inputs(base.document, spec, PROBE_SAMPLES)
        except InputError as error:
            reason = str(error).splitlines()[0]
        else:
            if tuple(inputs.shape[1:]) == shape:
                return inputs, targets, "test samples"
            reason = f"the data set gives {list(inputs.shape[1:])}"
    else:
        reason = "plan never imports a data set"
    draw = torch.Generator().manual_seed(base.document.train.seed)
    return torch.randn(PROBE_SAMPLES, *shape, generator=draw), None, f"random inputs ({reason})"


def _outputs(arch: Architecture | None, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Outputs [N, O] in float64."""
    if arch is None:
        raise ValueError("an untrained network has no outputs to compare")
    network = build(arch, weights, dtype=torch.float64).eval()
    with torch.no_grad():
        outputs: Tensor = network(inputs.double())
    return outputs
