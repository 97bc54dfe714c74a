"""Opening the work on a version: fresh from a base, or from the slot of an interrupted command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nhnas.base import Base
from nhnas.class_names import check_classes
from nhnas.compiler.build import build
from nhnas.compiler.slot import Slot
from nhnas.log import edits_text
from nhnas.measuring import measure
from nhnas.reached import contradiction
from nhnas.same_data import check_same
from nhnas.spec.canonical import from_canonical
from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.edits import edit_to_dict
from nhnas.spec.errors import InputError
from nhnas.spec.explain import report
from nhnas.spec.schedule import settings_at
from nhnas.spec.shown import shown
from nhnas.spec.structure import structure
from nhnas.spec.train_findings import batch_findings
from nhnas.trainer.batches import ordered_batches
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.datasets import check_fits, load_dataset
from nhnas.trainer.evaluate import outputs_of, spread
from nhnas.trainer.loop import Progress
from nhnas.trainer.numerics import Numerics, choose_numerics, use_numerics
from nhnas.work import OPTIMIZER, WEIGHTS, Context, Work, make_engine, moved_text

GROWING = ("step", "run")
"""Commands that measure how to compute when the network has grown."""


def load_data(document: Document, context: Context) -> Dataset:
    """The document's data set; raises InputError where it does not fit the architecture."""
    folder = context.spec.resolve().parent
    dataset = load_dataset(
        document.data, seed=document.train.seed, folder=folder, allow_import=context.allow_import
    )
    arch = document.architecture
    output = structure(arch)[-1].writes
    check_fits(dataset, arch.input, output.features, document.train.loss, output.map)
    if found := batch_findings(document.architecture, document.train.batch):
        raise InputError("\n".join(report(shown(context.spec, 300), document.tree, found)))
    return dataset


def here(document: Document) -> Document:
    """The document, for commands that only read: they download nothing."""
    return replace(document, data=document.data.model_copy(update={"download": False}))


def sample_inputs(document: Document, spec: Path, count: int) -> tuple[Tensor, Tensor]:
    """`count` test samples [N, *input] as they are evaluated, and their targets; raises InputError."""
    folder = spec.resolve().parent
    dataset = load_dataset(here(document).data, seed=document.train.seed, folder=folder)
    some = dataset.test.take(spread(count, len(dataset.test)))
    batch = next(iter(ordered_batches(some, count, dataset.mean, dataset.std, "cpu")))
    return batch.inputs, batch.targets


def begin(context: Context, base: Base, goal: dict[str, Any], version: int) -> Work:
    """Fresh work on the version after `base`."""
    document = base.document
    if not context.fresh and (told := contradiction(document, base.version)):
        context.report.say(told)
    dataset = load_data(document, context)
    check_classes(context.spec, base.state, dataset)
    numerics = choose_numerics(document.train)
    use_numerics(numerics)
    train = settings_at(document.search, document.train, base.exact["epochs"])[1]
    network = build(base.architecture, base.weights, device=numerics.device)
    engine = make_engine(document, train, network, dataset, version, numerics, base.optimizer)
    work = Work(context, goal, document, version, base.state, base.architecture, engine, dataset, base.exact)
    if goal.get("request", {}).get("command") not in GROWING:
        measure(work)
    if base.pending and base.before is not None:
        old = build(base.before, base.before_weights, device=numerics.device)
        before = outputs_of(old, dataset, dataset.test, context.probe_samples)
        work.edits += [{"stage": "hand", **edit_to_dict(edit)} for edit in base.pending]
        work.note_change("hand", before, work.probe())
        _tell(work, context)
    return work


def _tell(work: Work, context: Context) -> None:
    """That, and how far, the outputs moved when the weights were carried over to a person's edits."""
    moved = [moved_text(change, is_classification=False) for change in work.changes]
    told = "; ".join([f"carried the weights over to your edits: {edits_text(work.edits)}", *moved])
    context.report.say(told)


def _read_as_now(document: Document, spec: Path) -> Document:
    """The document with the `data.workers` that the file has now: who reads the images changes no number."""
    with suppress(InputError):  # a person may be writing it
        now = read_document(spec).data
        if now.dataset == document.data.dataset:
            data = document.data.model_copy(update={"workers": now.workers})
            return replace(document, data=data)
    return document


def _present(numerics: Numerics, context: Context) -> Numerics:
    """How the interrupted command computed; raises InputError where that cannot be done here."""
    if numerics.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"{context.spec}: the interrupted command computed on cuda, and there is none here; go on where "
            "one is, or --discard it"
        )
    return numerics


def resume(context: Context, slot: Slot) -> Work:
    """The work that a slot holds; raises InputError where its device, or its data, are not here."""
    data = slot.data
    document = parse_document(data["spec"].encode(), context.spec)
    dataset = load_data(_read_as_now(document, context.spec), context)
    check_same(context.spec, data.get("data"), dataset)
    numerics = _present(Numerics(**data["numerics"]), context)
    use_numerics(numerics)
    arch = from_canonical(data["architecture"])
    train = settings_at(document.search, document.train, data["exact"]["epochs"])[1]
    network = build(arch, slot.tensors[WEIGHTS], device=numerics.device)
    moments = slot.tensors[OPTIMIZER]
    engine = make_engine(document, train, network, dataset, data["version"], numerics, moments)
    work = Work(
        context, slot.goal, document, data["version"], data["parent"], arch, engine, dataset, data["exact"]
    )
    work.stage, work.progress = data["stage"], Progress(**data["progress"])
    work.edits, work.metrics = data["edits"], data["metrics"]
    work.changes, work.facts = data["changes"], data["facts"]
    work.rollbacks, engine.rate = data["rollbacks"], 0.5 ** data["rollbacks"]
    work.saved = (data["phase"], {name.removesuffix(".safetensors"): t for name, t in slot.tensors.items()})
    return work
