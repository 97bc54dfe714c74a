"""Records docs/day.md: a day with nhnas in a real git repository; run it as `python docs/record_day.py`.

Every command is carried out and what it prints is written down. `tests/test_day.py` carries out the same
commands again, read from docs/day.md, with fewer epochs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = "block2.svg"

DAY: list[tuple[str, str, list[str]]] = [
    (
        "A repository with a spec",
        "Two spirals, four linear neurons to begin with. `nhnas git install` teaches git to show and merge "
        "specs.",
        [
            "git init -q -b main",
            "nhnas init spirals",
            "nhnas git install",
            "git add -A",
            "git commit -qm 'a spec, not trained yet'",
        ],
    ),
    (
        "Grow",
        "One step: neurons are added noisily, trained until the loss is flat, the least important ones fade "
        "out.",
        ["nhnas step spec.yaml"],
    ),
    (
        "Look at what it did",
        "`git diff` shows edits; `--no-ext-diff` the lines of the file.",
        ["git diff", "git diff --no-ext-diff --unified=0 spec.yaml", "git commit -qam 'version 1'"],
    ),
    (
        "Edit a width by hand",
        "The file is ours: `block2` shall have 24 neurons. `plan` tells beforehand what becomes of every "
        "tensor, `apply` saves it as a version.",
        [
            "sed -i '/name: block2/,/width:/s/width: .*/width: 24/' spec.yaml",
            "nhnas plan spec.yaml",
            "nhnas apply spec.yaml",
            f"nhnas render spec.yaml --diff HEAD -o {PICTURE}",
            "git commit -qam 'block2 is wider'",
        ],
    ),
    (
        "Branch, and grow both branches",
        "One colleague gives the first block more neurons, another one the second block. Both train.",
        [
            "git switch -qc left",
            "sed -i '/name: block1/,/hidden:/s/hidden: .*/hidden: 30/' spec.yaml",
            "nhnas train spec.yaml --epochs 40",
            "git commit -qam 'left: more neurons in block1'",
            "git switch -qc right main",
            "sed -i '/name: block2/,/hidden:/s/hidden: .*/hidden: 20/' spec.yaml",
            "nhnas train spec.yaml --epochs 40",
            "git commit -qam 'right: more neurons in block2'",
        ],
    ),
    (
        "Merge",
        "git merges the file edit by edit: both growths are in it. Its `state` is that of the branch we are "
        "on; what the other one grew comes in as new neurons, and the function stays.",
        [
            "git merge -q -m 'both blocks' left",
            "nhnas diff HEAD~1 spec.yaml",
            "nhnas plan spec.yaml",
            "nhnas train spec.yaml --epochs 40",
            "git commit -qam 'both, trained'",
        ],
    ),
    (
        "Go back",
        "`log` draws the branches. An older commit evaluates to the last digit to what `log` shows for it, "
        "and everything goes on from there.",
        [
            "nhnas log spec.yaml",
            "git checkout -q main~1",
            "nhnas eval spec.yaml --json",
            "nhnas log spec.yaml --lineage --json",
            "git switch -q right",
            "nhnas gc --dry-run",
        ],
    ),
]


def main() -> None:
    """Carry the day out in a temporary folder and write it down."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "spirals"
        folder.mkdir()
        text = "".join(section(folder, *part) for part in DAY)
        shutil.copy(folder / PICTURE, HERE / PICTURE)
    (HERE / "day.md").write_text(
        "# A day with it\n\n"
        "Recorded by `docs/record_day.py`, and carried out again by the tests: every command is real.\n"
        f"{text}"
    )


def section(folder: Path, title: str, words: str, commands: list[str]) -> str:
    """A section: what is done, the commands, and what they print."""
    lines = [line for command in commands for line in (f"$ {command}", *carried_out(folder, command))]
    shown = "\n".join(lines)
    picture = f"\n![What changed in block2]({PICTURE})\n" if any(PICTURE in c for c in commands) else ""
    return f"\n## {title}\n{words}\n```console\n{shown}\n```\n{picture}"


def carried_out(folder: Path, command: str) -> list[str]:
    """The lines that a command prints; it must succeed."""
    done = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    told = (done.stdout + done.stderr).replace(str(folder.resolve()), "~/spirals")
    told = told.replace(sys.executable, "~/nhnas/.venv/bin/python")
    return [line.rstrip() for line in told.splitlines()]


def environment() -> dict[str, str]:
    """Nobody's configuration, a fixed author, and this installation of nhnas."""
    who = {
        f"GIT_{role}_{what}": "founder@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_PAGER": "cat"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **who, **settings, "PATH": path}


if __name__ == "__main__":
    main()
