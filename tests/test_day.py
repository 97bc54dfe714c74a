"""The day of docs/day.md, carried out again: every command in order, with the real git, and fewer epochs."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.model import Conv, Dense
from tests.repository import git

DAY = Path(__file__).parent.parent / "docs" / "day.md"
QUICKLY = {
    "min_epochs: 60": "min_epochs: 1",
    "max_epochs: 100": "max_epochs: 2",
    "settle_epochs: 80": "settle_epochs: 1",
}


def commands() -> list[str]:
    """What is typed on that day."""
    return [line.removeprefix("$ ") for line in DAY.read_text().splitlines() if line.startswith("$ ")]


def carried_out(folder: Path, command: str) -> str:
    """Run one command, with this Python's nhnas, and return what it prints."""
    words = shlex.split(command)
    if words[0] == "nhnas":
        words = [sys.executable, "-m", "nhnas", *words[1:]]
    if words[0] == "git":
        return git(folder, *words[1:])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def hidden(document: Document) -> dict[str, int]:
    """Hidden neurons by layer."""
    nodes = [layer for layer in document.architecture.net if isinstance(layer, Conv | Dense)]
    return {node.name: node.residual.hidden for node in nodes if node.residual is not None}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """The folder at the end of the day, and what each command printed, each time it was given."""
    folder = tmp_path_factory.mktemp("day")
    told: dict[str, list[str]] = {}
    for command in commands():
        quick = command.replace("--epochs 40", "--epochs 2")
        told.setdefault(command, []).append(carried_out(folder, quick))
        if command == "nhnas init spirals":
            text = (folder / "spec.yaml").read_text()
            for slow, fast in QUICKLY.items():
                assert slow in text
                text = text.replace(slow, fast)
            (folder / "spec.yaml").write_text(text)
    return folder, told


def committed(folder: Path, revision: str) -> Document:
    """The spec as it was committed."""
    return parse_document(git(folder, "show", f"{revision}:spec.yaml").encode())


def test_git_diff_shows_edits(day: tuple[Path, dict[str, list[str]]]) -> None:
    """After the step: sites by layer and the totals, no lines of YAML; plain lines where asked for."""
    _, told = day
    (semantic,) = told["git diff"]
    assert "untrained → version 1 (s" in semantic
    assert "\nblock1\n  + width 2 → " in semantic
    assert "\ntotal: 4 → " in semantic
    assert "@@" not in semantic
    (plain,) = told["git diff --no-ext-diff --unified=0 spec.yaml"]
    assert "-    width: 2\n" in plain
    assert " block1\n" in "".join(line + "\n" for line in plain.splitlines() if line.startswith("@@"))


def test_plan_and_apply_agree(day: tuple[Path, dict[str, list[str]]]) -> None:
    """The width of 24 preserves the function, and is a version of its own."""
    _, told = day
    plan, merged = told["nhnas plan spec.yaml"]
    assert "→ 24 (+" in plan
    assert "function: preserved" in plan
    assert "function: preserved" in merged
    assert "block1\n  + hidden " in merged
    assert "block2" not in merged.partition("total:")[0]
    (applied,) = told["nhnas apply spec.yaml"]
    assert "version 2 (s" in applied


def test_the_merge_has_both_growths(day: tuple[Path, dict[str, list[str]]]) -> None:
    """30 neurons of the one branch, 20 of the other, and the weights of the branch that merged."""
    folder, _ = day
    left, right, merge = (committed(folder, name) for name in ("left", "right~1^1", "right~1"))
    assert 30 == hidden(left)["block1"]
    assert 20 == hidden(right)["block2"]
    assert {"block1": 30, "block2": 20} == {name: hidden(merge)[name] for name in ("block1", "block2")}
    assert (right.state, right.version) == (merge.state, merge.version)
    assert left.state not in (right.state, None)


def test_an_old_commit_evaluates_to_what_the_log_shows(day: tuple[Path, dict[str, list[str]]]) -> None:
    """Every digit; and back on the branch nothing is left over."""
    folder, told = day
    evaluated = json.loads(told["nhnas eval spec.yaml --json"][0])
    (record,) = [json.loads(line) for line in told["nhnas log spec.yaml --lineage --json"][0].splitlines()]
    assert {"split": "test", **record["test"]} == evaluated
    assert committed(folder, "main~1").state == record["state"]
    assert "" == git(folder, "status", "--porcelain", "--untracked-files=no")
    assert 4 == read_document(folder / "spec.yaml").version


def test_the_log_draws_the_branches(day: tuple[Path, dict[str, list[str]]]) -> None:
    """Five versions, two of them numbered 3, and the file's own is marked."""
    _, told = day
    (log,) = told["nhnas log spec.yaml"]
    assert 5 == sum(" s" in line and "*" in line for line in log.splitlines())
    assert "(left)" in log
    assert log.splitlines()[-1].endswith("←  spec.yaml")
    assert "would drop 0 of 5 snapshots" in told["nhnas gc --dry-run"][0]


def test_the_picture_is_the_recorded_one() -> None:
    """docs/day.md shows a picture that is there, and tells nothing of the machine that recorded it."""
    text = DAY.read_text()
    assert (DAY.parent / "block2.svg").exists()
    assert "/tmp" not in text
    assert "/home" not in text
