"""`nhnas eval`: loss and accuracy of the file as it is, weights carried over in memory; writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nhnas.base import load_base
from nhnas.class_names import check_classes
from nhnas.compiler.build import build
from nhnas.compiler.network import Network
from nhnas.opening import here, load_data
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from nhnas.trainer.evaluate import evaluate
from nhnas.trainer.numerics import choose_numerics, use_numerics
from nhnas.trainer.own_torch import own_torch
from nhnas.work import Context


def evaluate_spec(spec: Path, split: str, context: Context) -> dict[str, Any]:
    """`{split, loss, accuracy}` or `{split, loss, mse}` in float32; raises InputError without that split."""
    document = read_document(spec)
    base = load_base(document, spec, fresh=context.fresh)
    with own_torch():
        dataset = load_data(here(document), context)
        check_classes(spec, base.state, dataset)
        if split not in dataset.splits:
            found = ", ".join(dataset.splits)
            raise InputError(f"{spec}: there is no split {split!r}, only {found}; data.val holds samples out")
        numerics = choose_numerics(document.train)
        use_numerics(numerics)
        network = build(base.architecture, base.weights, device=numerics.device)
        return {"split": split, **evaluate(network, dataset, dataset.splits[split], document.train)}


def load_model(spec: Path, *, fresh: bool = False) -> Network:
    """The network of a spec file in evaluation mode, with its weights; on the CPU."""
    document = read_document(spec)
    base = load_base(document, spec, fresh=fresh)
    network = build(base.architecture, base.weights)
    network.eval()
    return network
