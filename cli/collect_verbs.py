"""The verb `gc`; what it does is imported when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nhnas.arguments import Json, Wait

if TYPE_CHECKING:
    from nhnas.collection import Result


def gc(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PLACE]...", help="Specs, or folders with all stores below them (default: .)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only tell what would be dropped.")
    ] = False,
    keep: Annotated[
        int,
        typer.Option("--keep", min=0, metavar="N", help="Also keep the N newest versions of every branch."),
    ] = 0,
    reflog: Annotated[
        bool, typer.Option("--reflog", help="Also keep what only git's reflogs lead to.")
    ] = False,
    only_these: Annotated[
        bool, typer.Option("--only-these", help="Nothing outside the given places uses the shared store.")
    ] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Drop the weights of versions that nothing needs; the history stays whole.

    Needed is what a spec file names in a commit that any branch, tag, stash or worktree leads to, in an
    index or in a working file, and what an interrupted command started from.
    """
    from nhnas.collection import Options, collect_places

    options = Options(keep, dry_run, reflog, only_these, wait)
    results = collect_places(places or [Path()], options)
    for result in results:
        if as_json:
            print(json.dumps(_as_dict(result, dry_run)))
        else:
            print("\n".join(_lines(result, dry_run, len(results) > 1)))


def _as_dict(result: Result, dry_run: bool) -> dict[str, Any]:
    done = result.collected
    return {
        "store": str(result.store),
        "snapshots": done.total,
        "dropped": [head.id for head in done.dropped],
        "bytes": done.bytes,
        "damaged": done.damaged,
        "kept_tips": result.kept_tips,
        "dry_run": dry_run,
    }


def _lines(result: Result, dry_run: bool, several: bool) -> list[str]:
    from nhnas.spec.shown import shown

    done, where = result.collected, f"{shown(result.store, 300)}: " if several else ""
    lines = [f"  version {head.version}  {head.id}" for head in done.dropped] if dry_run else []
    did, freed = ("would drop", "") if dry_run else ("dropped", " freed")
    total = f"{done.total} snapshot{'' if done.total == 1 else 's'}"
    lines.append(f"{where}{did} {len(done.dropped)} of {total}, {_size(done.bytes)}{freed}")
    if result.kept_tips:
        lines.append("no commit names a version of this store: the newest version of every branch stays")
    lines += [f"left as it is: {reason}" for reason in done.damaged.values()]
    return lines


def _size(count: int) -> str:
    """`34.5 MiB`."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}" if units[0] != "bytes" else f"{count} bytes"
