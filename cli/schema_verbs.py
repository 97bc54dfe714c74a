"""The verb of the command line that helps editors; what it does is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; printed where none is given.")
    ] = None,
) -> None:
    """Write the JSON Schema that gives editors completion, hover texts and error positions."""
    from nhnas.compiler.files import write_file
    from nhnas.schema_file import schema_text
    from nhnas.spec.document import YAML
    from nhnas.spec.errors import InputError

    if output is None:
        print(schema_text().decode(), end="")
        return
    if output.suffix in YAML:
        raise InputError(f"{output}: a schema is JSON; use a name such as nhnas.schema.json")
    write_file(output, schema_text())
    print(f"wrote {output}")
