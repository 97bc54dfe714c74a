"""The command line: a thin skin over the API; one line per user error, exit codes as in DESIGN §8.

Heavy imports stay inside the commands: `--help`, `check` and `show` never import torch.
"""

from __future__ import annotations

import gc
import sys
import traceback
from importlib import metadata
from typing import Annotated, Any

import typer
import typer.exceptions

from nhnas import (
    collect_verbs,
    diff_verbs,
    git_verbs,
    log_verbs,
    reading_verbs,
    render_verbs,
    schema_verbs,
    training_verbs,
)
from nhnas.report import mute
from nhnas.spec.errors import NhnasError, StorageError

CTRL_C = 130
"""What typer makes of a KeyboardInterrupt."""

app = typer.Typer(
    name="nhnas",
    help="Architectures as text files in git, and trained weights that follow them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"nhnas {metadata.version('nhnas')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Anywhere: show where in our code an error arose.")
    ] = False,  # for the help alone: main takes it out before anything is parsed
) -> None: ...


app.command()(reading_verbs.init)
app.command()(reading_verbs.check)
app.command()(reading_verbs.show)
app.command()(diff_verbs.diff)
app.command()(diff_verbs.plan)
app.command()(diff_verbs.apply)
app.command()(training_verbs.step)
app.command()(training_verbs.run)
app.command()(training_verbs.train)
app.command(name="eval")(reading_verbs.evaluate)
app.command()(log_verbs.log)
app.command()(collect_verbs.gc)
app.command()(schema_verbs.schema)
app.command()(reading_verbs.plot)
app.command()(render_verbs.render)
app.add_typer(git_verbs.app, name="git")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    # A spec of 5,000 layers is a million objects that all stay: looking for garbage among them took a third.
    gc.set_threshold(50_000, 20, 100)
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    code = _guarded([a for a in given if a != "--debug"], debug)
    try:
        sys.stdout.flush()
    except OSError as error:  # nobody reads any more, or the disk behind it is full
        mute(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            code, message = _told(error)
            _tell(message)
    raise SystemExit(code)


def _guarded(arguments: list[str], debug: bool) -> int:
    try:
        result: Any = app(arguments, standalone_mode=False)
    except typer.exceptions.TyperException as error:
        usage = _usage(error)
        is_help = usage.startswith("Usage:")  # of a command that was called without its own command
        told = usage if is_help else f"nhnas: {' '.join(usage.split())} (see nhnas --help)"
        _tell(told)
        return 2
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        code, message = _told(error)
        _tell(message)
        return code
    if result == CTRL_C:
        _tell("nhnas: stopped")
    return result if isinstance(result, int) else 0


def _tell(line: str) -> None:
    """On stderr, whose terminal may be gone."""
    try:
        print(line, file=sys.stderr)
    except OSError:
        mute(sys.stderr)


def _told(error: Exception) -> tuple[int, str]:
    """Exit code and message; what is neither the user's error nor the disk's is our own bug."""
    if isinstance(error, NhnasError):
        return error.exit_code, str(error)
    text = " ".join(str(error).split())
    if isinstance(error, OSError):  # a folder that may not be entered, a full disk behind stdout
        place = "" if error.filename is None else f"{error.filename}: "
        return StorageError.exit_code, f"nhnas: {place}{error.strerror or text}"
    return 1, f"nhnas: internal error: {type(error).__name__}: {text} (--debug shows where)"


def _usage(error: Exception) -> str:
    formatted = getattr(error, "format_message", None)
    return str(formatted()) if callable(formatted) else str(error)
