"""`nhnas apply`: save what a person changed as a version, without training."""

from __future__ import annotations

from pathlib import Path

from nhnas.command import Options, train_under_lock
from nhnas.commit import Saved, save_version
from nhnas.compiler.files import replace_text
from nhnas.compiler.history import load_info
from nhnas.compiler.lock import hold
from nhnas.compiler.place import spec_key, store_folder
from nhnas.edits_file import EditsFile
from nhnas.goes_on import Request
from nhnas.hand_edits import hand_edits
from nhnas.report import Report
from nhnas.spec.apply import apply
from nhnas.spec.document import Document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.rewrite import rewrite
from nhnas.work import Work


def apply_spec(
    spec: Path, edits: EditsFile | None, options: Options, report: Report | None = None
) -> list[Saved]:
    """Carry the weights over to what the file says, with `edits` on top, and save that as a version.

    Nothing is saved where there is nothing to carry over. An untrained file only gets the edits. Raises
    InputError (a plan for another version, edits that do not fit), BusyError, StorageError.
    """
    document = read_document(spec)
    if document.state is None:
        if edits is not None and edits.edits:
            _edit_untrained(spec, edits, options)
        return []
    if not _pending(document, spec) and (edits is None or not edits.edits):
        return []
    return train_under_lock(spec, Request("apply"), options, _save, report, edits)


def _save(work: Work) -> Saved:
    work.stage = "apply"
    return save_version(work, work.exact)


def _pending(document: Document, spec: Path) -> bool:
    info = load_info(store_folder(spec), document.state or "")
    return bool(hand_edits(document, spec, info.state))


def _edit_untrained(spec: Path, edits: EditsFile, options: Options) -> None:
    with hold(store_folder(spec), spec_key(spec), options.wait, "nhnas apply"):
        document = read_document(spec)
        edits.check(document, 0)
        text = rewrite(document, apply(document.architecture, edits.edits))
        if not replace_text(spec, document.text, text):
            raise InputError(f"{spec}: was edited meanwhile and stays; try again")
