"""The version that a command starts from: the file as it is, with the weights carried over to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from nhnas.compiler.build import carried, initial_weights
from nhnas.compiler.place import store_folder
from nhnas.compiler.recipe import RowRecipe
from nhnas.compiler.store import load_snapshot
from nhnas.edits_file import EditsFile
from nhnas.hand_edits import hand_edits
from nhnas.search.shortcuts import carry_record
from nhnas.spec.apply import apply
from nhnas.spec.canonical import bare, from_canonical
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture

NOTHING_TRAINED: dict[str, Any] = {"moving_average": {}, "epochs": 0}


@dataclass(frozen=True, eq=False)
class Base:
    """A document with its trained state.

    `state` None: untrained. `pending` are edits since the snapshot: what a person changed in `net`, then
    those that a command was given. `architecture`, `weights` and `optimizer` are what they lead to.
    `exact` is the snapshot's exact part; `before` and `before_weights` are as they were in the snapshot.
    """

    document: Document
    state: str | None
    version: int
    pending: tuple[Edit, ...]
    architecture: Architecture
    weights: dict[str, Tensor] = field(repr=False)
    optimizer: dict[str, Tensor] = field(repr=False)
    exact: dict[str, Any] = field(repr=False)
    before: Architecture | None
    before_weights: dict[str, Tensor] = field(repr=False)


def load_base(document: Document, spec: Path, *, fresh: bool = False, edits: EditsFile | None = None) -> Base:
    """Weights for the document: from its snapshot, carried over where a person edited `net`.

    `edits` come on top of what the file says. Raises InputError where the snapshot is not in the store or
    belongs to another input, and where `edits` do not fit or were planned for something else.
    """
    arch, seed, extra = document.architecture, document.train.seed, () if edits is None else edits.edits
    if document.state is None or fresh:
        arch = bare(apply(arch, extra))
        weights = initial_weights(arch, seed)
        return Base(document, None, 0, (), arch, weights, {}, NOTHING_TRAINED, None, {})
    snapshot = load_snapshot(store_folder(spec), document.state)
    before = from_canonical(snapshot.state["architecture"])
    if before.input != arch.input:
        raise InputError(
            f"{spec}: input is {list(arch.input)}, but the weights of {snapshot.id} are for "
            f"{list(before.input)}; put it back, or start untrained with --fresh"
        )
    weights, moments, exact = snapshot.weights, snapshot.optimizer, snapshot.state["exact"]
    if edits is not None and edits.plan is not None:
        edits.check(document, snapshot.version)
        pending = edits.edits
    else:
        pending = (*hand_edits(document, spec, snapshot.state), *extra)
    arch = apply(before, pending)
    if pending:
        after = carried(before, pending, weights, moments, seed=seed, parent=snapshot.id)
        weights, moments = after.weights, after.optimizer
        exact = carry_record({**exact, **carry_sites(exact, after.recipe.sites)}, before, pending)
    return Base(
        document,
        snapshot.id,
        snapshot.version,
        pending,
        arch,
        weights,
        moments,
        exact,
        before,
        snapshot.weights,
    )


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
