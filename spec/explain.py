"""Findings about a file's content, as lines for a person: where, what was expected, what to do.

A location leads from the root of the file to a value, as pydantic and `nhnas.spec.verify` give it; the tree
turns it into a position in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nhnas.spec import model
from nhnas.spec.config import Data, Search, Target, Train
from nhnas.spec.scalars import resolve, scalar_text
from nhnas.spec.shapes import Loc
from nhnas.spec.shown import shown
from nhnas.spec.yaml_tree import Mapping, Scalar, Sequence, Tree

ROOT = ("format", "name", "version", "state", "input", "net", "data", "train", "search")
_LAYERS: tuple[type[BaseModel], ...] = (
    model.Conv,
    model.Dense,
    model.Activation,
    model.MaxPool,
    model.AvgPool,
    model.GlobalAvgPool,
    model.Flatten,
    model.Dropout,
)
_BY_OP = {layer.model_fields["op"].default: layer for layer in _LAYERS}
_BY_SLOT: dict[object, type[BaseModel]] = {
    "residual": model.Residual,
    "first": model.Node,
    "second": model.Node,
    "ShortcutLeaf": model.ShortcutLeaf,
    "data": Data,
    "train": Train,
    "search": Search,
    "schedule": Search,
    "target": Target,
}
_SHORTCUT_TAGS = ("bool", "literal['identity']", "ShortcutLeaf")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at `loc`; for an unknown key, `meant` is the key that it may stand for."""

    loc: Loc
    message: str
    unknown: bool = False
    meant: str | None = None


def explain(error: ValidationError, prefix: Loc = (), extra: tuple[str, ...] = ()) -> list[Finding]:
    """Findings of one validation whose root stands at `prefix`; `extra` are more keys known there."""
    every = [_finding(details, prefix, extra) for details in error.errors(include_url=False)]
    found = [finding for finding in every if finding is not None]
    inside = any(f.loc[:1] == ("net",) and len(f.loc) > 1 for f in found)
    # pydantic also calls the net too short when none of its layers was right.
    return [f for f in found if not (inside and f.loc == ("net",))]


def report(file: str, tree: Tree, findings: Iterable[Finding]) -> list[str]:
    """One line a finding, `file:line:column: path: message`, in the order of the text."""
    kept = _without_consequences(list(findings))
    lines = [(_position(tree, f), _said(tree, f)) for f in kept]
    ordered = dict.fromkeys(sorted(lines, key=lambda line: line[0]))
    return [f"{file}:{row + 1}:{column + 1}: {said}" for (row, column), said in ordered]


def path_of(tree: Tree, loc: Loc) -> str:
    """`block1.residual.hidden`: layers by name, positions in other lists as `[2]`."""
    name = _descend(tree, (*loc[:2], "name")) if loc[:1] == ("net",) and len(loc) > 1 else None
    if isinstance(name, Scalar) and isinstance(name.value, str) and name.value:
        loc = (name.value, *loc[2:])
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in loc)
    return text.removeprefix(".")


def _key(key: str) -> str:
    """A key as it is read; in quotes where its ends would be overlooked."""
    text = shown(key)
    return text if text.strip() == text != "" else f"'{text}'"


def known_keys(loc: Loc) -> tuple[str, ...]:
    """Keys of the model that stands at `loc` (with pydantic's tags)."""
    if loc[:1] == ("net",) and len(loc) == 3:
        return tuple(_BY_OP[loc[2]].model_fields)
    slot = loc[-2] if loc[-1:] and isinstance(loc[-1], int) else loc[-1:] and loc[-1]
    found = _BY_SLOT.get(slot)
    return ROOT if found is None else tuple(found.model_fields)


def _descend(tree: Tree, loc: Loc) -> Tree | None:
    """The value at `loc`, if the file has it."""
    found: Tree | None = tree
    for part in loc:
        found = _child(found, part)
    return found


def _child(tree: Tree | None, part: str | int) -> Tree | None:
    if isinstance(tree, Mapping) and isinstance(part, str):
        return tree.values.get(part)
    if isinstance(tree, Sequence) and isinstance(part, int) and part < len(tree.items):
        return tree.items[part]
    return None


def _position(tree: Tree, finding: Finding) -> tuple[int, int]:
    """Of an unknown key the key, else the value, else what is nearest around it."""
    loc = finding.loc
    parent = _descend(tree, loc[:-1])
    if finding.unknown and isinstance(parent, Mapping) and loc[-1] in parent.keys:
        key = parent.keys[str(loc[-1])]
        return key.line, key.column
    while (found := _descend(tree, loc)) is None:
        loc = loc[:-1]
    return found.line, found.column


def _said(tree: Tree, finding: Finding) -> str:
    path = path_of(tree, finding.loc)
    return f"{path}: {finding.message}" if path else finding.message


def _without_consequences(findings: list[Finding]) -> list[Finding]:
    """A key that is missing because it is misspelled needs no line of its own."""
    meant = {(f.loc[:-1], f.meant) for f in findings if f.unknown}
    return [f for f in findings if (f.loc, f.message.partition(" is missing")[0]) not in meant]


