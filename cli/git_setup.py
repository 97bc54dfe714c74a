"""`nhnas git install|uninstall|status`: our lines in `.gitattributes`, our drivers in `.git/config`.

`.gitattributes` in the root is committed and says which files are specs; without the configuration it
changes nothing. The configuration names a program, so it stays in this clone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.files import read_file, replace_text, storing
from nhnas.git_attributes import DEFAULT_PATTERNS, DRIVER, patterns_in, with_block, without_block
from nhnas.git_drivers import PYTHON, SETTINGS
from nhnas.git_read import find_repository, run_git
from nhnas.spec.errors import InputError, StorageError
from nhnas.spec.shown import shown

ATTRIBUTES = ".gitattributes"
_MAX_BYTES = 100 << 20
"""git ignores a larger `.gitattributes`."""


@dataclass(frozen=True)
class Status:
    """What is set up in a repository.

    `patterns` are those of our lines in `.gitattributes`, None without them. `diff` and `merge` are
    "installed", "absent" or "other" (not as this nhnas writes it). `python` is the interpreter in the
    configuration, `works` whether it is there and has nhnas, `fallback` the nhnas on PATH. `files` are
    the tracked files that have both drivers, `untracked` those that are not in git yet.
    """

    repository: str
    patterns: tuple[str, ...] | None
    diff: str
    merge: str
    python: str | None
    works: bool
    fallback: str | None
    files: tuple[str, ...]
    untracked: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    def as_text(self) -> str:
        """Lines to print."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"repository    {shown(self.repository, 300)}"
        patterns = "absent" if self.patterns is None else ", ".join(map(shown, self.patterns)) or "none"
        yield f"attributes    {patterns}"
        yield f"diff driver   {self.diff}"
        yield f"merge driver  {self.merge}"
        yield f"program       {self._program()}"
        yield f"tracked       {len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        yield from (f"  {shown(name, 300)}" for name in self.files)
        if self.patterns and not self.files and not self.untracked:
            yield "no file here goes by these patterns: `nhnas git install 'PATTERN'` names yours"
        if {self.diff, self.merge} != {"installed"} or not self.works or self.patterns is None:
            yield "`nhnas git install` sets up what is missing; until then git shows and merges text"

    def _program(self) -> str:
        if self.python is None:
            return "none"
        if self.works:
            return shown(self.python, 300)
        instead = f"{shown(self.fallback, 300)} is used" if self.fallback else "specs are plain text"
        return f"{shown(self.python, 300)} is gone or has no nhnas; {instead}"


def install(folder: Path, patterns: Sequence[str] = ()) -> Status:
    """Set up the drivers in the repository of `folder`; again and again makes no difference.

    Without patterns those that are there stay, and the default ones are added if there are none. Raises
    InputError (no repository, a pattern that git does not take) and StorageError.
    """
    top = _top(folder)
    old = _attributes(top)
    new = with_block(old, patterns or (patterns_in(old) if old else None) or DEFAULT_PATTERNS)
    wanted = {**SETTINGS, PYTHON: sys.executable}
    present = _config(top)
    for key, value in wanted.items():
        if present.get(key) != value:
            _write_config(top, "--replace-all", key, value)
    if new != old:
        _write(top, old, new)
    return status(folder)


def uninstall(folder: Path) -> bool:
    """Take out all that `install` wrote; False where there was nothing. Raises as `install` does."""
    top = _top(folder)
    old = _attributes(top)
    new = None if old is None else without_block(old)
    keys = [key for key in (*SETTINGS, PYTHON) if key in _config(top, "--local")]
    for key in keys:
        _write_config(top, "--unset-all", key)
    if new != old:
        _write(top, old, new)
    return bool(keys) or new != old


def status(folder: Path) -> Status:
    """What is set up; reads only. Raises InputError (no repository) and StorageError."""
    top = _top(folder)
    text = _attributes(top)
    config = _config(top)
    python = config.get(PYTHON)
    return Status(
        repository=str(top),
        patterns=None if text is None else patterns_in(text),
        diff=_state(config, "diff."),
        merge=_state(config, "merge."),
        python=python,
        works=python is not None and _works(python),
        fallback=shutil.which("nhnas"),
        files=tuple(_files(top)),
        untracked=tuple(_files(top, "--others", "--exclude-standard")),
    )


def _state(config: dict[str, str], prefix: str) -> str:
    keys = [key for key in SETTINGS if key.startswith(prefix)]
    if not any(key in config for key in keys):
        return "absent"
    return "installed" if all(config.get(key) == SETTINGS[key] for key in keys) else "other"


def _top(folder: Path) -> Path:
    """The root of the working tree."""
    if find_repository(folder) is None:
        here = shown(folder.resolve(), 300)
        raise InputError(f"{here}: is not in the working tree of a git repository; `git init` makes one")
    return Path(os.fsdecode(run_git(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))


def _attributes(top: Path) -> bytes | None:
    path = top / ATTRIBUTES
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        raise InputError(f"{shown(path, 300)}: is a link, which git does not follow; put a file there")
    return read_file(path, limit=_MAX_BYTES)


def _write(top: Path, old: bytes | None, new: bytes | None) -> None:
    path = top / ATTRIBUTES
    if new is None:
        with storing(path):
            path.unlink()
    elif not replace_text(path, old, new):
        raise InputError(f"{shown(path, 300)}: was edited meanwhile and stays; try again")


def _config(top: Path, *scope: str) -> dict[str, str]:
    entries = run_git(top, "config", "--null", *scope, "--list").split(b"\0")
    pairs = (os.fsdecode(entry).partition("\n") for entry in entries if entry)
    return {key: value for key, _, value in pairs}


def _write_config(top: Path, *arguments: str) -> None:
    command = ["git", "-C", str(top), "config", "--local", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        reason = shown(done.stderr.decode("utf-8", "replace").strip().removeprefix("error: "), 300)
        raise StorageError(f"{shown(top, 300)}: the configuration cannot be written: {reason}")


def _works(python: str) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('nhnas') is None)"
    try:
        done = subprocess.run([python, "-P", "-c", code], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _files(top: Path, *which: str) -> Iterator[str]:
    """Tracked files (or `which` others) that both drivers are for."""
    tracked = run_git(top, "ls-files", "-z", *which)
    told = run_git(top, "check-attr", "-z", "--stdin", "diff", "merge", given=tracked).split(b"\0")
    drivers: dict[bytes, list[bytes]] = {}
    for name, _, value in zip(told[::3], told[1::3], told[2::3], strict=False):
        drivers.setdefault(name, []).append(value)
    return (os.fsdecode(name) for name, found in drivers.items() if found == [DRIVER.encode()] * 2)
