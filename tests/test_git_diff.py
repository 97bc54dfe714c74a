"""`git diff` and its kin show what changed in a spec; whatever goes wrong, they show text and never die."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas import git_setup
from nhnas.comparison import compare
from nhnas.comparison_text import as_text
from nhnas.git_diff import parse_change
from nhnas.spec.document import parse_document
from tests import tiny
from tests.branches import path_without_nhnas
from tests.repository import QUIET, commit, git, start

OLD = """\
format: 1
name: small
input: [3, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - name: block
    op: conv
    width: 8
    residual:
      hidden: 6
      act: gelu
      fixed: true
      second: {residual: {hidden: 2}}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
train: {lr: 0.1}
"""
NEW = OLD.replace("hidden: 2", "hidden: 5").replace("lr: 0.1", "lr: 0.2")
SEMANTIC = as_text(compare(parse_document(OLD.encode()), parse_document(NEW.encode())))
ODD = 'it\'s "a" ü$(touch x).nhnas.yaml'


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with drivers, the old specs committed and one of them changed."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "a b"
    (folder / "sub dir").mkdir(parents=True)
    for name in ("spec.yaml", f"sub dir/{ODD}"):
        (folder / name).write_text(OLD)
    start(folder)
    git_setup.install(folder)
    commit(folder, "attributes")
    (folder / "spec.yaml").write_text(NEW)
    return folder


def removed_and_added(text: str) -> list[str]:
    """The lines of a diff in text that differ."""
    return [line for line in text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


TEXT = ["-      second: {residual: {hidden: 2}}", "+      second: {residual: {hidden: 5}}"]
TEXT += ["-train: {lr: 0.1}", "+train: {lr: 0.2}"]


def test_diff_shows_the_edits_and_log_does_where_asked(work: Path) -> None:
    """`git diff`, `git log -p --ext-diff`, `git show --ext-diff`, `git stash show -p --ext-diff`."""
    shown = f"diff --nhnas a/spec.yaml b/spec.yaml\n{SEMANTIC}".strip()
    assert shown == git(work, "diff")
    git(work, "stash", "--quiet")
    assert shown == git(work, "stash", "show", "-p", "--ext-diff")
    git(work, "stash", "pop", "--quiet")
    commit(work, "grown")
    assert git(work, "log", "-1", "-p", "--ext-diff").endswith(shown)
    assert git(work, "show", "--ext-diff").endswith(shown)


def test_text_is_one_option_away_and_its_headings_name_the_layer(work: Path) -> None:
    """`--no-ext-diff`, and what `git log -p` shows anyway; also of a layer that begins with another key."""
    text = git(work, "diff", "--no-ext-diff")
    assert TEXT == removed_and_added(text)
    assert "@@ -10,7 +10,7 @@ block\n" in text
    (work / "spec.yaml").write_text(
        OLD.replace("  - name: block\n    op", "  - op").replace(
            "    width: 8", "    width: 8\n    name: block"
        )
    )
    commit(work, "turned round")
    (work / "spec.yaml").write_text((work / "spec.yaml").read_text().replace("hidden: 2", "hidden: 5"))
    assert "@@ block\n" in git(work, "diff", "--no-ext-diff")


def test_headings_of_layers_in_braces_are_their_names(work: Path) -> None:
    """Such a line may be long."""
    lines = "".join(f"  - {{name: l{n}, op: conv, width: 4, note: n{n}}}\n" for n in range(9))
    path = work / "spec.yaml"
    path.write_text(OLD.replace("  - {name: pool", f"{lines}  - {{name: pool"))
    commit(work, "long")
    path.write_text(path.read_text().replace("note: n8", "note: m8"))
    assert "@@ l4\n" in git(work, "diff", "--no-ext-diff")


def test_odd_paths_from_a_folder_below(work: Path) -> None:
    """Blanks, quotes, a dollar sign and other alphabets; git runs us in the root whoever stands where."""
    (work / "sub dir" / ODD).write_text(NEW)
    for folder in (work, work / "sub dir"):
        assert SEMANTIC.strip() in git(folder, "diff", "--", f":(top)sub dir/{ODD}")
    assert SEMANTIC.strip() in git(work / "sub dir", "diff", "--relative")
    assert not list(work.rglob("x"))


def test_files_that_come_or_go_or_are_renamed(work: Path) -> None:
    """New and deleted ones as git shows them, a renamed one with what changed in it, a mode that changed."""
    (work / "new.nhnas.yaml").write_text(OLD)
    git(work, "add", "--all")
    found = git(work, "diff", "--cached", "--", "new.nhnas.yaml")
    assert [f"+{line}" for line in OLD.splitlines()] == removed_and_added(found)
    assert "+++ b/new.nhnas.yaml" in found
    commit(work, "new")
    git(work, "rm", "--quiet", "new.nhnas.yaml")
    found = git(work, "diff", "--cached")
    assert [f"-{line}" for line in OLD.splitlines()] == removed_and_added(found)
    git(work, "reset", "--quiet", "--hard")
    git(work, "mv", "new.nhnas.yaml", "moved.nhnas.yaml")
    (work / "moved.nhnas.yaml").write_text(NEW)
    git(work, "add", "--all")
    found = git(work, "diff", "--cached", "-M")
    assert "rename from new.nhnas.yaml\nrename to moved.nhnas.yaml\n" in found
    assert SEMANTIC.strip() in found
    git(work, "reset", "--quiet", "--hard")
    (work / "spec.yaml").chmod(0o755)
    assert "diff --nhnas a/spec.yaml b/spec.yaml\nold mode 100644\nnew mode 100755" == git(work, "diff")


def test_text_where_there_is_no_more_to_tell(work: Path) -> None:
    """Comments and layout alone, a file that is no spec now or was none, one with conflict markers."""
    path = work / "spec.yaml"
    path.write_text(OLD.replace("net:", "net:  # the chain"))
    assert ["-net:", "+net:  # the chain"] == removed_and_added(git(work, "diff"))
    path.write_text(NEW.replace("net:", "net:  # the chain"))
    assert git(work, "diff").endswith("comments differ as well: git diff --no-ext-diff shows the text")
    for broken, reason in (
        (OLD.replace("width: 8", "width: -8"), "spec.yaml:8:12: block.width: "),
        (OLD.replace("net:", "<<<<<<< HEAD\nnet:"), "spec.yaml:4:1: a merge conflict is not resolved"),
        ("\udcff\0", "spec.yaml:1:1: byte 0xff is not UTF-8"),
        ("", "spec.yaml:1:1: the file is empty"),
    ):
        path.write_bytes(os.fsencode(broken))
        found = git(work, "diff")
        assert found.startswith(f"shown as text: b/{reason}")
        assert "diff --git a/spec.yaml b/spec.yaml" in found


def break_program(work: Path, how: str) -> None:
    """Make the interpreter of the configuration useless in some way."""
    program = work.parent / "python"
    if how == "gone":
        git(work, "config", "nhnas.python", str(program))
    elif how == "unset":
        git(work, "config", "--unset", "nhnas.python")
    else:
        program.write_text({"crashes": "#!/bin/sh\necho oops >&2; exit 1\n", "no program": "x"}[how])
        program.chmod(0o755)
        git(work, "config", "nhnas.python", str(program))


@pytest.mark.parametrize("how", ["gone", "unset", "crashes", "no program"])
def test_without_a_program_that_works_git_shows_text(
    work: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Exit code 0 and the lines that differ, also for files that came."""
    monkeypatch.setenv("PATH", path_without_nhnas())
    break_program(work, how)
    assert TEXT == removed_and_added(git(work, "diff"))
    git(work, "add", "--all")
    commit(work, "changed")
    assert "+format: 1" in git(work, "show", "--ext-diff", "HEAD~2", "--", "spec.yaml")


def test_nhnas_on_the_path_is_the_second_choice(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the virtual environment moved."""
    folder = work.parent / "bin"
    folder.mkdir()
    (folder / "nhnas").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nhnas "$@"\n')
    (folder / "nhnas").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{path_without_nhnas()}")
    break_program(work, "gone")
    assert SEMANTIC.strip() in git(work, "diff")


def test_a_clone_without_configuration_shows_text(work: Path) -> None:
    """The attributes alone change nothing."""
    commit(work, "changed")
    git(work.parent, "clone", "--quiet", str(work), "clone")
    (work.parent / "clone" / "spec.yaml").write_text(OLD)
    found = git(work.parent / "clone", "diff")
    assert "diff --git a/spec.yaml b/spec.yaml" in found
    assert 4 == len(removed_and_added(found))


def test_no_code_of_the_repository_is_run(work: Path) -> None:
    """A module called nhnas or typer in the repository is not imported by the driver."""
    for name in ("nhnas", "typer", "json", "pydantic"):
        (work / f"{name}.py").write_text("open('touched', 'w')\nraise SystemExit(1)\n")
    assert SEMANTIC.strip() in git(work, "diff", "--", "spec.yaml")
    assert not (work / "touched").exists()


def test_a_file_in_conflict_is_named_as_git_does(work: Path) -> None:
    """Both sides in one, as ever; against the index the driver is called with the path alone."""
    commit(work, "ours")
    git(work, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (work / "spec.yaml").write_text(NEW.replace("hidden: 5", "hidden: 7"))
    commit(work, "theirs")
    done = subprocess.run(["git", "merge", "-q", "main"], cwd=work, capture_output=True, check=False)
    assert 1 == done.returncode
    assert git(work, "diff").startswith("diff --cc spec.yaml\n")
    assert "* Unmerged path spec.yaml" == git(work, "diff", "--cached")
    break_program(work, "gone")
    assert "* Unmerged path spec.yaml" == git(work, "diff", "--cached")
    assert parse_change(["spec.yaml"]) is None


def test_the_store_beside_the_file_says_which_neurons_came_and_went(work: Path) -> None:
    """As `nhnas diff` does, from the folder above as well."""
    spec = tiny.make(work / "points")
    tiny.step(spec)
    commit(work, "first")
    before = parse_document(spec.read_bytes(), spec)
    tiny.step(spec)
    found = compare(before, parse_document(spec.read_bytes(), spec), spec.parent / ".nhnas")
    assert as_text(found).strip() in git(work, "diff")
    assert () == found.guessed
