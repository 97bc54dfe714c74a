"""nhnas: architectures as text files in git, and trained weights that follow them.

The Python API; the command line is a thin skin over it. `import nhnas` itself imports nothing heavy:
torch comes with the functions that need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from torch import Tensor

    from nhnas.commit import Saved
    from nhnas.comparison import Comparison
    from nhnas.compiler.merged import MergedNetwork
    from nhnas.compiler.network import Network
    from nhnas.planning import Plan
    from nhnas.report import Report
    from nhnas.spec.apply import apply
    from nhnas.spec.diff import diff
    from nhnas.spec.document import Document
    from nhnas.spec.edits import Edit
    from nhnas.spec.errors import NhnasError
    from nhnas.spec.model import Architecture

__all__ = [
    "Architecture",
    "Document",
    "NhnasError",
    "apply",
    "apply_edits",
    "build",
    "compare",
    "diff",
    "evaluate",
    "history",
    "load",
    "load_model",
    "plan",
    "run",
    "step",
    "train",
    "trained_on",
]

Pathish = str | PathLike[str]

_ELSEWHERE = {
    "Architecture": "nhnas.spec.model",
    "Document": "nhnas.spec.document",
    "NhnasError": "nhnas.spec.errors",
    "apply": "nhnas.spec.apply",
    "diff": "nhnas.spec.diff",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `nhnas check` needs no edits, and start-up is most of what it does."""
    if name == "__version__":
        return import_module("importlib.metadata").version("nhnas")
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    """For completion: also what is imported on first use."""
    return sorted({*globals(), *_ELSEWHERE})


def load(spec: Pathish) -> Document:
    """Read and verify a spec file: architecture, settings and text. Raises InputError with all errors."""
    from nhnas.spec.document import read_document

    return read_document(Path(spec))


def build(arch: Architecture, tensors: Mapping[str, Tensor] | None = None, *, seed: int = 0) -> Network:
    """The torch module of an architecture, [B, *input] → [B, outputs].

    `tensors` by canonical name (DESIGN §3); without them the weights are drawn from `seed`. Raises
    InputError where the architecture is unsound or names and shapes do not agree.
    """
    from nhnas.compiler.build import build as compile_module

    return compile_module(arch, tensors, seed=seed)


@overload
def load_model(spec: Pathish, *, fresh: bool = False, merged: Literal[False] = False) -> Network: ...
@overload
def load_model(spec: Pathish, *, fresh: bool = False, merged: Literal[True]) -> MergedNetwork: ...
def load_model(spec: Pathish, *, fresh: bool = False, merged: bool = False) -> Network | MergedNetwork:
    """The network of a spec file in evaluation mode with its weights, on the CPU.

    Where `net` was edited since the last version the weights are carried over in memory. `fresh`
    ignores the state. Inputs are to be normalised as in training (`trained_on`). `merged` gives the
    evaluation form: norms folded into weights, leaves run together, the same outputs to 1e-5 of their size in
    less time; no gradients, no training mode, weights without canonical names. Raises InputError,
    StorageError.
    """
    from nhnas.evaluation import load_model as load_network

    network = load_network(Path(spec), fresh=fresh)
    if not merged:
        return network
    from nhnas.compiler.merged import merged as merge

    return merge(network)


def evaluate(spec: Pathish, *, split: str = "test", allow_import: bool = False) -> dict[str, Any]:
    """`split`, `loss` and `accuracy` (a fraction; or `mse`) of the file as it is, over train, val or test.

    In float32, by the function that a version's own figures come from. Writes and downloads nothing. Raises
    InputError, StorageError.
    """
    from nhnas.evaluation import evaluate_spec
    from nhnas.report import Silent
    from nhnas.work import Context

    return evaluate_spec(Path(spec), split, Context(Path(spec), Silent(), allow_import))


def history(spec: Pathish, *, branches: bool = False) -> list[dict[str, Any]]:
    """One record a version that led to the file, oldest first, as `nhnas log --lineage --json` prints them.

    With `branches` all of the same descent. Raises InputError, StorageError.
    """
    from nhnas.log import history as records

    return records(Path(spec), branches)


