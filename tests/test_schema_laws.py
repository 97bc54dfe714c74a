"""The JSON Schema against `nhnas check`: both take the same files, up to what is listed here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from jsonschema import Draft7Validator

from nhnas.spec.document import parse_document
from nhnas.spec.emit import minimal_net
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture
from nhnas.spec.schema import schema
from nhnas.spec.yaml_tree import parse_yaml, plain
from tests import random_specs
from tests.laws.architectures import random_architecture

VALIDATOR = Draft7Validator(schema())

D, C = "{name: d, op: dense, width: 2}", "{name: c, op: conv, width: 2}"
DEEP = "{hidden: 1, first: {residual: " * 64 + "{hidden: 1" + "}" * 129
BEYOND = {
    r"expected a whole number, not -?\d+\.0$": ("[2]", "{name: d, op: dense, width: 2.0}", ""),
    r"expected a finite number": ("[2]", D, "train: {lr: .inf}"),  # JSON has none
    # A schema cannot compare two values,
    r"epochs, more than 3": ("[2]", D, "search: {schedule: [{until: 3}, {until: 2}]}"),
    r"is taken by layer 1": ("[2]", f"{D}, {D}", ""),
    r"the layer's name already": ("[2]", "{name: d, renamed_from: d, op: dense, width: 2}", ""),
    r"'d' is still there": ("[2]", f"{D}, {{name: e, renamed_from: d, op: dense, width: 2}}", ""),
    r"is that of held-out samples": ("[2]", D, "search: {policy: auto, target: {accuracy: 0.9}}"),
    r"no accuracy with train.loss: mse": (
        "[2]",
        D,
        "data: {val: 0.1}\ntrain: {loss: mse}\nsearch: {policy: auto, target: {accuracy: 0.9}}",
    ),
    # … nor follow a shape through the layers.
    r"reads a map \[C, H, W\], not 2 features": ("[2]", C, ""),
    r"dense reads features, not a map": ("[2, 8, 8]", D, ""),
    r"does not fit into a map": ("[2, 8, 8]", f"{C}, {{name: p, op: max_pool, kernel: 9}}", ""),
    r"cannot continue a flattened map": (
        "[2, 8, 8]",
        f"{C}, {{name: f, op: flatten}}, {{name: d, op: dense, shortcut: identity, residual: {{hidden: 1}}}}",
        "",
    ),
    r"neurons that are not flattened": (
        "[2, 8, 8]",
        f"{C}, {{name: f, op: flatten}}, {{name: d, op: dense, width: 2, shortcut: {{init: identity}}}}",
        "",
    ),
    r"nested at most 64 deep": ("[2]", f"{{name: d, op: dense, width: 2, residual: {DEEP}}}", ""),
}
"""What `nhnas check` alone says, each with a file (input, layers, settings) of which it says so."""

TIDIER = {
    "kernel": "of a dense node: null is all it can be",
    "init": "of an inner shortcut: null is all it can be",
}
"""Keys that `nhnas check` lets pass where they hold null; an editor that knew them would offer them."""

MODELS = ("Conv", "Residual", "ShortcutLeaf", "Dropout")
KEYS = [*(key for model in MODELS for key in schema()["definitions"][model]["properties"]), "until", "kernal"]
VALUES = [
    *json.loads('[null, true, false, 0, 1, 2, 3, -1, 0.5, 1.5, 16.0, "", "x", "a.b", "identity", "relu"]'),
    *json.loads('["none", "conv", [], {}, [2], {"hidden": 0}, {"hidden": 2}, {"norm": "batch"}]'),
    *json.loads('[{"kernel": 2}, {"init": "identity"}, {"init": null}, {"residual": {"hidden": 1}}]'),
]
"""What a mistake may write anywhere."""


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a file."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(item)


def of_net(arch: Architecture) -> dict[str, Any]:
    """A file with an architecture, as it would be written."""
    net = json.loads(json.dumps(minimal_net(arch)))
    return {"format": 1, "name": "x", "input": list(arch.input), "net": net}


def altered(rng: Random) -> dict[str, Any]:
    """A sound file in which one key somewhere has come, gone or changed."""
    settings: dict[str, Any] = {"data": {"val": 0.1}, "train": {"lr": 0.1}, "search": {"add": 3}}
    data = of_net(random_architecture(rng)) | settings
    found = rng.choice(list(mappings(data)))
    key = rng.choice([*found, *(KEYS if rng.random() < 0.5 else ())] or KEYS)
    if rng.random() < 0.1:
        found.pop(key, None)
    else:
        alike = [value for value in VALUES if type(value) is type(found.get(key))]
        found[key] = rng.choice(alike if alike and rng.random() < 0.5 else VALUES)
    return data


def refusal(data: dict[str, Any]) -> str:
    """The lines with which `nhnas check` refuses a file; none where it is fine."""
    try:
        parse_document(json.dumps(data).encode())
    except InputError as error:
        return str(error)
    return ""


def test_random_sound_architectures_are_right() -> None:
    """200 of all kinds as the file would write them, and 200 with defaults written out."""
    for seed in range(200):
        rng = Random(seed)
        other = of_net(random_specs.random_architecture(rng))
        other["net"] = random_specs.spelled_out(rng, other["net"])
        for data in (of_net(random_architecture(rng)), other):
            assert [] == [error.message for error in VALIDATOR.iter_errors(data)], seed


def test_it_says_what_check_says() -> None:
    """Of files with one change, both refuse the same ones, up to what is listed above with its reason."""
    accepted = refused = 0
    tidier = rf"\('({'|'.join(TIDIER)})' was unexpected\)"
    for seed in range(400):
        data = altered(Random(seed))
        told, errors = refusal(data), list(VALIDATOR.iter_errors(data))
        if told and not errors:
            assert any(re.search(reason, told, re.MULTILINE) for reason in BEYOND), (seed, told)
        if errors and not told:
            assert all(re.search(tidier, error.message) for error in errors), (seed, errors)
        accepted += not told
        refused += bool(errors)
    assert min(accepted, refused) > 80


@pytest.mark.parametrize("reason", BEYOND)
def test_what_is_beyond_a_schema(reason: str) -> None:
    """What is listed above is said by `nhnas check` indeed, and by it alone."""
    size, net, settings = BEYOND[reason]
    text = f"format: 1\nname: x\ninput: {size}\nnet: [{net}]\n{settings}\n".encode()
    with pytest.raises(InputError) as caught:
        parse_document(text)
    assert re.search(reason, str(caught.value))
    assert [] == list(VALIDATOR.iter_errors(plain(parse_yaml(text)[1])))


@pytest.mark.parametrize(
    "layer",
    [
        {"width": 2, "residual": {"hidden": 1, "first": {"kernel": None}}},
        {"width": 2, "residual": {"hidden": 1, "first": {"shortcut": {"init": None}}}},
    ],
)
def test_where_it_is_tidier_than_check(layer: dict[str, Any]) -> None:
    """The exceptions that are listed above are there."""
    data = {"format": 1, "name": "x", "input": [2], "net": [{"name": "a", "op": "dense", **layer}]}
    assert "" == refusal(data)
    assert list(VALIDATOR.iter_errors(data))
