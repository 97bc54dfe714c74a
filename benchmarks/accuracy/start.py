"""The spec file that a row begins with."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

from experiment import FOLDER, Experiment, Row
from ruamel.yaml import YAML

from nhnas.init import template_text

ROOT = FOLDER.parent.parent
NO_STATE = ("state", "version")


def start_text(
    experiment: Experiment, row: Row, own: Mapping[str, int], ended: Mapping[str, Any] | None
) -> bytes:
    """The text of a row's spec; `own` are settings of `train` of this run alone, `ended` is
    what the row that it is a control of came to (`kept_spec`)."""
    spec = _parsed(_source(row)) if ended is None else dict(ended)
    for name in NO_STATE:
        spec.pop(name, None)
    for settings in (experiment.settings, row.settings, {"train": own}):
        spec = with_settings(spec, settings)
    if root := spec.get("data", {}).get("root"):
        spec["data"]["root"] = _expanded(root)
    return _text(spec)


def kept_spec(text: bytes) -> dict[str, Any]:
    """A spec without what belongs to one machine: its state, where its data lie, its threads."""
    spec = with_settings(_parsed(text), {"data": {"root": None}, "train": {"threads": None}})
    return {key: value for key, value in spec.items() if key not in NO_STATE}


def changed_text(text: bytes, settings: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A spec's text with other settings."""
    return _text(with_settings(_parsed(text), settings))


def with_settings(spec: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`settings` (data, train, search) on top of a spec's; None takes a key out."""
    merged = dict(spec)
    for section, values in settings.items():
        both = {**(merged.get(section) or {}), **values}
        merged[section] = {key: value for key, value in both.items() if value is not None}
    return merged


def _expanded(root: str) -> str:
    """A folder with its variables read; SystemExit where one is not set: the file would keep its name."""
    path = os.path.expandvars(root)
    if "$" in path:
        raise SystemExit(f"{root}: is not set; export NHNAS_DATA=FOLDER, in which the data sets lie")
    return path


def _source(row: Row) -> bytes:
    if row.resnet is not None:
        return template_text("resnet", *row.resnet)
    name = str(row.spec)
    beside = FOLDER / name
    return (beside if beside.exists() else ROOT / name).read_bytes()


def _parsed(text: bytes) -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load(text))


def _text(spec: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # the order of the file stays
    yaml.dump(dict(spec), stream)
    return stream.getvalue()
