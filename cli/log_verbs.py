"""The verb `log`; what it does is imported when it is called."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from typing import Annotated

import typer

from nhnas.arguments import Json, Spec


def log(
    spec: Spec,
    lineage: Annotated[bool, typer.Option("--lineage", help="Only the versions that led here.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All edits, however wide the terminal is.")] = False,
    as_json: Json = False,
) -> None:
    """The versions of this file and of its branches, oldest first."""
    from nhnas.gap import gap_text
    from nhnas.log import history, pending
    from nhnas.log_table import decisions, table
    from nhnas.spec.document import read_document
    from nhnas.unfinished import unfinished

    records = history(spec, not lineage)
    if as_json:
        for record in records:
            print(json.dumps(record))
        return
    width = None if full or not sys.stdout.isatty() else shutil.get_terminal_size().columns
    print(table(records, spec.name, width) if records else f"{spec}: untrained, no version yet")
    if width is not None:  # else they stand beside the edits
        for record in (record for record in records if record["current"]):
            for line in decisions(record):
                print(f"version {record['version']}: {line}")
    if edits := pending(spec):
        print(f"{spec.name} was edited since, not saved yet: {edits} (nhnas plan {shlex.quote(str(spec))})")
    document = read_document(spec)
    if gap := gap_text(document):
        print(gap)
    for line in unfinished(document, spec):
        print(line)
