"""What the data of a version were: class names, mean and deviation, in its `info`; never imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nhnas.compiler.history import load_info
from nhnas.compiler.place import store_folder
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError

if TYPE_CHECKING:
    from nhnas.trainer.dataset import Dataset

TRAINED_ON, SAMPLES = "trained_on", "samples"
"""Key of a version's `info`; and, there, of the number of all training samples."""


def samples_of(dataset: Dataset) -> int:
    """All training samples, those that are held out of them among them."""
    return len(dataset.train) + (0 if dataset.val is None else len(dataset.val))


def facts_at(spec: Path, state: str) -> dict[str, Any]:
    """`classes`, `mean`, `std` and `samples` of the version `state`; nothing where it does not keep them."""
    facts: dict[str, Any] = load_info(store_folder(spec), state).state["info"].get(TRAINED_ON, {})
    return facts


def facts_of(spec: Path) -> dict[str, Any]:
    """`facts_at` the version that the file names; raises InputError where there are none."""
    state = read_document(spec).state
    if state is None:
        raise InputError(f"{spec}: is untrained; nhnas step trains it")
    facts = facts_at(spec, state)
    if not facts:
        raise InputError(f"{spec}: version {state} was saved before this was kept; the next version has it")
    return facts