def trained_on(spec: Pathish) -> dict[str, Any]:
    """What the data were that the spec's version was trained on, for use of its weights elsewhere.

    `classes`: names by number, or None; `mean` and `std`: a number a channel, with which pixels of 0 to 1
    were normalised, (x - mean) / std, or None where they were not; `samples`: how many there were for
    training, those held out among them. Raises InputError where the file names no version, or one that was
    saved without these facts, and StorageError.
    """
    from nhnas.class_facts import facts_of

    return facts_of(Path(spec))


def compare(old: Pathish, new: Pathish) -> Comparison:
    """What differs between two specs: `edits` of the net, `settings`, and which neurons are `guessed`.

    Each is a file, `REVISION:path`, or, of the other's file, a git revision or a state. Raises InputError.
    """
    from nhnas.comparison import compare as compare_documents
    from nhnas.sources import read_pair

    return compare_documents(*read_pair(str(old), str(new)))


def plan(spec: Pathish, edits: Sequence[Edit] = ()) -> Plan:
    """What becomes of every tensor and of the outputs if the file, with `edits` on top, is taken as it is.

    Writes nothing. Raises InputError, StorageError.
    """
    from nhnas.edits_file import EditsFile
    from nhnas.planning import plan_spec

    return plan_spec(Path(spec), EditsFile(tuple(edits)))


def apply_edits(spec: Pathish, edits: Sequence[Edit] = (), *, report: Report | None = None) -> Saved | None:
    """Carry the weights over to what the file says, with `edits` on top, and save that as a version.

    None where there is nothing to carry over. Raises InputError, BusyError, StorageError.
    """
    from nhnas.application import apply_spec
    from nhnas.command import Options
    from nhnas.edits_file import EditsFile

    saved = apply_spec(Path(spec), EditsFile(tuple(edits)), Options(), report)
    return saved[-1] if saved else None


def step(
    spec: Pathish,
    *,
    to: int | None = None,
    probe_samples: int = 256,
    report: Report | None = None,
    fresh: bool = False,
    discard: bool = False,
    wait: bool = False,
    allow_import: bool = False,
) -> Saved | None:
    """One step of the search; saves a version and returns it, None where version `to` is there already.

    `probe_samples` test samples measure by how much each edit moves the output. An interrupted step is
    continued, or dropped with `discard`; `fresh` starts untrained, `wait` waits while another command works
    on the spec, `allow_import` admits a data set from outside the spec's folder. Raises InputError,
    BusyError, TrainingError, StorageError, Interrupted.
    """
    from nhnas.command import Options
    from nhnas.command import step as run_command

    options = Options(fresh, discard, wait, allow_import, probe_samples)
    saved = run_command(Path(spec), to, options, report)
    return saved[-1] if saved else None


def run(
    spec: Pathish,
    *,
    steps: int | None = None,
    to: int | None = None,
    until: str | Sequence[str] = (),
    probe_samples: int = 256,
    report: Report | None = None,
    fresh: bool = False,
    discard: bool = False,
    wait: bool = False,
    allow_import: bool = False,
) -> Sequence[Saved]:
    """Several steps, `steps` more or up to version `to`, or until a goal of `until` is met; else as `step`.

    Goals are texts such as `params=70000`, `accuracy>=0.92`; what is met first ends it.
    """
    from nhnas.command import Options
    from nhnas.command import run as run_command

    goals = [until] if isinstance(until, str) else until
    options = Options(fresh, discard, wait, allow_import, probe_samples)
    return run_command(Path(spec), steps, to, options, report, goals)


def train(
    spec: Pathish,
    *,
    epochs: int,
    report: Report | None = None,
    fresh: bool = False,
    discard: bool = False,
    wait: bool = False,
    allow_import: bool = False,
) -> Saved:
    """Train without changing the architecture, along `train.schedule`; else as `step`.

    Where a command that was killed after its last write had saved the version already, it is that one.
    """
    from nhnas.command import Options
    from nhnas.command import train as run_command
    from nhnas.commit import saved_already

    saved = run_command(Path(spec), epochs, Options(fresh, discard, wait, allow_import), report)
    return saved[-1] if saved else saved_already(Path(spec))
