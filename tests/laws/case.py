"""One case of a law: an architecture, an edit list, and which forms they cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from nhnas.spec.apply import applied, site_size
from nhnas.spec.edits import Edit, RemoveNeurons
from nhnas.spec.model import Activation, Architecture, AvgPool, Conv, Dense, Flatten, MaxPool, ShortcutLeaf
from nhnas.spec.shapes import is_identity
from nhnas.spec.structure import leaves, nodes
from tests.laws.architectures import random_architecture
from tests.laws.edit_lists import random_edits

FORMS = (
    "conv",
    "dense",
    "three deep",
    "conv stream",
    "dense stream",
    "stride 2",
    "kernel override",
    "leaf kernel",
    "flatten",
    "pooling",
    "shortcut: false",
    "norm: none",
    "mixed norms",
    "activation",
    "four edits",
    "emptied",
)
KINDS = (
    *("add_neurons", "remove_neurons", "promote", "collapse", "drop_shortcut"),
    *("restore_shortcut", "insert_layer", "remove_layer", "swap_layer", "rename", "set"),
)
LEAST_SHARE = 0.10


@dataclass(frozen=True)
class Case:
    """`steps`: the architecture before each edit, and the last one."""

    seed: int
    arch: Architecture
    edits: tuple[Edit, ...]

    @cached_property
    def steps(self) -> tuple[Architecture, ...]:
        found = [self.arch]
        for edit in self.edits:
            found.append(applied(found[-1], edit))
        return tuple(found)

    @property
    def after(self) -> Architecture:
        return self.steps[-1]


def random_case(seed: int) -> Case:
    """The case of a seed: any sound architecture, any edits that fit it."""
    rng = Random(seed)
    arch = random_architecture(rng)
    return Case(seed, arch, random_edits(rng, arch))


def forms(arch: Architecture, steps: Sequence[Architecture], edits: Sequence[Edit]) -> frozenset[str]:
    """The forms of DESIGN §5 that an architecture and its edits cover."""
    return frozenset([*_chain_forms(arch), *_node_forms(arch), *_edit_forms(steps, edits)])


def _chain_forms(arch: Architecture) -> Iterator[str]:
    for layer in arch.net:
        if isinstance(layer, Conv | Dense):
            stream = " stream" if is_identity(layer) and layer.residual and layer.residual.hidden else ""
            yield f"{layer.op}{stream}"
            yield layer.op
        if isinstance(layer, Conv) and layer.stride == 2:
            yield "stride 2"
        if isinstance(layer, Flatten):
            yield "flatten"
        if isinstance(layer, MaxPool | AvgPool):
            yield "pooling"
        if isinstance(layer, Activation) or (isinstance(layer, Conv | Dense) and layer.act):
            yield "activation"


def _node_forms(arch: Architecture) -> Iterator[str]:
    for node in nodes(arch):
        if node.hidden and node.path.count(".") == 2:
            yield "three deep"
        if node.node.kernel is not None:
            yield "kernel override"
        if isinstance(node.node.shortcut, ShortcutLeaf) and node.node.shortcut.kernel is not None:
            yield "leaf kernel"
        if node.node.shortcut is False:
            yield "shortcut: false"
    if any(leaf.norm == "none" for leaf in leaves(arch) if leaf.op == "conv"):
        yield "norm: none"
    if {leaf.norm for leaf in leaves(arch) if leaf.op == "conv"} == {"batch", "none"}:
        yield "mixed norms"


def _edit_forms(steps: Sequence[Architecture], edits: Sequence[Edit]) -> Iterator[str]:
    if len(edits) >= 4:
        yield "four edits"
    for arch, edit in zip(steps, edits, strict=False):
        if isinstance(edit, RemoveNeurons) and len(edit.at) == site_size(arch, edit.site):
            yield "emptied"


@dataclass
class Shares:
    """Counts how many cases of one law cover each form."""

    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seeds: set[int] = field(default_factory=set)
    required: tuple[str, ...] = FORMS

    def record(self, case: Case) -> None:
        """Count one case."""
        self.cases += 1
        self.seeds.add(case.seed)
        self.counts.update(forms(case.arch, case.steps, case.edits))
        self.counts.update({edit.kind for edit in case.edits})

    def share(self, form: str) -> float:
        """Fraction of the cases that cover `form`."""
        return self.counts[form] / max(self.cases, 1)

    @property
    def distinct(self) -> int:
        """Number of different cases."""
        return len(self.seeds)

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.cases + other.cases, self.counts + other.counts, self.seeds | other.seeds)


SHARES = Shares()
"""Of the law that is running; `conftest.py` begins a new count for every test."""


def recorded(case: Case, kinds: tuple[str, ...] = ()) -> Case:
    """Count a case of the running law and pass it on; its edits must be of all `kinds` often enough."""
    SHARES.record(case)
    SHARES.required = (*FORMS, *kinds)
    return case