def _finding(details: ErrorDetails, prefix: Loc, extra: tuple[str, ...]) -> Finding | None:
    raw, value, kind = details["loc"], details["input"], details["type"]
    loc = _untagged(raw, value)
    if loc is None:
        return None
    full = (*prefix, *loc)
    if kind == "extra_forbidden":
        return _unknown_key(full, known_keys((*prefix, *raw[:-1])) + extra)
    if kind == "missing":
        return Finding(full[:-1], _missing(full[-1]))
    if kind.startswith("union_tag"):
        return _op(full, value)
    if raw[-1:] == ("bool",) and loc[-1:] == ("shortcut",):
        message = f"expected true, false, identity or {{kernel, norm, init}}, not {_value(value)}"
        return Finding(full, message + _did_you_mean(value, ("identity",)))
    say = _MESSAGES.get(kind)
    return Finding(full, details["msg"] if say is None else say(value, details.get("ctx", {})))


def _untagged(raw: tuple[str | int, ...], value: Any) -> Loc | None:
    """`raw` without the names of union members; None where a member is beside the point."""
    loc = raw[:2] + raw[3:] if raw[:1] == ("net",) else raw
    for at, part in enumerate(loc[:-1]):
        if part == "shortcut" and loc[at + 1] in _SHORTCUT_TAGS:
            last = at + 2 == len(loc)
            if last and (loc[at + 1] != "bool" or isinstance(value, dict)):
                return None
            return loc[: at + 1] + loc[at + 2 :]
    return loc


def _unknown_key(loc: Loc, known: tuple[str, ...]) -> Finding:
    key = str(loc[-1])
    if home := _home(loc, key, known):
        return Finding(loc, f"unknown key; it belongs inside {home}", unknown=True)
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
    return Finding(loc, f"unknown key; {hint}", unknown=True, meant=close[0] if close else None)


def _home(loc: Loc, key: str, known: tuple[str, ...]) -> str | None:
    """Where a key that is known elsewhere would be right."""
    if len(loc) == 1:
        sections = [s for s in ("data", "train", "search") if key in known_keys((s,))]
        return sections[0] if sections else None
    return "residual" if "residual" in known and key in model.Residual.model_fields else None


def _missing(key: str | int) -> str:
    return f"entry {key + 1} is missing" if isinstance(key, int) else f"{key} is missing"


def _op(loc: Loc, layer: Any) -> Finding:
    if "op" not in layer:
        return Finding(loc, f"op is missing; expected one of {', '.join(_BY_OP)}")
    return Finding((*loc, "op"), _choice(layer["op"], tuple(_BY_OP)))


def _choice(value: Any, options: tuple[str, ...]) -> str:
    *most, last = options
    listed = f"{', '.join(most)} or {last}" if most else last
    return f"expected {listed}, not {_value(value)}{_did_you_mean(value, options)}"


def _did_you_mean(value: Any, options: tuple[str, ...]) -> str:
    close = get_close_matches(value, options, n=1) if isinstance(value, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f"the text '{shown(value)}'"
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else "nothing" if value is None else scalar_text(value)


def _number(expected: str, value: Any) -> str:
    """Says what to do about a number in quotes or with zeros before it."""
    hint = ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?0[0-9]+", value):
        hint = "; write it without the leading zero"
    elif isinstance(value, str) and not isinstance(_resolved(value), str | bool | None):
        hint = "; remove the quotes"
    elif isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]*,[0-9]+", value):
        hint = f"; write {value.replace(',', '.')}, with a point"
    return f"expected {expected}, not {_value(value)}{hint}"


def _resolved(text: str) -> object:
    try:
        return resolve(text)
    except ValueError:
        return text


def _text(value: Any, _: dict[str, Any]) -> str:
    hint = "; put it in quotes" if isinstance(value, int | float) else ""
    return f"expected text, not {_value(value)}{hint}"


_MESSAGES: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "int_type": lambda value, _: _number("a whole number", value),
    "float_type": lambda value, _: _number("a number", value),
    "finite_number": lambda value, _: f"expected a finite number, not {_value(value)}",
    "bool_type": lambda value, _: f"expected true or false, not {_value(value)}",
    "string_type": _text,
    "literal_error": lambda value, ctx: _choice(value, tuple(re.findall(r"'([^']*)'", ctx["expected"]))),
    "greater_than_equal": lambda value, ctx: f"expected at least {ctx['ge']}, not {_value(value)}",
    "greater_than": lambda value, ctx: f"expected more than {ctx['gt']}, not {_value(value)}",
    "less_than_equal": lambda value, ctx: f"expected at most {ctx['le']}, not {_value(value)}",
    "less_than": lambda value, ctx: f"expected less than {ctx['lt']}, not {_value(value)}",
    "too_short": lambda _, ctx: f"expected {ctx['min_length']} or more entries, not {ctx['actual_length']}",
    "too_long": lambda _, ctx: f"expected at most {ctx['max_length']} entries, not {ctx['actual_length']}",
    "tuple_type": lambda value, _: f"expected a list, not {_value(value)}",
    "model_type": lambda value, _: f"expected keys and values, not {_value(value)}",
    "dict_type": lambda value, _: f"expected keys and values, not {_value(value)}",
    "model_attributes_type": lambda value, _: f"expected a layer (name, op, …), not {_value(value)}",
    "value_error": lambda _, ctx: str(ctx["error"]),
}
