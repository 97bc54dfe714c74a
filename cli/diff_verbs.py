"""Verbs of the command line that tell what differs; what they do is imported when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nhnas.arguments import AllowImport, Discard, Json, Spec, Wait

Edits = Annotated[Path | None, typer.Argument(metavar="EDITS", help="A file of edits on top, or a plan.")]

DIFFERENT = 6
"""Exit code of `--exit-code` where something differs (DESIGN §8)."""


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="File, git revision, REVISION:path or state.")],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="Likewise; left out: OLD against git's HEAD.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every position, every layer whole.")] = False,
    as_json: Json = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="The edits, as `nhnas apply SPEC EDITS` takes them.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="0: same, 6: different.")] = False,
) -> None:
    """What differs between two specs: one line an edit, and the totals before and after."""
    from nhnas.comparison import compare
    from nhnas.comparison_text import as_text
    from nhnas.edits_file import edits_yaml
    from nhnas.sources import read_pair

    before, after, store = read_pair(*(("HEAD", old) if new is None else (old, new)))
    found = compare(before, after, store)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    elif as_yaml:
        print(edits_yaml(found.edits), end="")
    else:
        print(as_text(found, full), end="")
    if exit_code and found.differs:
        raise typer.Exit(DIFFERENT)


def plan(
    spec: Spec,
    edits: Edits = None,
    full: Annotated[bool, typer.Option("--full", help="Also tensors that stay as they are.")] = False,
    as_json: Json = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="The plan, as `nhnas apply` takes it.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="0: nothing to do, 6: edits.")] = False,
) -> None:
    """What becomes of every tensor, and of the outputs, when the file is taken as it is; writes nothing."""
    from nhnas.edits_file import edits_yaml, read_edits
    from nhnas.plan_text import as_text
    from nhnas.planning import plan_spec

    found = plan_spec(spec, None if edits is None else read_edits(edits))
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    elif as_yaml:
        print(edits_yaml(found.edits, found.identity()), end="")
    else:
        print(as_text(found, full), end="")
    if exit_code and found.edits:
        raise typer.Exit(DIFFERENT)


def apply(
    spec: Spec,
    edits: Edits = None,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
) -> None:
    """Carry the weights over to what the file says, with EDITS on top, and save that as a version."""
    from nhnas.application import apply_spec
    from nhnas.command import Options
    from nhnas.edits_file import read_edits
    from nhnas.report import Lines

    given = None if edits is None else read_edits(edits)
    options = Options(discard=discard, wait=wait, allow_import=allow_import)
    saved = apply_spec(spec, given, options, Lines())
    if not saved:
        print(f"{spec}: nothing to carry over" + ("; the edits are in the file" if given else ""))
