"""`nhnas git diff-driver`: what git shows of a spec that changed; text where there is no more to tell."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nhnas.comparison import compare
from nhnas.comparison_text import as_text
from nhnas.compiler.place import store_folder
from nhnas.git_drivers import SETTINGS
from nhnas.spec.document import Document, parse_document
from nhnas.spec.errors import NhnasError
from nhnas.spec.merge_text import remarks
from nhnas.spec.shown import shown

_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Change:
    """What git tells of one file (gitdiffcore, "external diff"): where both versions lie, and their modes.

    `new_path` is another than `path` where the file was renamed or copied, and `info` says how.
    """

    path: str
    old: Path
    old_mode: str
    new: Path
    new_mode: str
    new_path: str
    info: str

    def heading(self) -> Iterator[str]:
        """Lines above the semantic difference."""
        yield f"diff --nhnas {shown(f'a/{self.path}', 300)} {shown(f'b/{self.new_path}', 300)}"
        if self.old_mode != self.new_mode:
            yield f"old mode {self.old_mode}"
            yield f"new mode {self.new_mode}"
        yield from (line for line in self.info.splitlines() if line)


def parse_change(arguments: Sequence[str]) -> Change | None:
    """The arguments of an external diff; None for a path that is not merged yet."""
    if len(arguments) < 7:
        return None
    path, old, _, old_mode, new, _, new_mode, *renamed = arguments
    new_path, info = (*renamed, path, "")[:2] if len(renamed) > 1 else (path, "")
    return Change(path, Path(old), old_mode, Path(new), new_mode, new_path, info)


def show_change(arguments: Sequence[str]) -> None:
    """Print what changed. Raises StorageError where a version cannot be read."""
    change = parse_change(arguments)
    if change is None:
        print(f"* Unmerged path {shown(arguments[0], 300)}")
        return
    semantic = _semantic(change)
    if semantic is not None:
        print("\n".join([*change.heading(), semantic]).rstrip("\n"), flush=True)
        return
    if change.info:
        print("\n".join(change.heading()), flush=True)
    _show_text(change)


def _semantic(change: Change) -> str | None:
    """The difference of two specs; None where text says more."""
    if change.old_mode not in _REGULAR or change.new_mode not in _REGULAR:
        return None
    texts = change.old.read_bytes(), change.new.read_bytes()
    if texts[0] == texts[1]:
        return ""
    try:
        names = shown(f"a/{change.path}", 300), shown(f"b/{change.new_path}", 300)
        old, new = (
            parse_document(text, Path(change.new_path), source=name)
            for text, name in zip(texts, names, strict=True)
        )
        comparison = compare(old, new, _store(change))
    except NhnasError as error:
        print(f"shown as text: {str(error).splitlines()[0]}", flush=True)
        return None
    return as_text(comparison) + _about_comments(old, new) if comparison.differs else None


def _about_comments(old: Document, new: Document) -> str:
    differ = remarks(old) != remarks(new)
    return "comments differ as well: git diff --no-ext-diff shows the text\n" if differ else ""


def _store(change: Change) -> Path | None:
    """The store beside the file in the working tree, where we are; with --relative the path is from below."""
    prefix = os.environ.get("GIT_PREFIX", "")
    places = (store_folder(Path(start, change.new_path)) for start in ("", prefix))
    return next((place for place in places if place.is_dir()), None)


def _show_text(change: Change) -> None:
    """git's own difference, under the file's own name instead of that of a temporary copy."""
    with tempfile.TemporaryDirectory(prefix="nhnas-") as name:
        folder = Path(name)
        (folder / ".gitattributes").write_text("* diff=nhnas\n")
        sides = [
            _copied(folder, side, path, source)
            for side, path, source in (("a", change.path, change.old), ("b", change.new_path, change.new))
        ]
        headings = f"diff.nhnas.xfuncname={SETTINGS['diff.nhnas.xfuncname']}"
        options = ["--no-index", "--no-ext-diff", "--no-prefix", "--"]
        subprocess.run(
            ["git", "--no-pager", "-c", headings, "diff", *options, *sides], cwd=folder, check=False
        )


def _copied(folder: Path, side: str, path: str, source: Path) -> str:
    """Where a version lies as git is to name it."""
    if str(source) == os.devnull:
        return os.devnull
    place = folder / side / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, place, follow_symlinks=False)
    return f"{side}/{path}"
