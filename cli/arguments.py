"""Arguments and options that several verbs of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec file.")]
Specs = Annotated[list[Path], typer.Argument(metavar="SPEC...", help="Spec files.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore the file's state: start untrained.")]
Discard = Annotated[bool, typer.Option("--discard", help="Drop an interrupted command first.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another command on this spec.")]
AllowImport = Annotated[
    bool, typer.Option("--allow-import", help="Import data.dataset from outside the spec's folder.")
]
Probe = Annotated[
    int, typer.Option("--probe", min=1, help="Test samples over which edits are checked to change nothing.")
]
