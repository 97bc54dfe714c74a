"""Edits as a file: YAML that `nhnas diff --yaml` and `nhnas plan --yaml` write and `nhnas apply` reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nhnas.compiler.files import read_file
from nhnas.net_digest import net_digest
from nhnas.spec.document import Document
from nhnas.spec.edits import Edit, edit_from_dict, edit_to_dict
from nhnas.spec.emit import flow_text
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown
from nhnas.spec.yaml_tree import MAX_BYTES, Mapping, UnsafeYaml, parse_yaml, plain
from nhnas.spec.yaml_tree import Sequence as Items

FORMAT = 1
_KEYS = {"format", "plan", "edits"}


@dataclass(frozen=True)
class EditsFile:
    """`edits` on top of what a spec says.

    With a `plan` they are all edits since the snapshot `plan["state"]`, and hold for a spec with that
    state and with the net `plan["net"]` (`nhnas.net_digest`) alone.
    """

    edits: tuple[Edit, ...]
    plan: dict[str, Any] | None = None

    def check(self, document: Document, version: int) -> None:
        """Raise InputError where the plan was made for something else than the document at `version`."""
        if self.plan is None:
            return
        made_for, net = self.plan, net_digest(document.architecture)
        if (made_for["state"], made_for["net"]) == (document.state, net):
            return
        file = "spec" if document.path is None else shown(document.path, 300)
        now = "untrained" if document.state is None else f"at version {version} ({document.state})"
        raise InputError(
            f"{file}: is {now} with net {net}, but the plan was made for version "
            f"{shown(made_for['version'])} ({shown(made_for['state'])}) and net "
            f"{shown(made_for['net'])}; make it again"
        )


def edits_yaml(edits: Sequence[Edit], plan: dict[str, Any] | None = None) -> str:
    """The file's text: one line an edit."""
    lines = [f"format: {FORMAT}"]
    if plan is not None:
        lines.append(f"plan: {flow_text(plan)}")
    lines += [f"  - {flow_text(edit_to_dict(edit))}" for edit in edits]
    head = len(lines) - len(edits)
    lines.insert(head, "edits:" if edits else "edits: []")
    return "\n".join(lines) + "\n"


def read_edits(path: Path) -> EditsFile:
    """The inverse of `edits_yaml`; raises InputError with a line an error."""
    file = shown(path, 300)
    if not os.path.isfile(path):  # unlike Path.is_file no error for a name that is too long
        raise InputError(
            f"{file}: no such file of edits; `nhnas diff --yaml` or `nhnas plan --yaml` write one"
        )
    try:
        tree = parse_yaml(read_file(path, limit=MAX_BYTES))[1]
    except UnsafeYaml as error:
        raise InputError(f"{file}:{error.line + 1}:{error.column + 1}: {error}") from None
    data = plain(tree)
    if not isinstance(tree, Mapping) or data.keys() - _KEYS or "edits" not in data:
        raise InputError(f"{file}: expected the keys format, edits and perhaps plan (`nhnas diff --yaml`)")
    if type(data.get("format")) is not int or data["format"] != FORMAT:
        raise InputError(f"{file}: expected format: {FORMAT}")
    items = tree.values["edits"]
    if not isinstance(items, Items):
        raise InputError(f"{file}:{items.line + 1}:{items.column + 1}: expected a list of edits")
    errors = list(_errors(file, items, data["edits"]))
    if errors:
        raise InputError("\n".join(errors))
    return EditsFile(tuple(map(edit_from_dict, data["edits"])), _plan(file, data.get("plan")))


def _plan(file: str, plan: Any) -> dict[str, Any] | None:
    if plan is None:
        return None
    if not isinstance(plan, dict) or plan.keys() != {"state", "version", "net"}:
        raise InputError(f"{file}: plan must have the keys state, version and net")
    return plan


def _errors(file: str, items: Items, data: list[Any]) -> Iterator[str]:
    for item, value in zip(items.items, data, strict=True):
        where = f"{file}:{item.line + 1}:{item.column + 1}"
        try:
            edit_from_dict(value)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"])
            yield f"{where}: no edit: {shown(at)}: {shown(first['msg'], 200)}"
