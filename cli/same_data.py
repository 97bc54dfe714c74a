"""An interrupted command goes on with the data that it began with: its place is counted in their batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nhnas.class_names import check_numbers, names_of
from nhnas.spec.errors import InputError
from nhnas.trainer.dataset import Dataset

OTHERWISE = "or drop the interrupted command with --discard"


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """What a slot keeps of the data: how many samples there are to train on and held out, and the classes."""
    return {
        "samples": {which: len(split) for which, split in dataset.splits.items() if which != "test"},
        "classes": names_of(dataset),
    }


def check_same(spec: Path, before: Mapping[str, Any] | None, dataset: Dataset) -> None:
    """Raises InputError where samples came or went, or a class has another number.

    `before` are the facts of the slot; None where an older version of nhnas wrote it.
    """
    if before is None:
        return
    then, now = before["samples"], data_facts(dataset)["samples"]
    for which in ("train", "val"):  # some slots tell of test samples: no place is counted in those
        begun, found = then.get(which, 0), now.get(which, 0)
        if begun != found:
            raise InputError(
                f"{spec}: the interrupted command began with {begun:,} samples in the {which} split of "
                f"{dataset.name}, and there are {found:,} now; put back what it began with, {OTHERWISE}"
            )
    check_numbers(spec, before["classes"], dataset, "when the interrupted command began", OTHERWISE)
