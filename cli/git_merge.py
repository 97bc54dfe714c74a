"""`nhnas git merge-driver`: merges one spec of two branches for git; text where it is not about specs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.files import replace_text
from nhnas.compiler.history import load_head
from nhnas.compiler.place import store_folder
from nhnas.git_drivers import CONFLICT
from nhnas.spec.document import parse_document
from nhnas.spec.emit import flow_text
from nhnas.spec.errors import InputError, NhnasError
from nhnas.spec.merge import Merge, merge
from nhnas.spec.merge_text import Texts
from nhnas.spec.merge_values import Conflict
from nhnas.spec.shown import shown

_SIDES = ("ours", "theirs")
_VALUE = 40
"""Longest text of a value in a message."""


@dataclass(frozen=True)
class Job:
    """What git wants merged: three files, of which `ours` gets the result, and how to name things.

    `path` is the file's own, from the root of the working tree, where we are.
    """

    base: Path
    ours: Path
    theirs: Path
    marker_size: int
    path: str
    labels: tuple[str, str]


def parse_job(arguments: Sequence[str]) -> Job:
    """From the places %O %A %B %L %P %S %X %Y; an older git leaves the last three as they are."""
    base, ours, theirs, size, path, *names = arguments
    given = (name if name and not name.startswith("%") else "" for name in (*names[1:3], "", ""))
    labels = [shown(name) or side for name, side in zip(given, _SIDES, strict=False)]
    return Job(Path(base), Path(ours), Path(theirs), int(size), path, (labels[0], labels[1]))


def merge_files(job: Job) -> int:
    """Merge into `job.ours`; 0 where all went well, else `CONFLICT`. Says on stderr what one should know.

    What is no spec, or cannot be edited, is merged as text. Raises StorageError.
    """
    try:
        found = _merged(job)
    except InputError as error:
        print(f"{str(error).splitlines()[0]}; merged as text", file=sys.stderr)
        return _merge_as_text(job)
    if not replace_text(job.ours, None, found.text):
        raise RuntimeError("bug: nothing was expected of the file")
    for line in told(job.path, found):
        print(line, file=sys.stderr)
    return 0 if found.clean else CONFLICT


def _merged(job: Job) -> Merge:
    path = Path(job.path)
    texts = [file.read_bytes() for file in (job.base, job.ours, job.theirs)]
    names = [f"{side}:{shown(path, 300)}" for side in ("base", *job.labels)]
    base = parse_document(texts[0], path, source=names[0]) if texts[0] else None
    ours, theirs = (parse_document(texts[i], path, source=names[i]) for i in (1, 2))
    try:
        return merge(
            base,
            ours,
            theirs,
            text_merge,
            stored=lambda state: _is_stored(path, state),
            labels=job.labels,
            marker_size=job.marker_size,
        )
    except InputError as error:
        raise InputError(f"{shown(path, 300)}: {error}") from None


def _is_stored(spec: Path, state: str) -> bool:
    """Whether the weights of a state are at hand."""
    try:
        return not load_head(store_folder(spec), state).dropped
    except NhnasError:
        return False


def text_merge(texts: Texts, to_theirs: bool) -> bytes | None:
    """git's own merge by lines, conflicts given to one side."""
    with tempfile.TemporaryDirectory(prefix="nhnas-") as name:
        base, ours, theirs = (Path(name, side) for side in ("base", *_SIDES))
        for file, text in zip((base, ours, theirs), texts, strict=True):
            file.write_bytes(text)
        command = ["git", "merge-file", "-p", "-q", "--theirs" if to_theirs else "--ours"]
        done = subprocess.run([*command, ours, base, theirs], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _merge_as_text(job: Job) -> int:
    names = (job.labels[0], "base", job.labels[1])
    labels = [word for name in names for word in ("-L", name)]
    command = ["git", "merge-file", "-q", f"--marker-size={job.marker_size}", *labels]
    done = subprocess.run([*command, job.ours, job.base, job.theirs], check=False)
    return CONFLICT if done.returncode else 0


def told(path: str, found: Merge) -> Iterator[str]:
    """Lines for the person who merges."""
    file = shown(path, 300)
    for conflict in found.conflicts:
        yield f"{file}: conflict at {shown(conflict.path)}{_values(conflict)}"
    if found.reason:
        yield f"{file}: the nets of both do not go together: {found.reason}"
    if not found.clean and not found.conflicts:
        yield f"{file}: conflict in a comment"
    if found.lost:
        yield f"{file}: found no place for these comments: {'  '.join(map(shown, found.lost))}"
    if found.left:
        weights = f"version {found.trained.version} ({found.trained.state}), not {found.left}"
        yield f"{file}: the weights are those of {weights}; `nhnas plan` tells what becomes of the rest"


def _values(conflict: Conflict) -> str:
    """What both sides made of it, where that is short."""
    base, *sides = [_text(value) for value in (conflict.base, conflict.ours, conflict.theirs)]
    if max(map(len, (base, *sides))) > _VALUE:
        did = ["removed" if value is None else "changed" for value in (conflict.ours, conflict.theirs)]
        return f": {did[0]} in {_SIDES[0]}, {did[1]} in {_SIDES[1]}"
    before = "" if conflict.base is None else f"{base} became "
    return f": {before}{sides[0]} in {_SIDES[0]}, {sides[1]} in {_SIDES[1]}"


def _text(value: Any) -> str:
    return "absent" if value is None else flow_text(value)
