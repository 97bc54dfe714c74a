"""Classes keep their numbers: a folder that is renamed must not shift what the weights have learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nhnas.class_facts import SAMPLES, facts_at, samples_of
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown
from nhnas.trainer.dataset import Dataset


def trained_on(dataset: Dataset) -> dict[str, Any]:
    """`classes` by number, `mean` and `std` a channel (brightest pixel = 1), each None without; `samples`.

    These are all training samples, those that are held out of them (`data.val`) among them.
    """
    moments = {"mean": dataset.mean, "std": dataset.std}
    return {
        SAMPLES: samples_of(dataset),
        "classes": names_of(dataset),
        **{key: None if value is None else value.tolist() for key, value in moments.items()},
    }


def names_of(dataset: Dataset) -> list[str] | None:
    """Names of the classes by number, where they have names, as JSON keeps them."""
    return None if dataset.classes is None else list(dataset.classes)


def check_classes(spec: Path, state: str | None, dataset: Dataset) -> None:
    """Raises InputError where a class has another number than when the weights of `state` were trained.

    A folder that is renamed, added or removed shifts those that sort after it, and what is predicted.
    """
    if state is None:
        return
    before = facts_at(spec, state).get("classes")
    check_numbers(spec, before, dataset, "when the weights were trained", "or start untrained with --fresh")


def check_numbers(
    spec: Path, before: Sequence[str] | None, dataset: Dataset, when: str, otherwise: str
) -> None:
    """Raises InputError where a class has another number than `when` they were called `before`."""
    if before is None or dataset.classes is None:
        return
    if (moved := _moved(before, dataset.classes)) is not None:
        now = dataset.classes.index(moved)
        raise InputError(
            f"{spec}: class {shown(moved)} is number {now} of {dataset.name}, and was {before.index(moved)} "
            f"{when}; classes are numbered in the order of their names: rename folders "
            f"so that each keeps its number, {otherwise}"
        )


def _moved(before: Sequence[str], now: Sequence[str]) -> str | None:
    """The first name that both have, at another number."""
    at = {name: number for number, name in enumerate(before)}
    return next((name for number, name in enumerate(now) if at.get(name, number) != number), None)
