"""The JSON Schema says what `nhnas check` says, as far as a schema can, and explains every key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from nhnas.init import template_text, templates
from nhnas.schema_file import schema_text, write_schema
from nhnas.spec.descriptions import EXAMPLES
from nhnas.spec.document import Spec, parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.first_line import FIRST_LINE
from nhnas.spec.schema import schema
from nhnas.spec.yaml_tree import parse_yaml, plain
from nhnas.trainer.datasets import IMAGES, TOYS
from tests.here import Here
from tests.hostile_specs import HEAD, WRONG

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


def test_names_are_not_refused_without_need() -> None:
    """Of the basic plane's characters the pattern refuses unprintable ones only, and a blank alone."""
    pattern = re.compile(schema()["properties"]["name"]["pattern"])
    wrong = [c for c in map(chr, range(0x10000)) if not pattern.search(c)]
    assert [" "] == [c for c in wrong if c.isprintable()]
    assert {"\n", "\x85", "\xa0", "\u2028", "\ufeff"} <= set(wrong)
    assert pattern.search("猫 & a/b.c")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: x", 'name: "x\\n"'),
        ("name: x", 'name: ""'),
        ("name: a", 'name: "a\\n"'),
        ("name: a", "name: " + "n" * 50_001),
        ("name: x", 'name: x\nstate: "s0123456789abcdef\\n"'),
        ("name: x", "name: x\nstate: s0123456789ABCDEF"),
        ("op: dense, width: 2", "op: flatten"),
    ],
)
def test_texts_are_taken_exactly(old: str, new: str) -> None:
    """Line ends behind the last character, lengths, and a net without weights."""
    text = HEAD.decode().replace(old, new).encode()
    with pytest.raises(InputError):
        parse_document(text)
    assert errors_of(text)


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
        {"width": 2, "shortcut": False},
        {"width": 2, "shortcut": False, "residual": {"hidden": 0}},
        {"width": 2, "residual": {"hidden": 1, "first": {"shortcut": False}}},
        {"width": 2, "residual": {"hidden": 0, "second": {"residual": {"hidden": 1}}}},
        {"shortcut": "identity", "fixed": True, "residual": {"hidden": 1}},
        {"op": "conv", "shortcut": "identity", "stride": 2, "residual": {"hidden": 1}},
        {"op": "conv", "shortcut": {"init": "identity"}, "stride": 2, "width": 2},
        {"width": None},
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
        {"width": 2, "renamed_from": None, "note": None, "norm": None, "act": None, "residual": None},
        {"width": None, "shortcut": "identity", "fixed": False, "residual": {"hidden": 0}},
        {"width": 2, "shortcut": False, "residual": {"hidden": 1}},
        {"width": 2, "shortcut": {"norm": None, "init": None}},
        {"op": "conv", "width": 2, "stride": 2, "shortcut": {"kernel": 1, "init": None}},
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
        if found.get("additionalProperties") is False:
            for name, value in found["properties"].items():
                if "const" not in value:
                    assert len(value["description"]) > 3, name
                    keys += 1
    assert keys > 130


def test_every_built_in_data_set_is_offered() -> None:
    """And nothing but a factory's form besides."""
    assert [*TOYS, *IMAGES, "package.module:function"] == EXAMPLES["Data.dataset"]


def test_examples_are_right() -> None:
    """What is offered for a key fits it."""
    made = [found for found in objects(schema()) if isinstance(found.get("examples"), list)]
    parts = {"definitions": schema()["definitions"]}
    assert len(EXAMPLES) <= len(made)
    assert [] == [
        found
        for found in made
        for x in found["examples"]
        if not Draft7Validator({**found, **parts}).is_valid(x)
    ]


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
    """An older one of ours is replaced, also behind a link; somebody else's file stays."""
    path = tmp_path / "nhnas.schema.json"
    assert f"wrote {path}" == write_schema(tmp_path)
    assert f"{path} is up to date" == write_schema(tmp_path)
    older = json.dumps({"$comment": schema()["$comment"]})
    path.write_text(older)
    assert f"wrote {path}" == write_schema(tmp_path)
    shared = tmp_path / "shared.json"
    shared.write_text(older)
    path.unlink()
    path.symlink_to(shared.name)
    assert f"wrote {path}" == write_schema(tmp_path)
    assert (True, schema_text()) == (path.is_symlink(), shared.read_bytes())
    for foreign in ("{}", "[]", "", "{", "[" * 100_000):
        path.write_text(foreign)
        assert f"{path} is not ours and stays" == write_schema(tmp_path).partition(";")[0]
        assert foreign == path.read_text()
    path.unlink()
    path.mkdir()
    assert "not ours" in write_schema(tmp_path)


def test_it_needs_no_torch() -> None:
    """The verb costs what `nhnas check` costs."""
    command = [sys.executable, "-X", "importtime", "-m", "nhnas", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "nhnas.spec.schema" in imported
    assert set() == {name for name in imported if name.partition(".")[0] in {"torch", "torchvision", "numpy"}}


def test_check_reads_no_description() -> None:
    """Texts for editors are no part of the other verbs' start-up."""
    code = "import sys, nhnas.main, nhnas.check; sys.exit('nhnas.spec.descriptions' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


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


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"optimizer": "adamw", "warmup_for": "newcomers"}, None),
        (
            {"optimizer": "sgd", "warmup_for": "newcomers"},
            "newcomers needs adam or adamw: with sgd neurons have no age",
        ),
        ({"optimizer": "sgd", "nesterov": True}, None),
        ({"optimizer": "adam", "nesterov": False}, None),
        ({"optimizer": "adam", "nesterov": True}, "true needs optimizer: sgd and a momentum above 0"),
        ({"nesterov": True}, "true needs optimizer: sgd and a momentum above 0"),
        (
            {"optimizer": "sgd", "momentum": 0.0, "nesterov": True},
            "true needs optimizer: sgd and a momentum above 0",
        ),
    ],
)
def test_settings_of_one_optimizer_alone(train: dict[str, Any], reason: str | None) -> None:
    """`nhnas check` and the schema refuse them with another, and say why."""
    text = json.dumps({**head(width=3), "train": train}).encode()
    assert (reason is not None) == bool(errors_of(text))
    if reason is None:
        assert train.items() <= parse_document(text, Path("spec.yaml")).train.model_dump().items()
    else:
        with pytest.raises(InputError, match=f"{re.escape(reason)}$"):
            parse_document(text, Path("spec.yaml"))
