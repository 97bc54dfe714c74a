"""The command line: a thin skin over the API; one line per user error, exit codes as in DESIGN §8.

Heavy imports stay inside the commands: `--help`, `check` and `show` never import torch.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.exceptions

from nhnas.spec.errors import NhnasError

if TYPE_CHECKING:
    from nhnas.command import Options
    from nhnas.commit import Saved
    from nhnas.work import Context

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


@app.command()
def check(specs: Specs) -> None:
    """Check spec files; every error in one pass, as file:line:column."""
    from nhnas.check import check as check_specs

    raise typer.Exit(check_specs(specs))


@app.command()
def show(specs: Specs, as_json: Json = False) -> None:
    """Show architectures as trees with neurons, parameters, MACs and depth."""
    from nhnas.show import show as show_specs

    show_specs(specs, as_json)


@app.command()
def init(
    template: Annotated[str, typer.Argument(help="spirals, regression2d, mnist-dense, …, or resnet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path("spec.yaml"),
    width: Annotated[int, typer.Option(min=1, help="resnet: neurons of the first stage.")] = 16,
    blocks: Annotated[int, typer.Option(min=1, help="resnet: blocks a stage.")] = 3,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a spec file from a template."""
    from nhnas.init import init as write_template

    write_template(template, output, width, blocks, force)


@app.command()
def step(
    spec: Spec,
    to: Annotated[int | None, typer.Option("--to", min=0, help="Nothing happens at this version.")] = None,
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
    probe: Probe = 256,
) -> None:
    """Grow, train until the loss is flat, remove the least important neurons, save the next version."""
    from nhnas.command import step as run_step
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, probe)
    _tell(run_step(spec, to, options, Lines()), spec)


@app.command()
def run(
    spec: Spec,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="So many steps more.")] = None,
    to: Annotated[int | None, typer.Option("--to", min=0, help="Up to this version.")] = None,
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
    probe: Probe = 256,
) -> None:
    """Several steps; the file is read again before each."""
    from nhnas.command import run as run_steps
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, probe)
    _tell(run_steps(spec, steps, to, options, Lines()), spec)


@app.command()
def train(
    spec: Spec,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs, along train.schedule.")],
    fresh: Fresh = False,
    discard: Discard = False,
    wait: Wait = False,
    allow_import: AllowImport = False,
) -> None:
    """Train without changing the architecture, and save a version."""
    from nhnas.command import train as run_training
    from nhnas.report import Lines

    options = _options(fresh, discard, wait, allow_import, 256)
    _tell(run_training(spec, epochs, options, Lines()), spec)


@app.command(name="eval")
def evaluate(
    spec: Spec,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    as_json: Json = False,
    fresh: Fresh = False,
    allow_import: AllowImport = False,
) -> None:
    """Loss and accuracy of the file as it is; writes nothing."""
    from nhnas.evaluation import evaluate_spec

    result = evaluate_spec(spec, split, _context(spec, fresh, allow_import))
    if as_json:
        print(json.dumps(result))
    else:
        print(
            "  ".join(f"{key} {value:.6g}" if key != "split" else str(value) for key, value in result.items())
        )


@app.command()
def log(spec: Spec, as_json: Json = False) -> None:
    """The versions that led to this file, oldest first."""
    from nhnas.log import history, table

    records = history(spec)
    if as_json:
        for record in records:
            print(json.dumps(record))
    else:
        print(table(records) if records else f"{spec}: untrained, no version yet")


@app.command()
def plot(
    spec: Spec,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".png, .svg or .pdf")] = None,
    fresh: Fresh = False,
    allow_import: AllowImport = False,
) -> None:
    """Draw the decision boundary or surface (two inputs), or the history."""
    from nhnas.plot import plot as draw

    print(draw(spec, output, _context(spec, fresh, allow_import)))


def _options(fresh: bool, discard: bool, wait: bool, allow_import: bool, probe: int) -> Options:
    from nhnas.command import Options

    return Options(fresh, discard, wait, allow_import, probe)


def _context(spec: Path, fresh: bool, allow_import: bool) -> Context:
    from nhnas.report import Silent
    from nhnas.work import Context

    return Context(spec, Silent(), lambda: 0, allow_import, fresh)


def _tell(saved: list[Saved], spec: Path) -> None:
    """What was saved, a line a version."""
    from nhnas.log import edits_text, measure_text

    if not saved:
        print(f"{spec}: this version is there already; nothing to do")
    for one in saved:
        size = f"{one.totals['parameters']:,} parameters, {one.totals['neurons']} neurons"
        print(f"version {one.version} ({one.state}) in {one.path}: test {measure_text(one.test)}, {size}")
        print(f"  edits: {edits_text(one.edits)}; largest |Δoutput| {one.max_change:.1e}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    code = _guarded([a for a in given if a != "--debug"], debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)


def _guarded(arguments: list[str], debug: bool) -> int:
    try:
        result: Any = app(arguments, standalone_mode=False)
    except typer.exceptions.TyperException as error:
        print(f"nhnas: {' '.join(_usage(error).split())} (see nhnas --help)", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        code, message = _told(error)
        print(message, file=sys.stderr)
        return code
    if result == CTRL_C:
        print("nhnas: stopped", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _told(error: Exception) -> tuple[int, str]:
    """Exit code and message; what is no error of the user's is our own bug."""
    if isinstance(error, NhnasError):
        return error.exit_code, str(error)
    text = " ".join(str(error).split())
    return 1, f"nhnas: internal error: {type(error).__name__}: {text} (--debug shows where)"


def _usage(error: Exception) -> str:
    formatted = getattr(error, "format_message", None)
    return str(formatted()) if callable(formatted) else str(error)
