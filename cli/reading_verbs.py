"""Verbs of the command line that read a spec, and `init`; what they do is imported when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nhnas.arguments import AllowImport, Fresh, Json, Spec, Specs

if TYPE_CHECKING:
    from nhnas.work import Context


def check(specs: Specs) -> None:
    """Check spec files; every error in one pass, as file:line:column."""
    from nhnas.check import check as check_specs

    raise typer.Exit(check_specs(specs))


def show(
    specs: Specs,
    as_json: Json = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Also how fast each way of computing was, and which was taken.")
    ] = False,
) -> None:
    """Show architectures as trees with neurons, parameters, MACs and depth."""
    from nhnas.show import show as show_specs

    show_specs(specs, as_json, timing)


def init(
    template: Annotated[
        str | None, typer.Argument(help="What to start from; `nhnas init` alone lists what there is.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path("spec.yaml"),
    width: Annotated[int | None, typer.Option(min=1, help="resnet: neurons of the first stage (16).")] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="resnet: blocks a stage (3).")] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="resnet: 10 for CIFAR-10 (the default), 100 for CIFAR-100.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="image-folder, resnet: your images, train/<class>/* and test/<class>/*."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a spec file from a template."""
    from nhnas.init import init as write_template

    write_template(template, output, width, blocks, classes, force, root)


def evaluate(
    spec: Spec,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    as_json: Json = False,
    fresh: Fresh = False,
    allow_import: AllowImport = False,
) -> None:
    """Loss and accuracy of the file as it is; writes nothing."""
    from nhnas.evaluation import evaluate_spec
    from nhnas.spec.document import read_document

    result = evaluate_spec(spec, split, _context(spec, fresh, allow_import))
    if as_json:
        print(json.dumps(result))
        return
    figures = (f"{key} {value:.6g}" for key, value in result.items() if key != "split")
    told = "  (untrained)" if fresh or read_document(spec).state is None else ""
    print("  ".join([result["split"], *figures]) + told)


def plot(
    spec: Spec,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".png, .svg or .pdf")] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="One of parameters, macs, epochs, error, loss, flatness, depth, neurons, settings, "
            "architecture, boundary; else a page of all but the last.",
        ),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A spec or a CSV (name,params,accuracy) to compare with."),
    ] = None,
    as_json: Json = False,
    fresh: Fresh = False,
    allow_import: AllowImport = False,
) -> None:
    """Draw a run's figures from what its versions recorded; boundary: the plane of two inputs."""
    from nhnas.gap import gap_text
    from nhnas.plot import numbers
    from nhnas.plot import plot as draw
    from nhnas.spec.document import read_document

    if as_json:
        for one in numbers(spec, figure, baseline or ()):
            print(json.dumps(one))
    if output is not None or not as_json:
        path = draw(spec, output, figure, baseline or (), fresh=fresh, allow_import=allow_import)
        if not as_json:
            print(path)
            if figure not in ("architecture", "boundary") and (gap := gap_text(read_document(spec))):
                print(gap)


def _context(spec: Path, fresh: bool, allow_import: bool) -> Context:
    from nhnas.report import Silent
    from nhnas.work import Context

    return Context(spec, Silent(), allow_import, fresh)
