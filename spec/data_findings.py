"""What the data of a spec demand of its net and of its settings, as far as is known without reading them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from nhnas.spec.document import Document
from nhnas.spec.explain import Finding
from nhnas.spec.structure import structure

IMAGE_FOLDER = "image_folder"


@dataclass(frozen=True)
class Facts:
    """Shape of a sample, (C, H, W) or (F,), and how many classes or values belong to it."""

    shape: tuple[int, ...]
    outputs: int
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"

    @property
    def what(self) -> str:
        """`10 classes`, `1 value`."""
        noun = "value" if self.loss == "mse" else "class"
        plural = {"value": "values", "class": "classes"}[noun]
        return f"{self.outputs} {noun if self.outputs == 1 else plural}"


BUILT_IN = {
    "spirals": Facts((2,), 2),
    "regression2d": Facts((2,), 1, "mse"),
    "mnist": Facts((1, 28, 28), 10),
    "fashion_mnist": Facts((1, 28, 28), 10),
    "cifar10": Facts((3, 32, 32), 10),
    "cifar100": Facts((3, 32, 32), 100),
}


def data_findings(document: Document, folder: Facts | None = None) -> list[Finding]:
    """What a training command would refuse for its data; `folder`: facts of the image folder, if known.

    A file that names no data set is an architecture alone, and fits any. What a function
    `package.module:function` gives is not known here.
    """
    if "dataset" not in document.data.model_fields_set:
        return []
    name = document.data.dataset
    facts = folder if name == IMAGE_FOLDER else BUILT_IN.get(name)
    found = list(_about_name(name))
    if facts is not None:
        found += _about_input(document, name, facts)
    return [*found, *_about_output(document, name, facts)]


def _about_name(name: str) -> Iterator[Finding]:
    known = [*BUILT_IN, IMAGE_FOLDER]
    if name not in known and ":" not in name:
        hint = "".join(f"did you mean {meant}? " for meant in get_close_matches(name, known, 1))
        told = f"unknown; {hint}built in are {', '.join(known)}; others are written package.module:function"
        yield Finding(("data", "dataset"), told)


def _about_input(document: Document, name: str, facts: Facts) -> Iterator[Finding]:
    if document.architecture.input != facts.shape:
        shape = shape_text(facts.shape)
        yield Finding(("input",), f"{name} gives {shape}; write input: {shape}")
    if document.data.augment and len(facts.shape) != 3:
        yield Finding(("data", "augment"), f"needs images, and {name} has none; remove it")
    if document.train.loss != facts.loss:
        yield Finding(("train", "loss"), f"{name} has {facts.what}; write loss: {facts.loss}")


def _about_output(document: Document, name: str, facts: Facts | None) -> Iterator[Finding]:
    view = structure(document.architecture)[-1]
    place = ("net", view.index)
    if view.writes.map is not None:
        maps = shape_text((view.writes.features, *view.writes.map))
        told = f"the last layer writes maps {maps}; add global_avg_pool or flatten, and a dense layer"
        yield Finding(place, told)
    elif facts is not None and view.writes.features != facts.outputs:
        told = f"the output has {view.writes.features} features, {name} {facts.what}; the last layer needs "
        yield Finding((*place, "width"), f"{told}width: {facts.outputs}")


def shape_text(shape: tuple[int, ...]) -> str:
    """`[3, 32, 32]`, as a spec writes it."""
    return f"[{', '.join(map(str, shape))}]"
