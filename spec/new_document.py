"""The text of a new spec file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from nhnas.spec.config import Data, Search, Train
from nhnas.spec.document import parse_document
from nhnas.spec.emit import block_lines, flow_text, minimal, minimal_net
from nhnas.spec.first_line import FIRST_LINE
from nhnas.spec.model import Architecture
from nhnas.spec.scalars import scalar_text
from nhnas.spec.upgrade import CURRENT


def new_document(
    name: str,
    architecture: Architecture,
    data: Data | None = None,
    train: Train | None = None,
    search: Search | None = None,
    header: Iterable[str] = (),
) -> bytes:
    """An untrained spec with everything at its default left out; `header` are comment lines before it all.

    The very first line names the schema for editors (`nhnas schema`).

    Layers without a residual take one line each, the others one line a key, for small diffs later.
    """
    lines = [f"# {line}".rstrip() for line in (FIRST_LINE, *header)]
    lines += [f"format: {CURRENT}", f"name: {scalar_text(name)}"]
    lines += [f"input: {flow_text(architecture.input)}", "net:"]
    for layer in minimal_net(architecture):
        lines += _layer(layer)
    for key, model in (("data", data), ("train", train), ("search", search)):
        lines += _section(key, model)
    text = "".join(f"{line}\n" for line in lines).encode()
    parse_document(text)
    return text


def _layer(layer: dict[str, Any]) -> list[str]:
    if "residual" not in layer:
        return [f"  - {flow_text(layer)}"]
    first, *rest = [line for key, value in layer.items() for line in block_lines(key, value, 2, {})]
    return [f"  - {first}", *(f"    {line}" for line in rest)]


def _section(key: str, model: BaseModel | None) -> list[str]:
    values = {} if model is None else minimal(model)
    return [f"{key}:", *(f"  {k}: {flow_text(v)}" for k, v in values.items())] if values else []
