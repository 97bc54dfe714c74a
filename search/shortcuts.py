"""Which shortcuts go, and which come back (DESIGN §6 Restructure, `search.drop_shortcut`).

A leaf goes whose share of its node's output stays below 2% while H > M (H: the node's hidden neurons,
M: the size from which on its residual is promoted); it is restored when H < 0.95·M. A `shortcut: false`
of the author stays: the search gives back only what it took itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nhnas.search.restructure import Rule, promotion_size, qualifies
from nhnas.spec.apply import applied
from nhnas.spec.edits import DropShortcut, Edit, Rename, RestoreShortcut, edit_to_dict
from nhnas.spec.model import Architecture
from nhnas.spec.structure import NodeView, nodes

LEAST_SHARE = 0.02
RECORD = "dropped"
"""Key of the exact part of a snapshot's state; absent while nothing is dropped."""

Record = Mapping[str, Any]
"""Leaves that the search took, as JSON, by the path of their node."""


def droppable(arch: Architecture, shares: Mapping[str, float], rule: Rule = "auto") -> tuple[str, ...]:
    """Paths of the nodes whose shortcut is to go, in file order.

    `arch` is as it will be once the neurons that leave are gone: so the node keeps neurons (M is at
    least 1), and nothing goes that would come back at once. `shares`: of the shortcut in the standard
    deviation of the output, by path, of the nodes where it was measured.
    """
    return tuple(
        node.path
        for node in nodes(arch)
        if node.live and node.leaf is not None and qualifies(node, rule)
        if shares.get(node.path, LEAST_SHARE) < LEAST_SHARE
    )


def drops(arch: Architecture, paths: Sequence[str]) -> tuple[DropShortcut, ...]:
    """The edits that take the shortcuts at `paths`, in file order."""
    return tuple(
        DropShortcut(path=node.path, leaf=node.node.shortcut) for node in nodes(arch) if node.path in paths
    )


def restorable(arch: Architecture, dropped: Record, rule: Rule = "auto") -> tuple[RestoreShortcut, ...]:
    """The edits that give back what the search dropped where H < 0.95·M, in file order."""
    return tuple(
        RestoreShortcut.model_validate({"path": node.path, "leaf": dropped[node.path]})
        for node in nodes(arch)
        if node.path in dropped and node.node.shortcut is False and _falls_short(node, rule)
    )


def _falls_short(node: NodeView, rule: Rule) -> bool:
    """H < 0.95·M, in whole numbers: 20·H < 19·(offset + cube^(1/3))."""
    offset, cube = promotion_size(node, rule)
    return (20 * node.hidden - 19 * offset) ** 3 < 19**3 * cube


def with_record(
    exact: Mapping[str, Any], edits: Sequence[DropShortcut], arch: Architecture
) -> dict[str, Any]:
    """`exact` with a record of what the search dropped by `edits` and before, as far as it still holds.

    Without any there is no record, so that the ids of other searches are as they were.
    """
    found = {**exact.get(RECORD, {}), **{edit.path: edit_to_dict(edit)["leaf"] for edit in edits}}
    return _replaced(exact, _still(found, arch))


def carry_record(exact: Mapping[str, Any], arch: Architecture, edits: Sequence[Edit]) -> dict[str, Any]:
    """`exact` after hand edits of `arch`: records follow renamed layers, and go with their node."""
    record = exact.get(RECORD, {})
    for edit in edits if record else ():
        arch = applied(arch, edit)
        if isinstance(edit, Rename):
            record = {_renamed(path, edit): leaf for path, leaf in record.items()}
        record = _still(record, arch)
    return _replaced(exact, record)


def _replaced(exact: Mapping[str, Any], record: Record) -> dict[str, Any]:
    rest = {key: value for key, value in exact.items() if key != RECORD}
    return {**rest, RECORD: dict(record)} if record else rest


def _still(record: Record, arch: Architecture) -> dict[str, Any]:
    """What stands for a node that is there and has no shortcut."""
    without = {node.path for node in nodes(arch) if node.node.shortcut is False}
    return {path: leaf for path, leaf in record.items() if path in without}


def _renamed(path: str, edit: Rename) -> str:
    name, dot, rest = path.partition(".")
    return f"{edit.new if name == edit.old else name}{dot}{rest}"
