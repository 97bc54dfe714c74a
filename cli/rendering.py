"""`nhnas render`: a spec as a diagram.

An SVG is laid out here, also where graphviz is installed: a picture that is kept in git must not depend on
who drew it. PNG and PDF come from graphviz, an SVG too on demand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from nhnas.compiler.files import write_file
from nhnas.dot_source import as_dot
from nhnas.sources import read_source
from nhnas.spec.document import YAML, Document
from nhnas.spec.drawing import Drawing, Look
from nhnas.spec.drawing_cards import drawn
from nhnas.spec.drawing_mermaid import as_mermaid, is_too_large
from nhnas.spec.drawing_svg import as_svg
from nhnas.spec.errors import InputError, StorageError
from nhnas.spec.shown import shown

FORMATS = ("svg", "png", "pdf", "dot", "mmd")
LAYOUTS = ("auto", "own", "dot")

PATIENCE = 60
"""Seconds that dot may take."""

_INSTALL = "install graphviz (Debian, Ubuntu: apt install graphviz; macOS: brew install graphviz)"


def render(
    source: str,
    output: str,
    old: str | None = None,
    look: Look | None = None,
    layout: str = "auto",
    form: str | None = None,
) -> str:
    """Draw the spec `source` into the file `output`, and say so; `-` is stdout, then nothing is said.

    `old` is what to compare with, `form` one of `FORMATS` (by default the ending of `output`), `layout`
    one of `LAYOUTS`. Raises InputError and StorageError.
    """
    form = _form(output, form)
    if layout not in LAYOUTS:
        raise InputError(f"--layout: '{shown(layout)}' is none of {', '.join(LAYOUTS)}")
    look = look or Look()
    if look.macs and old is not None:
        raise InputError("--macs and --diff both colour the boxes; give one of them")
    new = read_source(source)
    before = None if old is None else read_source(old, new.path)
    title = _title(new) if before is None else _both_titles(before, new)
    drawing = drawn(new.architecture, None if before is None else before.architecture, look, title)
    data, note = _picture(drawing, form, layout)
    if output == "-":
        sys.stdout.buffer.write(data)
        return ""
    _check_place(Path(output), new, before)
    write_file(Path(output), data)
    return f"wrote {shown(output, 300)}{note}"


def _form(output: str, form: str | None) -> str:
    known = f"{', '.join('.' + name for name in FORMATS[:-1])} or .{FORMATS[-1]}"
    if form is not None:
        if form not in FORMATS:
            raise InputError(f"--format: '{shown(form)}' is none of {', '.join(FORMATS)}")
        return form
    if output == "-":
        raise InputError(f"-o -: say which format with --format ({', '.join(FORMATS)})")
    ending = Path(output).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise InputError(f"-o {shown(output, 300)}: the name must end in {known}, or give --format")
    return ending


def _check_place(output: Path, *documents: Document | None) -> None:
    """Never over a spec, whatever its ending; into a folder that is there."""
    if not output.parent.is_dir():
        raise InputError(f"{shown(output.parent, 300)}: no such folder")
    if output.is_dir():
        raise InputError(f"{shown(output, 300)}: is a folder; name a file in it")
    places = [document.path for document in documents if document is not None and document.path is not None]
    over = any(place.exists() and output.exists() and output.samefile(place) for place in places)
    if over or output.suffix in YAML:
        raise InputError(f"{shown(output, 300)}: a picture is not written over a spec; name another file")


def _title(document: Document) -> str:
    return f"{document.name}, version {document.version}" if document.version else document.name


def _both_titles(old: Document, new: Document) -> str:
    if old.name != new.name:
        return f"{_title(old)} → {_title(new)}"
    return f"{new.name}, version {old.version} → {new.version}" if old.version != new.version else _title(new)


def _picture(drawing: Drawing, form: str, layout: str) -> tuple[bytes, str]:
    """The file's bytes, and what else is to be said."""
    if form == "mmd":
        text = as_mermaid(drawing)
        note = "; larger than Mermaid draws by default: --depth or --collapse make it smaller"
        return text.encode(), note if is_too_large(text) else ""
    if form == "dot":
        return as_dot(drawing).encode(), ""
    if form == "svg" and layout != "dot":
        return as_svg(drawing).encode(), ""
    if layout == "own":
        raise InputError(f"the own layout writes .svg only; for .{form} give --layout dot")
    return _run_dot(as_dot(drawing), form), ""


def _run_dot(source: str, form: str) -> bytes:
    """The picture that graphviz makes of a graph."""
    program = shutil.which("dot")
    if program is None:
        raise InputError(f".{form} needs the program dot, which is not here; {_INSTALL}, or write .svg")
    smaller = "--depth or --collapse make the picture smaller; --layout own writes .svg of any size"
    try:
        done = subprocess.run(
            [program, f"-T{form}"], input=source.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"dot was not done after {PATIENCE} s; {smaller}") from None
    except OSError as error:
        raise StorageError(f"{program}: cannot be run: {error.strerror}") from None
    if done.returncode or not done.stdout:
        reason = shown(" ".join(done.stderr.decode("utf-8", "replace").split()), 200)
        raise InputError(f"dot failed: {reason or f'exit code {done.returncode}'}; {smaller}")
    return done.stdout
