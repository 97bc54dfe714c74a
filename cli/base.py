"""The version that a command starts from: the file as it is, with the weights carried over to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nhnas.compiler.build import grown, initial_weights
from nhnas.compiler.place import store_folder
from nhnas.compiler.recipe import RowRecipe
from nhnas.compiler.remap import remap_optimizer
from nhnas.compiler.store import load_snapshot
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.search.shortcuts import carry_record
from nhnas.spec.canonical import canonical, from_canonical, same_architecture
from nhnas.spec.diff import Leavers, diff
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture
from nhnas.spec.paths import update

NOTHING_TRAINED: dict[str, Any] = {"moving_average": {}, "epochs": 0}


@dataclass(frozen=True, eq=False)
class Base:
    """A document with its trained state.

    `state` None: untrained. `pending` are hand edits of `net` since the snapshot; `weights` and
    `optimizer` are carried over to what the file says. `exact` is the snapshot's exact part.
    """

    document: Document
    state: str | None
    version: int
    pending: tuple[Edit, ...]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    exact: dict[str, Any]
    before: Architecture | None
    before_weights: dict[str, Tensor]


def load_base(document: Document, spec: Path, *, fresh: bool = False) -> Base:
    """Weights for the document: from its snapshot, carried over where a person edited `net`.

    Raises InputError where the snapshot is not in the store or belongs to another input.
    """
    arch, seed = document.architecture, document.train.seed
    if document.state is None or fresh:
        weights = initial_weights(arch, seed)
        return Base(document, None, 0, (), weights, {}, NOTHING_TRAINED, None, {})
    snapshot = load_snapshot(store_folder(spec), document.state)
    before = from_canonical(snapshot.state["architecture"])
    if before.input != arch.input:
        raise InputError(
            f"{spec}: input is {list(arch.input)}, but the weights of {snapshot.id} are for "
            f"{list(before.input)}; put it back, or start untrained with --fresh"
        )
    weights, moments, exact = snapshot.weights, snapshot.optimizer, snapshot.state["exact"]
    pending: tuple[Edit, ...] = ()
    if not same_architecture(before, arch):
        wanted = from_canonical(canonical(arch))  # a snapshot has no notes: they are no edit
        pending = diff(before, wanted, _leavers(exact.get("importance", {})), _renamed(before, wanted))
        _, recipe, weights = grown(before, pending, weights, seed=seed, parent=snapshot.id)
        moments = remap_optimizer(tensor_plans(arch, recipe), moments)
        exact = carry_record({**exact, **carry_sites(exact, recipe.sites)}, before, pending)
    return Base(
        document,
        snapshot.id,
        snapshot.version,
        pending,
        weights,
        moments,
        exact,
        before,
        snapshot.weights,
    )


def _leavers(importance: Mapping[str, Sequence[float | None]]) -> Leavers:
    """Where a person shrinks a site, unmeasured newcomers go first, then the least important."""

    def choose(site: str, neurons: int, leaving: int) -> tuple[int, ...]:
        values = importance.get(site, [None] * neurons)

        def order(neuron: int) -> tuple[bool, float, int]:
            value = values[neuron]
            return value is not None, value or 0.0, -neuron

        return tuple(sorted(sorted(range(neurons), key=order)[:leaving]))

    return choose


def _renamed(before: Architecture, after: Architecture) -> dict[str, str]:
    """Layers that have another name and are the same otherwise, at the same place of as long a chain."""
    if len(before.net) != len(after.net):
        return {}
    names = {layer.name for layer in after.net}
    return {
        old.name: new.name
        for old, new in zip(before.net, after.net, strict=True)
        if old.name not in names and update(old, name=new.name) == new
    }


def carry_sites(exact: dict[str, Any], sites: Mapping[str, RowRecipe]) -> dict[str, Any]:
    """`importance` (a number or None a neuron) and `moving_average`, moved along a recipe's sites."""
    importance, average = exact.get("importance", {}), exact.get("moving_average", {})
    moved = {
        key: [None if i < 0 else importance[rows.source][i] for i in rows.rows.tolist()]
        for key, rows in sites.items()
        if rows.source in importance
    }
    averages = {key: average[rows.source] for key, rows in sites.items() if rows.source in average}
    return {"importance": moved, "moving_average": averages}
