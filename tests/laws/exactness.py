"""The law that growth, removal after fading and restructuring leave the output as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn

from nhnas.compiler import build as build_module
from nhnas.compiler.fade_plan import fade_plan
from nhnas.compiler.network import Network
from nhnas.compiler.network import Node as Inner
from nhnas.spec.apply import apply
from nhnas.spec.edits import DropShortcut, Edit, RemoveNeurons
from nhnas.spec.model import Architecture
from nhnas.spec.structure import leaves
from tests.laws import fading
from tests.laws.architectures import random_architecture
from tests.laws.case import Case
from tests.laws.edit_lists import collapse, collect, drop, exact_edits, fits, leaving
from tests.laws.tensors import random_tensors

TOLERANCE = 1e-12
SAMPLES = 6


@dataclass(frozen=True)
class ExactCase(Case):
    """A case whose edits leave the output as it is, once `leaving` and `dropped` have faded."""

    leaving: tuple[RemoveNeurons, ...] = ()
    dropped: tuple[DropShortcut, ...] = ()


def exact_case(seed: int) -> ExactCase:
    """What a search does in one step: remove, drop a shortcut, collapse, then all that needs no fading."""
    rng = Random(seed)
    arch = random_architecture(rng)
    going = leaving(rng, arch) if rng.random() < 0.7 else ()
    going = going if fits(arch, going) else ()
    middle = apply(arch, going)
    dropped = collect(rng, middle, (drop,), 1) if rng.random() < 0.2 else ()
    middle = apply(middle, dropped)
    gone = collect(rng, middle, (collapse,), 1) if rng.random() < 0.5 else ()
    edits: tuple[Edit, ...] = (*going, *dropped, *gone)
    edits += exact_edits(rng, apply(middle, gone))
    return ExactCase(seed, arch, edits, going, tuple(e for e in dropped if isinstance(e, DropShortcut)))


def check_exact(case: ExactCase) -> None:
    """The output before and after, in eval mode and, without dropout, in train mode (float64)."""
    tensors = faded_tensors(case)
    after, _, moved = build_module.grown(case.arch, case.edits, tensors, seed=case.seed, parent="p")
    x = torch.randn(SAMPLES, *case.arch.input, generator=generator(case.seed), dtype=torch.float64)
    old, new = build_module.build(case.arch, tensors), build_module.build(after, moved)
    for training in (False, True):
        for network in (old, new):
            without_dropout(network.train(training))
        with torch.no_grad():
            expected, found = old(x), new(x)
        scale = max(1.0, float(expected.abs().max()))
        assert float((expected - found).abs().max()) <= TOLERANCE * scale, training


def faded_tensors(case: ExactCase) -> dict[str, Tensor]:
    """Random tensors at the end of fading."""
    tensors = fading.faded(case.arch, case.leaving, random_tensors(case.arch, case.seed))
    paths = {edit.path for edit in case.dropped}
    for leaf in leaves(case.arch):
        if leaf.path in paths:
            fading.silence(leaf, tensors)
    return tensors


def check_fade_plan(case: ExactCase) -> None:
    """The trainer's plan fades exactly the cells of the reference."""
    tensors = random_tensors(case.arch, case.seed)
    expected = fading.faded(case.arch, case.leaving, tensors)
    found = follow_plan(case.arch, case.leaving, tensors)
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def follow_plan(
    arch: Architecture, going: Sequence[RemoveNeurons], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What `fade_plan` says, at its end."""
    plan = fade_plan(arch, {edit.site: edit.at for edit in going})
    result = {name: tensor.clone() for name, tensor in tensors.items()}
    for name, columns in plan.columns.items():
        result[name][:, list(columns)] = 0.0
    for name in plan.whole:
        result[name].zero_()
    return result


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def without_dropout(network: Network) -> None:
    """Dropout 0 everywhere, also inside nodes."""
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        if isinstance(module, Inner) and module.first is not None:
            module.dropout = 0.0
