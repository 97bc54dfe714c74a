"""A small spec, two branches that change it, and git commands that may fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.repository import commit, git

BASE = """\
format: 1
name: small
input: [3, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - {name: block1, op: conv, width: 8, residual: {hidden: 6}}
  - {name: block2, op: conv, width: 8, residual: {hidden: 6}}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
train: {lr: 0.1}
"""
ONE = BASE.splitlines(keepends=True)[5]


def grown(layer: int, hidden: int, text: str = BASE) -> str:
    """The spec with another number of neurons in one of its blocks."""
    line = next(x for x in text.splitlines(keepends=True) if f"name: block{layer}" in x)
    return text.replace(line, line.replace("hidden: 6", f"hidden: {hidden}"))


def branch(folder: Path, ours: str, theirs: str, name: str = "spec.yaml") -> None:
    """Commit ours on `main`, where we stay, and theirs on `side`."""
    git(folder, "checkout", "--quiet", "-b", "side")
    (folder / name).write_text(theirs)
    commit(folder, "theirs")
    git(folder, "checkout", "--quiet", "main")
    (folder / name).write_text(ours)
    commit(folder, "ours")


def attempt(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code of a git command, and what it printed, to stderr first."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr + done.stdout


def path_without_nhnas() -> str:
    """The PATH without folders that have a program called nhnas."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not Path(folder, "nhnas").exists())
