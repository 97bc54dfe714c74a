"""What the merge of two specs says, before it is text: every key, and a sound architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nhnas.spec.document import Document
from nhnas.spec.emit import minimal, minimal_net
from nhnas.spec.merge_chain import merge_chains
from nhnas.spec.merge_values import Conflict, Merged, merge_values
from nhnas.spec.model import Architecture
from nhnas.spec.renames import renames
from nhnas.spec.shown import shown
from nhnas.spec.verify import problems

_LONGEST = 200
SECTIONS = ("data", "train", "search")
Root = dict[str, Any]


@dataclass(frozen=True)
class Meaning:
    """Two roots (`root_of`), all conflicts given to ours or to theirs.

    `reason` says why the nets do not go together although each is sound, if that is so.
    """

    ours: Root
    theirs: Root
    conflicts: tuple[Conflict, ...]
    reason: str | None = None


def root_of(document: Document) -> Root:
    """All that a file says, without what is at its default."""
    sections = {name: minimal(getattr(document, name)) for name in SECTIONS}
    return {
        "name": document.name,
        "version": document.version if "version" in document.tree.values else None,
        "state": document.state,
        "input": list(document.architecture.input),
        "net": minimal_net(document.architecture),
        **sections,
    }


def merge_meaning(base: Document | None, ours: Document, theirs: Document, trained: Document) -> Meaning:
    """`base` None: both sides added the file. `version` and `state` are those of `trained`."""
    identity = {key: root_of(trained)[key] for key in ("version", "state")}
    roots = [_empty() if base is None else root_of(base), root_of(ours), root_of(theirs)]
    rest = [_merged_key(key, roots) for key in ("name", *SECTIONS)]
    reason = None
    for deep in (True, False):
        net = _merged_net(base, (ours, theirs), trained, roots, deep)
        if net is None:
            reason = reason or "both sides moved layers"
            continue
        unsound = [problem for side in net.sides if (problem := _problem(side))]
        if not unsound:
            return _meaning([*rest, net], identity, None)
        reason = reason or unsound[0]
    mine, other = ({key: root[key] for key in ("input", "net")} for root in roots[1:])
    whole = merge_values("net", None, mine, other, deep=False)
    return _meaning([*rest, whole], identity, reason)


def _empty() -> Root:
    return {"name": None, "input": None, "net": [], **{name: {} for name in SECTIONS}}


def _merged_key(key: str, roots: list[Root]) -> Merged:
    merged = merge_values(key, *(root[key] for root in roots))
    return Merged({key: merged.ours}, {key: merged.theirs}, merged.conflicts)


def _merged_net(
    base: Document | None, sides: tuple[Document, Document], trained: Document, roots: list[Root], deep: bool
) -> Merged | None:
    """`input` and `net`."""
    moves = [{} if base is None else renames(base.architecture, x.architecture) for x in sides]
    net = merge_chains(roots[0]["net"], (roots[1]["net"], roots[2]["net"]), (moves[0], moves[1]), deep)
    if net is None:
        return None
    size = _merged_key("input", roots)
    mine, other = ({"net": n, **s} for n, s in zip(net.sides, size.sides, strict=True))
    if base is not None:
        weights = base if trained.state == base.state else trained
        mine, other = (_with_sources(side, weights.architecture, moves) for side in (mine, other))
    return Merged(mine, other, (*size.conflicts, *net.conflicts))


def _with_sources(side: Root, weights: Architecture, moves: list[dict[str, str]]) -> Root:
    """`renamed_from` where one side renamed a layer and the other changed it, which nobody could see after.

    `weights`: what the state of the merged file has weights for.
    """
    try:
        seen = renames(weights, Architecture.model_validate(side))
    except ValidationError:
        return side
    names = {layer.name for layer in weights.net}
    sources = {
        new: old for move in moves for old, new in move.items() if old in names and seen.get(old) != new
    }
    net = [
        {**layer, "renamed_from": sources[layer["name"]]} if layer["name"] in sources else layer
        for layer in side["net"]
    ]
    return {**side, "net": net}


def _problem(side: dict[str, Any]) -> str | None:
    """The first thing that is wrong with an architecture."""
    try:
        found = problems(Architecture.model_validate(side))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return shown(f"{_path(side, first['loc'])}: {first['msg']}", _LONGEST)
    return shown(f"{_path(side, found[0].loc)}: {found[0].message}", _LONGEST) if found else None


def _path(side: dict[str, Any], loc: tuple[str | int, ...]) -> str:
    if len(loc) > 1 and loc[0] == "net" and isinstance(loc[1], int):
        loc = (shown(side["net"][loc[1]]["name"]), *loc[2:])
    return ".".join(map(str, loc))


def _meaning(parts: list[Merged], identity: Root, reason: str | None) -> Meaning:
    mine, other = ({**identity, **_joined(parts, side)} for side in (0, 1))
    return Meaning(mine, other, tuple(c for part in parts for c in part.conflicts), reason)


def _joined(parts: list[Merged], side: int) -> Root:
    return {key: value for part in parts for key, value in part.sides[side].items()}
