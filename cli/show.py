"""`nhnas show FILE…`: the architecture as a tree with its counts, or as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.measure import (
    leaf_macs,
    leaf_parameters,
    measure,
    node_depth,
    node_macs,
    node_neurons,
    node_parameters,
)
from nhnas.spec.model import Conv, Dense
from nhnas.spec.shapes import is_identity
from nhnas.spec.shown import shown
from nhnas.spec.structure import LayerView, Leaf, NodeView, structure
from nhnas.timing import timing_of, timing_text

Row = tuple[str, ...]

_HEAD: Row = ("layer", "what", "output", "neurons", "parameters", "MACs", "depth")
_LEFT = 3
"""Columns of text; the others are numbers."""


def show(paths: Sequence[Path], as_json: bool = False, timing: bool = False) -> None:
    """Print the sound files, one JSON object a line or a table each; raise InputError for the others.

    `timing`: also how fast each way of computing was when the version was trained.
    """
    errors: list[str] = []
    for path in paths:
        try:
            document = read_document(path)
            measured = timing_of(document, path) if timing else None
        except InputError as error:
            errors.append(str(error))
            continue
        more = {"timing": measured} if timing else {}
        print(json.dumps(as_data(document) | more, ensure_ascii=False) if as_json else as_text(document))
        if timing and not as_json:
            print(timing_text(measured))
    if errors:
        raise InputError("\n".join(errors))


def as_data(document: Document) -> dict[str, Any]:
    """Name, version, totals, and the layers with their nodes nested, as JSON data."""
    views = structure(document.architecture)
    return {
        "name": document.name,
        "version": document.version,
        **measure(document.architecture).as_dict(),
        "layers": [_layer_data(view, views[-1]) for view in views],
    }


def as_text(document: Document) -> str:
    """A table with a row for each layer and each node inside, and the totals below."""
    views = structure(document.architecture)
    rows = [row for view in views for row in _layer_rows(view, views[-1])]
    totals = measure(document.architecture)
    summary = (
        f"total: {totals.neurons:,} neurons, {totals.parameters:,} parameters, {totals.macs:,} MACs, "
        f"depth {totals.depth} ({totals.depth10} without residuals of fewer than 10 neurons)"
    )
    state = "untrained" if document.state is None else document.state
    size = _shape(document.architecture.input)
    title = f"{shown(document.name)}, version {document.version}, {state}, input {size}"
    return "\n".join([title, "", *_aligned([_HEAD, *rows]), "", summary, ""])


def _own_neurons(view: LayerView, last: LayerView) -> int:
    """Neurons of the chain site that a layer begins; the network's outputs do not count."""
    layer = view.layer
    begins = isinstance(layer, Conv | Dense) and not is_identity(layer)
    return view.writes.neurons if begins and view.writes.site != last.writes.site else 0


def _layer_data(view: LayerView, last: LayerView) -> dict[str, Any]:
    found: dict[str, Any] = {"name": view.layer.name, "op": view.layer.op, "shape": list(view.writes.shape)}
    if view.node is None:
        return found | {"neurons": 0, "parameters": 0, "macs": 0, "depth": 0}
    node = _node_data(view.node)
    return found | node | {"neurons": node["neurons"] + _own_neurons(view, last)}


def _node_data(node: NodeView) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": node.path,
        "shape": list(node.writes.shape),
        "neurons": node_neurons(node),
        "parameters": node_parameters(node) if node.live else 0,
        "macs": node_macs(node),
        "depth": node_depth(node),
        "shortcut": "identity" if node.identity else node.leaf is not None,
        "hidden": None if node.residual is None else node.residual.hidden,
    }
    children = {"first": node.first, "second": node.second}
    return found | {key: _node_data(child) for key, child in children.items() if child is not None}


def _layer_rows(view: LayerView, last: LayerView) -> Iterator[Row]:
    name = shown(view.layer.name)
    if view.node is None:
        yield (name, _plain_layer(view), _shape(view.writes.shape), "", "", "", "")
        return
    act = view.layer.act if isinstance(view.layer, Conv | Dense) else None
    what = f"{view.layer.op} {_what(view.node)}" + (f", then {act}" if act else "")
    yield _row(name, what, view.node, node_neurons(view.node) + _own_neurons(view, last))
    yield from _inner_rows(view.node, "")


def _inner_rows(node: NodeView, margin: str) -> Iterator[Row]:
    """Shortcut, `first` and `second` of a residual that holds neurons."""
    if node.first is None or node.second is None or node.hidden == 0:
        return
    if node.leaf is not None:
        counts = (f"{leaf_parameters(node.leaf):,}", f"{leaf_macs(node.leaf):,}", "1")
        yield (f"{margin}├ shortcut", _leaf(node.leaf), _shape(node.writes.shape), "", *counts)
    for slot, child, mark, below in (("first", node.first, "├", "│ "), ("second", node.second, "└", "  ")):
        yield _row(f"{margin}{mark} {slot}", _what(child), child, node_neurons(child))
        yield from _inner_rows(child, margin + below)


def _row(label: str, what: str, node: NodeView, neurons: int) -> Row:
    counts = (node_parameters(node), node_macs(node), node_depth(node))
    sites = f"{neurons:,}" if neurons else ""
    return (label, what, _shape(node.writes.shape), sites, *(f"{count:,}" for count in counts))


def _what(node: NodeView) -> str:
    """The node in a few words: its leaf and its hidden neurons."""
    straight = "identity" if node.identity else "no shortcut" if node.leaf is None else _leaf(node.leaf)
    if node.residual is None:
        return straight
    return f"{straight} + {node.hidden} {node.residual.act}".lstrip()


def _leaf(leaf: Leaf) -> str:
    size = f"{leaf.kernel}×{leaf.kernel}" if leaf.op == "conv" else ""
    return f"{size}/{leaf.stride}" if leaf.stride > 1 else size


def _plain_layer(view: LayerView) -> str:
    keys = view.layer.model_dump(exclude_none=True, exclude={"name", "op", "note"})
    return " ".join([view.layer.op, *(f"{key} {value}" for key, value in keys.items())])


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


@lru_cache(maxsize=10_000)
def _cells(text: str) -> int:
    """Columns of a terminal that `text` takes; few texts of a long table differ."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def _aligned(rows: Sequence[Row]) -> Iterator[str]:
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        blanks = [" " * (width - _cells(cell)) for width, cell in zip(widths, row, strict=True)]
        cells = [c + b if n < _LEFT else b + c for n, (c, b) in enumerate(zip(row, blanks, strict=True))]
        yield "  ".join(cells).rstrip()
