"""Spec values → YAML text, in flow style on one line or in block style on several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from nhnas.spec.model import Architecture
from nhnas.spec.scalars import scalar_text

_ORDER = (
    *("format", "name", "renamed_from", "op", "version", "state", "input", "net", "data", "train", "search"),
    *("hidden", "kernel", "stride", "width", "norm", "init", "act", "p", "dropout", "fixed", "scale"),
    *("shortcut", "residual", "first", "second", "note"),
)
_RANK = {key: rank for rank, key in enumerate(_ORDER)}


def rank(key: str) -> int:
    """Place of a key among its neighbours in a generated file."""
    return _RANK.get(key, len(_ORDER))


def minimal(model: BaseModel) -> dict[str, Any]:
    """Keys that differ from their defaults, in the order of a generated file; a layer's `op` always."""
    values = model.model_dump(mode="json", exclude_defaults=True)
    return _ordered(values | ({"op": model.op} if "op" in type(model).model_fields else {}))  # type: ignore[attr-defined]


def minimal_net(arch: Architecture) -> list[dict[str, Any]]:
    """The chain's layers, each `minimal`."""
    return [minimal(layer) for layer in arch.net]


def flow_text(value: Any, quoted: bool = False) -> str:
    """`value` on one line; `quoted` puts keys and text into quotes, as JSON wants."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(flow_entry(k, v, quoted) for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow_text(item, quoted) for item in value)}]"
    return scalar_text(value, quoted)


def flow_entry(key: str, value: Any, quoted: bool = False) -> str:
    """`key: value` on one line."""
    return f"{scalar_text(key, quoted)}: {flow_text(value, quoted)}"


def block_lines(key: str, value: Any, step: int, flow_keys: Mapping[str, bool]) -> Iterator[str]:
    """`key: value` as lines without their common indentation; keys marked in `flow_keys` stay on one line."""
    if not isinstance(value, Mapping) or not value or flow_keys.get(key, key == "shortcut"):
        yield flow_entry(key, value)
        return
    yield f"{scalar_text(key)}:"
    for inner, below in value.items():
        yield from (" " * step + line for line in block_lines(inner, below, step, flow_keys))


def _ordered(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _ordered(values[key]) if isinstance(values[key], dict) else values[key]
        for key in sorted(values, key=rank)
    }
