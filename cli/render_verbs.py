"""The verb `render`; what it does is imported when it is called."""

from __future__ import annotations

from typing import Annotated

import typer


def render(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A spec file, or REVISION:path.")],
    output: Annotated[str, typer.Option("--output", "-o", help=".svg, .png, .pdf, .dot, .mmd; - is stdout.")],
    old: Annotated[
        str | None, typer.Option("--diff", metavar="OLD", help="Compare with a file or a git revision.")
    ] = None,
    macs: Annotated[bool, typer.Option("--macs", help="Colour by multiply-accumulates.")] = False,
    depth: Annotated[int | None, typer.Option(min=0, help="Levels of residuals; 0: a box a layer.")] = None,
    collapse: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Draw this node as one box; may be repeated.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Equal neighbours one by one, not as ×N.")] = False,
    layout: Annotated[
        str, typer.Option(help="auto: .svg by itself, else by graphviz; own; dot: by graphviz.")
    ] = "auto",
    form: Annotated[
        str | None, typer.Option("--format", help="svg, png, pdf, dot or mmd; by default as -o ends.")
    ] = None,
) -> None:
    """Draw a spec as a diagram, or what changed since another version."""
    from nhnas.rendering import render as draw
    from nhnas.spec.drawing import Look

    look = Look(depth, frozenset(collapse or ()), macs, each)
    said = draw(spec, output, old, look, layout, form)
    if said:
        print(said)
