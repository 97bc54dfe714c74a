"""The JSON Schema says what `nhnas check` says, as far as a schema can, and explains every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft7Validator

from nhnas.init import template_text, templates
from nhnas.schema_file import schema_text, write_schema
from nhnas.spec.document import Spec
from nhnas.spec.emit import minimal_net
from nhnas.spec.first_line import FIRST_LINE
from nhnas.spec.schema import schema
from nhnas.spec.yaml_tree import parse_yaml, plain
from tests.here import Here
from tests.laws.architectures import random_architecture
from tests.test_hostile import HEAD, WRONG

ROOT = Path(__file__).parent.parent
VALIDATOR = Draft7Validator(schema())

BEYOND = {"float for a number": "16.0 is an integer in JSON Schema"}
"""Wrong files that a schema cannot tell from right ones, and why."""


def errors_of(text: bytes) -> list[str]:
    """What the schema finds wrong with a file."""
    return [error.message for error in VALIDATOR.iter_errors(plain(parse_yaml(text)[1]))]


def head(**layer: Any) -> dict[str, Any]:
    """A file with one dense layer before the head."""
    last = {"name": "head", "op": "dense", "width": 2}
    return {"format": 1, "name": "x", "input": [2], "net": [{"name": "a", "op": "dense", **layer}, last]}


def test_it_is_a_schema() -> None:
    """Of draft 7, with every reference in it."""
    Draft7Validator.check_schema(schema())
    found = set(re.findall(r'"#/definitions/(\w+)"', schema_text().decode()))
    assert found <= schema()["definitions"].keys()
    assert schema()["definitions"].keys() - found == set()


def test_all_templates_and_examples_are_right() -> None:
    """Whatever we generate is accepted, and names its schema in its first line."""
    texts = [template_text(name) for name in templates()]
    texts += [path.read_bytes() for path in ROOT.glob("examples/*/*.yaml")]
    assert len(texts) > 14
    for text in texts:
        assert [] == errors_of(text)
        assert f"# {FIRST_LINE}" == text.decode().splitlines()[0]


def test_the_committed_schema_is_the_generated_one() -> None:
    """`nhnas schema -o examples/nhnas.schema.json` writes it; every example finds it beside itself."""
    assert schema_text() == (ROOT / "examples" / "nhnas.schema.json").read_bytes()
    for folder in (path for path in (ROOT / "examples").iterdir() if path.is_dir()):
        assert schema_text() == (folder / "nhnas.schema.json").read_bytes()


def test_random_sound_architectures_are_right() -> None:
    """300 of all kinds, as the file would write them."""
    for seed in range(300):
        arch = random_architecture(Random(seed))
        net = json.loads(json.dumps(minimal_net(arch)))
        data = {"format": 1, "name": "x", "input": list(arch.input), "net": net}
        assert [] == [error.message for error in VALIDATOR.iter_errors(data)], seed


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_wrong(case: str) -> None:
    """What `nhnas check` refuses one by one is refused here too, with the exceptions above."""
    old, new = WRONG[case]
    found = errors_of(HEAD.replace(old, new.encode()))
    assert (case not in BEYOND) == bool(found), found


@pytest.mark.parametrize(
    "layer",
    [
        {"width": 2, "stride": 2},
        {"width": 2, "kernel": 3},
        {},
        {"width": 2, "shortcut": "identity"},
        {"width": 2, "residual": {"hidden": 1, "first": {"shortcut": "identity"}}},
        {"width": 2, "residual": {"hidden": 1, "first": {"kernel": 3}}},
        {"width": 2, "residual": {"hidden": 1, "first": {"shortcut": {"init": "identity"}}}},
        {"width": 2, "residual": {}},
        {"width": 2, "residual": {"hidden": -1}},
        {"width": 2, "renamed_from": "a/b"},
        {"op": "conv", "width": 2, "kernel": 4},
        {"op": "conv", "width": 2, "residual": {"hidden": 1, "scale": 2}},
        {"op": "activation"},
        {"op": "activation", "act": "relu", "width": 2},
        {"op": "lstm", "width": 2},
        {"op": "dropout", "p": 1},
        {"op": "flatten", "kernel": 2},
    ],
)
def test_an_op_has_its_own_keys(layer: dict[str, Any]) -> None:
    """Keys of other ops, missing ones, and what only chain layers may say."""
    assert list(VALIDATOR.iter_errors(head(**layer)))


@pytest.mark.parametrize(
    "layer",
    [
        {"width": 2},
        {"shortcut": "identity", "residual": {"hidden": 0}},
        {"width": 2, "shortcut": {"norm": "batch", "init": "identity"}},
        {"width": 2, "residual": {"hidden": 1, "first": {"shortcut": {"norm": "batch"}}}},
        {"op": "conv", "width": 2, "kernel": 5, "residual": {"hidden": 1, "first": {"kernel": 3}}},
        {"op": "max_pool", "kernel": 2},
        {"width": 2, "renamed_from": "b", "note": "x"},
    ],
)
def test_what_an_op_may_say(layer: dict[str, Any]) -> None:
    """No false alarm."""
    assert [] == [error.message for error in VALIDATOR.iter_errors(head(**layer))]


@pytest.mark.parametrize(
    "search",
    [
        {"schedule": [{"add": 3}]},
        {"schedule": [{"until": 3, "policy": "none"}]},
        {"policy": "auto"},
        {"target": {"parameters": 1}},
        {"ad": 3},
    ],
)
def test_settings_are_narrow(search: dict[str, Any]) -> None:
    """Unknown keys, reserved ones, a schedule without its end."""
    assert list(VALIDATOR.iter_errors({**head(width=2), "search": search}))
    right = {**head(width=2), "search": {"add": 3, "schedule": [{"until": 3, "add": 1, "lr": 0.1}]}}
    assert [] == list(VALIDATOR.iter_errors(right))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict in JSON data."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def test_every_key_is_explained() -> None:
    """Each property has a description of some words, wherever it stands."""
    keys = 0
    for found in objects(schema()):
        if found.get("type") == "object":
            for name, value in found["properties"].items():
                if "const" not in value:
                    assert len(value["description"]) > 3, name
                    keys += 1
    assert keys > 130


def test_every_key_of_the_documentation_is_in_the_schema() -> None:
    """What docs/spec.md lists in its tables, an editor knows."""
    rows = [line for line in (ROOT / "docs" / "spec.md").read_text().splitlines() if line.startswith("| ")]
    told = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    known = {key for found in objects(schema()) for key in found.get("properties", {})}
    values = {str(value) for found in objects(schema()) for value in found.get("enum", [])}
    values |= {found["const"] for found in objects(schema()) if isinstance(found.get("const"), str)}
    plain_words = {
        "true",
        "false",
        "spirals",
        "regression2d",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
    }
    assert set() == told - known - values - plain_words - {"image_folder", "until", "epoch"}
    assert set(Spec.model_fields) - {"target"} <= known


def test_init_writes_the_schema_beside_the_spec(tmp_path: Path) -> None:
    """An older one of ours is replaced, somebody else's file stays."""
    path = tmp_path / "nhnas.schema.json"
    assert f"wrote {path}" == write_schema(tmp_path)
    assert f"{path} is up to date" == write_schema(tmp_path)
    path.write_text(json.dumps({"$comment": schema()["$comment"]}))
    assert f"wrote {path}" == write_schema(tmp_path)
    for foreign in ("{}", "[]", "", "{", "[" * 100_000):
        path.write_text(foreign)
        assert f"{path} is not ours and stays" == write_schema(tmp_path).partition(";")[0]
        assert foreign == path.read_text()


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It prints the schema, or writes it; never over a spec. `init` says so where a foreign file stays."""
    here = Here(capfd)
    assert (0, schema_text().decode(), "") == here("schema")
    target = tmp_path / "x.json"
    assert (0, f"wrote {target}\n", "") == here("schema", "-o", str(target))
    assert schema_text() == target.read_bytes()
    assert 2 == here("schema", "-o", str(tmp_path / "spec.yaml"))[0]
    assert 5 == here("schema", "-o", str(tmp_path / "no" / "x.json"))[0]
    assert 0 == here("init", "spirals", "-o", str(tmp_path / "spec.yaml"))[0]
    assert schema_text() == (tmp_path / "nhnas.schema.json").read_bytes()
    (tmp_path / "nhnas.schema.json").write_text("{}")
    assert "not ours and stays" in here("init", "spirals", "-o", str(tmp_path / "other.yaml"))[1]
