"""Figures of a file that a goal may name: sizes, epochs, accuracy; never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.history import Info, load_info
from nhnas.compiler.place import snapshot_folder, store_folder
from nhnas.spec.apply import apply
from nhnas.spec.canonical import from_canonical, same_architecture
from nhnas.spec.document import Document
from nhnas.spec.edits import edit_from_dict, invert
from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture

SIZES = ("params", "macs", "neurons")
_TOTALS = {"params": "parameters"}
Numbers = dict[str, float]


@dataclass(frozen=True)
class Figures:
    """`now`: sizes, epochs, and where known accuracy or mse; `before`: the sizes before the last change.

    Accuracy and mse are those of `split`: the held-out samples where there are any, else the test samples.
    `pending`: the sizes are those of edits that no version has yet.
    """

    now: Numbers
    before: Numbers | None = None
    split: str = "test"
    pending: bool = False

    def text(self, name: str) -> str:
        """`70,312 params`, `test accuracy 92.10%`."""
        value = self.now.get(name)
        if name in ("accuracy", "mse"):
            shown = "not known" if value is None else f"{value:.2%}" if name == "accuracy" else f"{value:.3g}"
            return f"{self.split} {name} {shown}"
        return f"{int(value or 0):,} {name}"


def figures(document: Document, *, untrained: bool = False) -> Figures:
    """What the file's `net` and its last version say; `untrained`: as if it named no version.

    Raises InputError and StorageError where the version cannot be read.
    """
    sizes = _sizes(document.architecture)
    if document.state is None or document.path is None or untrained:
        return Figures({**sizes, "epochs": 0.0})
    store = store_folder(document.path)
    info = load_info(store, document.state)
    split, measured = _measured(info, document)
    now = {**sizes, "epochs": float(info.state["exact"]["epochs"]), **measured}
    if not same_architecture(from_canonical(info.state["architecture"]), document.architecture):
        return Figures(now, None, split, pending=True)
    return Figures(now, _before(info, store), split)


def sizes_of(info: Info) -> Numbers:
    """Sizes of a version."""
    totals = info.state["info"]["totals"]
    return {name: float(totals[_TOTALS.get(name, name)]) for name in SIZES}


def _measured(info: Info, document: Document) -> tuple[str, Mapping[str, float]]:
    known = info.state["info"]
    if "val" in known:
        return "val", known["val"]
    return ("val", {}) if document.data.val > 0.0 else ("test", known["test"])


def _before(info: Info | None, store: Path) -> Numbers | None:
    """Sizes at the start of the last step that changed any; a person's own edits are no step."""
    while info is not None:
        after = from_canonical(info.state["architecture"])
        own = [_edit(record) for record in info.edits if record["stage"] != "hand"]
        start = apply(after, invert(own))
        if _sizes(start) != _sizes(after):
            return _sizes(start)
        known = info.parent is not None and snapshot_folder(store, info.parent).is_dir()
        info = load_info(store, str(info.parent)) if known and len(own) == len(info.edits) else None
    return None


def _edit(record: Mapping[str, Any]) -> Any:
    return edit_from_dict({key: value for key, value in record.items() if key != "stage"})


def _sizes(arch: Architecture) -> Numbers:
    totals = measure(arch).as_dict()
    return {name: float(totals[_TOTALS.get(name, name)]) for name in SIZES}
