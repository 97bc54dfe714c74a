"""What the store kept of a run, as numbers to draw; never imports torch and never a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.history import ADVICE, Info, lineage
from nhnas.compiler.place import store_folder
from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError

COUNTS = ("neurons", "parameters", "macs", "depth", "depth10")


@dataclass(frozen=True)
class Epoch:
    """One record of a version's metrics; `at`: epochs of the lineage when it was over.

    `loss` and `accuracy` (None: no classes) are running means over its `batches`, as it was trained: with
    dropout and augmentation. `lr` is that of its last batch. `test`: figures of the test set after it, empty
    without `train.evaluate`.
    """

    at: int
    phase: str
    batches: int
    lr: float
    loss: float
    accuracy: float | None
    test: Mapping[str, float]


@dataclass(frozen=True)
class Version:
    """One saved version; `start` and `end` are epochs of the lineage.

    `counts` has the keys `COUNTS`; `test` what was measured when it was saved; `verdict` why its fit ended
    (None: it had none); `policy` what `policy: auto` decided (add, remove, rate; empty without it);
    `spec_text` is the file as it was saved; `settings` its sections as it was trained with them (empty: not
    recorded).
    """

    number: int
    state: str
    start: int
    end: int
    counts: dict[str, int]
    test: dict[str, float]
    verdict: str | None
    policy: dict[str, float]
    epochs: tuple[Epoch, ...]
    spec_text: bytes
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Track:
    """The versions that led to a file, oldest first, at least one; `measure` is accuracy or mse."""

    path: Path
    document: Document
    versions: tuple[Version, ...]

    @property
    def name(self) -> str:
        """What the file is called in a picture."""
        return self.document.name

    @property
    def measure(self) -> str:
        """What the last version was measured by."""
        return "accuracy" if "accuracy" in self.versions[-1].test else "mse"


def read_track(path: Path) -> Track:
    """The run of a spec file. Raises InputError where it is untrained or its store does not know it."""
    document = read_document(path)
    if document.state is None:
        raise InputError(f"{path}: no version has been trained yet; `nhnas step {path}` trains the first")
    infos = lineage(store_folder(path), document.state)
    return Track(path, document, _versions(infos))


def _versions(infos: Sequence[Info]) -> tuple[Version, ...]:
    ends = [0, *(_epochs_of(info) for info in infos)]
    if infos[0].parent is not None:  # the store does not go back to the first version
        ends[0] = ends[1] - max((record.get("epoch", 0) for record in infos[0].metrics), default=0)
    return tuple(_version(info, start) for info, start in zip(infos, ends, strict=False))


def _epochs_of(info: Info) -> int:
    epochs = info.state["exact"].get("epochs")
    if type(epochs) is not int:
        raise InputError(f"snapshot {info.id}: has no count of epochs; {ADVICE}")
    return epochs


def _version(info: Info, start: int) -> Version:
    known = info.state["info"]
    try:
        return Version(
            number=info.version,
            state=info.id,
            start=start,
            end=_epochs_of(info),
            counts={key: int(known["totals"][key]) for key in COUNTS},
            test={key: float(value) for key, value in known["test"].items()},
            verdict=None if known["facts"].get("fit") is None else str(known["facts"]["fit"]),
            policy={
                key: float(value)
                for key, value in known["facts"].get("policy", {}).items()
                if key in ("add", "remove", "rate")
            },
            epochs=tuple(_epoch(record, start) for record in info.metrics),
            spec_text=info.spec_text,
            settings=dict(known.get("settings", {})),
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"snapshot {info.id}: its record cannot be drawn ({reason}); {ADVICE}") from None


def _epoch(record: dict[str, Any], start: int) -> Epoch:
    return Epoch(
        at=start + int(record["epoch"]),
        phase=str(record["phase"]),
        batches=int(record["batches"]),
        lr=float(record["lr"]),
        loss=float(record["loss"]),
        accuracy=float(record["accuracy"]) if "accuracy" in record else None,
        test={key: float(value) for key, value in record.get("test", {}).items()},
    )
