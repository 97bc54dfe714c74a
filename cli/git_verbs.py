"""The verbs `nhnas git …`, and the drivers that git calls; what they do is imported when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nhnas.arguments import Json

app = typer.Typer(
    help="git shows and merges specs edit by edit.", no_args_is_help=True, rich_markup_mode=None
)

Words = Annotated[list[str], typer.Argument(help="As git gives them.")]


@app.command()
def install(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN]...",
            help="Which files are specs (default: as before, at first spec.yaml and *.nhnas.yaml).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Set up drivers for diff and merge: .gitattributes, to be committed, and this clone's configuration."""
    from nhnas import git_setup

    found = git_setup.install(Path(), patterns or ())
    print(json.dumps(found.as_dict()) if as_json else found.as_text(), end="\n" if as_json else "")


@app.command()
def uninstall() -> None:
    """Take out what install wrote; .gitattributes is then as it was before."""
    from nhnas import git_setup

    print("uninstalled" if git_setup.uninstall(Path()) else "nothing is installed")


@app.command()
def status(as_json: Json = False) -> None:
    """What is installed, whether its program is still there, and which tracked files it is for."""
    from nhnas import git_setup

    found = git_setup.status(Path())
    print(json.dumps(found.as_dict()) if as_json else found.as_text(), end="\n" if as_json else "")


@app.command(name="diff-driver", hidden=True)
def diff_driver(words: Words) -> None:
    """What git calls to show a spec that changed."""
    from nhnas.git_diff import show_change

    show_change(words)


@app.command(name="merge-driver", hidden=True)
def merge_driver(words: Words) -> None:
    """What git calls to merge a spec."""
    from nhnas.git_merge import merge_files, parse_job

    raise typer.Exit(merge_files(parse_job(words)))
