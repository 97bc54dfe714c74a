"""A command's work on one version: network, optimizer, place and records; saved to the slot and read back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from nhnas.base import carry_sites
from nhnas.compiler.build import build, carried
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import write_slot
from nhnas.interrupt import stop_requests
from nhnas.report import Report
from nhnas.same_data import data_facts
from nhnas.spec.canonical import canonical
from nhnas.spec.config import Search, Train
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit, edit_to_dict
from nhnas.spec.errors import TrainingError
from nhnas.spec.model import Architecture
from nhnas.spec.schedule import settings_at
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.engine import Engine
from nhnas.trainer.evaluate import evaluate, outputs_of
from nhnas.trainer.loop import Hooks, Phase, Progress, run_phase
from nhnas.trainer.numerics import Numerics

WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
PROBE_SAMPLES = 256
SAVE_SECONDS = 600.0
"""After so long the state is saved within an epoch, too."""


@dataclass(frozen=True)
class Context:
    """What all work of one command shares."""

    spec: Path
    report: Report
    allow_import: bool = False
    fresh: bool = False
    probe_samples: int = PROBE_SAMPLES


@dataclass
class Work:
    """From the version `parent` to the next one, `version`.

    `document` is the file as it was at the start. `stage` says what comes next; `facts` are what the
    stages told each other, `rollbacks` how often training went back to its last good point, `saved` is the
    interrupted phase's state. All of it survives in the slot.
    """

    context: Context
    goal: dict[str, Any]
    document: Document
    version: int
    parent: str | None
    arch: Architecture
    engine: Engine
    dataset: Dataset
    exact: dict[str, Any]
    stage: str = ""
    progress: Progress = field(default_factory=Progress)
    edits: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    rollbacks: int = 0
    saved: tuple[dict[str, Any], Mapping[str, Mapping[str, Tensor]]] | None = None

    @property
    def train(self) -> Train:
        """Training settings in force for this version; a policy may lower the learning rate."""
        train = settings_at(self.document.search, self.document.train, self.exact["epochs"])[1]
        rate = self.facts.get("policy", {}).get("rate", 1.0)
        return train if rate == 1.0 else train.model_copy(update={"lr": train.lr * rate})

    @property
    def search(self) -> Search:
        """Search settings in force for this version."""
        return settings_at(self.document.search, self.document.train, self.exact["epochs"])[0]

    @property
    def numerics(self) -> Numerics:
        """How this version is computed."""
        return self.engine.numerics

    @property
    def batch_count(self) -> int:
        """Batches of an epoch."""
        return self.engine.batch_count

    def edit(self, edits: Sequence[Edit], stage: str, then: Callable[[], None] = lambda: None) -> None:
        """Change the architecture; weights and optimizer follow, and the change of the output is measured.

        What `then` does to the new network is part of that change.
        """
        if not edits:
            return
        before = self.probe()
        weights = {name: t.detach() for name, t in self.engine.network.tensors().items()}
        seed, parent = self.document.train.seed, self.parent or ""
        moments = self.engine.optimizer.entries()
        after = carried(self.arch, edits, weights, moments, seed=seed, parent=parent)
        self.arch = after.arch
        self.exact = {**self.exact, **carry_sites(self.exact, after.recipe.sites)}
        self.engine = self._engine(after.weights, after.optimizer, self.numerics)
        self.edits += [{"stage": stage, **edit_to_dict(edit)} for edit in edits]
        then()
        self.note_change(stage, before, self.probe())

    def compute(self, numerics: Numerics) -> None:
        """Go on like that with the same network and optimizer."""
        weights = {name: t.detach() for name, t in self.engine.network.tensors().items()}
        self.engine = self._engine(weights, self.engine.optimizer.entries(), numerics)

    def _engine(
        self, tensors: Mapping[str, Tensor], moments: dict[str, Tensor], numerics: Numerics
    ) -> Engine:
        network = build(self.arch, tensors, device=numerics.device, adopt=True)
        engine = make_engine(
            self.document, self.train, network, self.dataset, self.version, numerics, moments
        )
        engine.rate = 0.5**self.rollbacks
        return engine

    def probe(self) -> Tensor:
        """Outputs [N, O] of the network as it is now, over the probe samples."""
        return outputs_of(self.engine.network, self.dataset, self.dataset.test, self.context.probe_samples)

    def note_change(self, stage: str, before: Tensor, after: Tensor) -> None:
        """Record how far edits moved the outputs [N, O], and how many predictions.

        A person may give the last layer another width: then there is nothing to compare. Raises
        TrainingError where they moved to, or from, what is not finite.
        """
        if before.shape != after.shape:
            return
        changed = int((before.argmax(1) != after.argmax(1)).sum()) if self.dataset.is_classification else 0
        largest = float((before - after).abs().max())
        if not math.isfinite(largest):
            raise TrainingError(f"the outputs are not finite ({stage})")
        record = {"stage": stage, "max_change": largest, "changed": changed, "samples": len(before)}
        self.changes.append(record)

    def _test(self) -> dict[str, float]:
        """Figures of the test set; raises TrainingError where its loss is not finite."""
        test = evaluate(self.engine.network, self.dataset, self.dataset.test, self.train)
        if not math.isfinite(test["loss"]):
            raise TrainingError("the loss of the test set is not finite")
        return test

    def run(self, phase: Phase) -> None:
        """Train through `phase`, from its beginning or from where it was interrupted."""
        report = self.context.report

        def note(record: dict[str, Any]) -> None:
            if self.train.evaluate:
                record["test"] = self._test()
            self.metrics.append(record)
            report.epoch(record)

        last = time.monotonic()

        def save(midway: bool) -> None:
            nonlocal last
            self.save(phase, midway)
            last = time.monotonic()

        def due() -> bool:
            return time.monotonic() - last > SAVE_SECONDS

        if self.saved is None:
            self.save(phase)
        with stop_requests() as stop:
            hooks = Hooks(epoch=note, save=save, due=due, stop=stop, batch=report.batch)
            run_phase(self.engine, phase, self.progress, hooks)
        self.progress.next_phase()
        self.saved = None

    def save(self, phase: Phase, midway: bool = False) -> None:
        """Write everything to the slot, perhaps `midway` through an epoch."""
        data, tensors = phase.state()
        files: dict[str, Mapping[str, Tensor]] = {f"{name}.safetensors": t for name, t in tensors.items()}
        files[WEIGHTS] = {name: t.detach() for name, t in self.engine.network.tensors().items()}
        files[OPTIMIZER] = self.engine.optimizer.state()
        write_slot(
            store_folder(self.context.spec),
            spec_key(self.context.spec),
            self.goal,
            files,
            self._data(data),
            midway,
        )

    def _data(self, phase: dict[str, Any]) -> dict[str, Any]:
        return {
            "spec": self.document.text.decode(),
            "file_state": self.document.state,
            "version": self.version,
            "parent": self.parent,
            "architecture": canonical(self.arch),
            "numerics": self.numerics.as_dict(),
            "exact": self.exact,
            "stage": self.stage,
            "progress": self.progress.as_dict(),
            "edits": self.edits,
            "metrics": self.metrics,
            "changes": self.changes,
            "facts": self.facts,
            "rollbacks": self.rollbacks,
            "phase": phase,
            "data": data_facts(self.dataset),
        }


def moved_text(change: Mapping[str, Any], is_classification: bool) -> str:
    """`largest |Δoutput| 4.5e+00 over 256 samples, 49 predictions change`, of what `note_change` recorded."""
    largest = f"largest |Δoutput| {change['max_change']:.1e} over {change['samples']} samples"
    return f"{largest}, {change['changed']} predictions change" if is_classification else largest


def make_engine(
    document: Document,
    train: Train,
    network: Any,
    dataset: Dataset,
    version: int,
    numerics: Numerics,
    moments: dict[str, Tensor],
) -> Engine:
    """An engine for a document's data and training settings."""
    return Engine(network, dataset, train, document.data.augment, version, numerics, moments)
