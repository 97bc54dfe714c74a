"""A run to draw, and what its store and its figures say of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nhnas.compiler.history import Info, lineage
from nhnas.compiler.place import store_folder
from nhnas.plot import numbers
from nhnas.spec.document import read_document
from tests import tiny

SCHEDULE = (
    "schedule: [{until: 5, lr: 0.01, add: 30, add_to_remove: 9.0}, {until: 99, add: 4, add_to_remove: 0.2}], "
)


def trained_run(folder: Path) -> Path:
    """A run that grows for two versions, then shrinks, and a version trained alone."""
    spec = tiny.make(folder, scheduled(tiny.DENSE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        tiny.run(spec, steps=4)
        tiny.train(spec, epochs=3)
    return spec


def scheduled(text: str) -> str:
    """A spec that grows, then shrinks."""
    return text.replace("search: {add: 8, ", f"search: {{add: 8, {SCHEDULE}")


def infos(spec: Path) -> list[Info]:
    """What the store has of the versions, read without the code under test."""
    state = read_document(spec).state
    assert state is not None
    return lineage(store_folder(spec), state)


def figure(spec: Path, name: str, *baselines: Path) -> dict[str, Any]:
    """The JSON data of one figure."""
    (found,) = numbers(spec, name, baselines)
    assert name == found["figure"]
    return found


def series(spec: Path, name: str, *baselines: Path) -> dict[str, Any]:
    """x and y of every series of a figure, by name."""
    return {one["name"]: (one["x"], one["y"]) for one in figure(spec, name, *baselines)["series"]}


def totals(info: Info) -> Any:
    """What a version counted."""
    return info.state["info"]["totals"]


def ends(spec: Path) -> list[int]:
    """Epochs of the lineage at the end of each version."""
    return [info.state["exact"]["epochs"] for info in infos(spec)]


def flat(spec: Path, key: str) -> list[Any]:
    """A key of all epochs' records, None where one lacks it."""
    return [record.get(key) for info in infos(spec) for record in info.metrics]
