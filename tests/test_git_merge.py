"""`git merge`, rebase, cherry-pick and stash merge specs edit by edit; whatever goes wrong, as text."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nhnas import git_setup
from nhnas.git_merge import merge_files, parse_job
from nhnas.spec.document import read_document
from tests import tiny
from tests.branches import BASE, ONE, attempt, branch, grown, path_without_nhnas
from tests.here import Here
from tests.repository import QUIET, commit, git, start


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with drivers and a spec."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "spec.yaml").write_text(BASE)
    start(folder)
    git_setup.install(folder)
    commit(folder, "attributes")
    return folder


def unmerged(folder: Path) -> list[str]:
    """Files that git calls unmerged."""
    return git(folder, "diff", "--name-only", "--diff-filter=U").splitlines()


def test_neighbouring_layers_that_both_grew_have_both_growths(work: Path) -> None:
    """git alone finds a conflict here: the lines are neighbours."""
    branch(work, grown(1, 9), grown(2, 8))
    assert 1 == attempt(work, "-c", "merge.nhnas.driver=git merge-file %A %O %B", "merge", "side")[0]
    git(work, "merge", "--abort")
    code, out = attempt(work, "merge", "--no-edit", "side")
    assert 0 == code, out
    assert grown(2, 8, grown(1, 9)) == (work / "spec.yaml").read_text()
    assert 2 == len(git(work, "rev-list", "--parents", "-1", "HEAD").split()[1:])


CONFLICT = BASE.replace(
    ONE,
    "<<<<<<< ours\n" + ONE.replace("6", "9") + "=======\n" + ONE.replace("6", "7") + ">>>>>>> theirs\n",
)


def test_one_site_with_two_values_is_a_conflict_of_its_line(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """git marks the file unmerged, `check` names the place, and with one side taken all is well."""
    branch(work, grown(1, 9), grown(1, 7, grown(2, 8)))
    code, out = attempt(work, "merge", "side")
    assert 1 == code
    assert "spec.yaml: conflict at block1.residual.hidden: 6 became 9 in ours, 7 in theirs\n" in out
    assert "CONFLICT (content): Merge conflict in spec.yaml" in out
    assert ["spec.yaml"] == unmerged(work)
    assert grown(2, 8, CONFLICT) == (work / "spec.yaml").read_text()
    code, _, err = Here(capfd)("check", str(work / "spec.yaml"))
    assert (2, 1) == (code, err.count("\n"))
    assert "spec.yaml:6:1: a merge conflict is not resolved: choose one side" in err
    git(work, "checkout", "--theirs", "spec.yaml")
    git(work, "add", "spec.yaml")
    git(work, "commit", "--quiet", "--no-edit")
    assert 7 == read_document(work / "spec.yaml").architecture.net[1].residual.hidden  # type: ignore[union-attr]


def test_rebase_cherry_pick_revert_and_stash_merge_as_well(work: Path) -> None:
    """Each is a merge of three files for git."""
    branch(work, grown(1, 9), grown(2, 8))
    both = grown(2, 8, grown(1, 9))
    git(work, "cherry-pick", "side")
    assert both == (work / "spec.yaml").read_text()
    git(work, "revert", "--no-edit", "HEAD~1")
    assert grown(2, 8) == (work / "spec.yaml").read_text()
    git(work, "reset", "--quiet", "--hard", "HEAD~2")
    git(work, "rebase", "--quiet", "side")
    assert both == (work / "spec.yaml").read_text()
    (work / "spec.yaml").write_text(both.replace("hidden: 9", "hidden: 12"))
    git(work, "stash", "--quiet")
    (work / "spec.yaml").write_text(both.replace("hidden: 8", "hidden: 11"))
    commit(work, "more")
    git(work, "stash", "pop", "--quiet")
    assert grown(2, 11, grown(1, 12)) == (work / "spec.yaml").read_text()


def test_a_conflict_in_a_rebase_can_be_resolved_and_goes_on(work: Path) -> None:
    """Nothing of ours is left in the way."""
    branch(work, grown(1, 9), grown(1, 7))
    code, _ = attempt(work, "rebase", "side")
    assert 1 == code
    assert ["spec.yaml"] == unmerged(work)
    (work / "spec.yaml").write_text(grown(1, 8))
    git(work, "add", "spec.yaml")
    git(work, "-c", "core.editor=true", "rebase", "--continue")
    assert (grown(1, 8), "") == ((work / "spec.yaml").read_text(), git(work, "status", "--porcelain"))


def test_worktrees_and_folders_below_and_odd_names(work: Path) -> None:
    """A worktree merges with the same configuration; git runs us in its root."""
    name = 'sub dir/it\'s "a" ü$(touch x).nhnas.yaml'
    (work / "sub dir").mkdir()
    (work / name).write_text(BASE)
    commit(work, "odd")
    branch(work, grown(1, 9), grown(2, 8), name)
    tree = work.parent / "tree"
    git(work, "worktree", "add", "--quiet", "-b", "other", str(tree), "main")
    for folder in (tree / "sub dir", work / "sub dir"):
        git(folder, "merge", "--quiet", "--no-edit", "side")
        assert grown(2, 8, grown(1, 9)) == (folder.parent / name).read_text()
    assert not list(work.rglob("x"))


def test_a_file_that_both_added_is_merged_key_by_key(work: Path) -> None:
    """What is the same is taken once, each difference is a conflict of its own."""
    branch(work, grown(1, 9), grown(1, 9).replace("lr: 0.1", "lr: 0.2"), "new.nhnas.yaml")
    code, out = attempt(work, "merge", "side")
    assert 1 == code
    assert "new.nhnas.yaml: conflict at train.lr: 0.1 in ours, 0.2 in theirs" in out
    assert "train: {lr: 0.1}\n=======\ntrain: {lr: 0.2}\n" in (work / "new.nhnas.yaml").read_text()


def test_a_file_that_one_side_deleted_is_a_question_as_ever(work: Path) -> None:
    """git asks it itself, and what stays is a whole file."""
    git(work, "checkout", "--quiet", "-b", "side")
    git(work, "rm", "--quiet", "spec.yaml")
    commit(work, "gone")
    git(work, "checkout", "--quiet", "main")
    (work / "spec.yaml").write_text(grown(1, 9))
    commit(work, "ours")
    code, out = attempt(work, "merge", "side")
    assert 1 == code
    assert "CONFLICT (modify/delete): spec.yaml deleted in side" in out
    assert grown(1, 9) == (work / "spec.yaml").read_text()


def test_a_criss_cross_history_is_merged_without_markers_in_its_base(work: Path) -> None:
    """With two common ancestors that are themselves in conflict, git merges these first."""
    branch(work, grown(1, 9), grown(1, 7))
    for here, there, hidden in (("one", "main", 10), ("two", "side", 11)):
        other = "side" if there == "main" else "main"
        git(work, "checkout", "--quiet", "-b", here, there)
        assert 1 == attempt(work, "merge", other)[0]
        (work / "spec.yaml").write_text(grown(1, hidden))
        commit(work, f"{here} merged")
    (work / "spec.yaml").write_text(grown(2, 8, grown(1, 11)))
    commit(work, "two went on")
    code, out = attempt(work, "merge", "one")
    assert 1 == code
    assert "conflict at block1.residual.hidden" in out
    text = (work / "spec.yaml").read_text()
    assert (1, 1, 1) == tuple(text.count(sign) for sign in ("<<<<<<<", "=======", ">>>>>>>"))
    assert "hidden: 8" in text


def markers(text: str) -> list[str]:
    """Lines of a conflict."""
    return [line for line in text.splitlines() if line[:7] in ("<<<<<<<", "=======", ">>>>>>>")]


def test_what_is_no_spec_is_merged_as_text(work: Path) -> None:
    """A side that does not parse: by lines, clean or with git's markers; exit codes as of git."""
    typo = grown(2, 8).replace("op: dense", "op: dnse")
    branch(work, grown(1, 9).replace("name: small", "name: big"), typo)
    code, out = attempt(work, "merge", "side")
    assert 1 == code
    assert out.startswith(("side:spec.yaml:9:", "theirs:spec.yaml:9:"))  # git before 2.44 gives no labels
    assert "; merged as text" in out
    text = (work / "spec.yaml").read_text()
    assert 3 == len(markers(text))
    assert {"name: big", "op: dnse"} <= {x for x in ("name: big", "op: dnse") if x in text}
    git(work, "merge", "--abort")
    git(work, "reset", "--quiet", "--hard", "HEAD~1")
    (work / "spec.yaml").write_text(BASE.replace("name: small", "name: big"))
    commit(work, "far away")
    git(work, "merge", "--quiet", "--no-edit", "side")
    assert typo.replace("name: small", "name: big") == (work / "spec.yaml").read_text()


@pytest.mark.parametrize("how", ["gone", "unset", "crashes", "is killed"])
def test_without_a_program_that_works_git_merges_text(
    work: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Clean where lines allow it, else git's markers and exit code 1; then again with nhnas on PATH."""
    monkeypatch.setenv("PATH", path_without_nhnas())
    program = work.parent / "python"
    if how == "unset":
        git(work, "config", "--unset", "nhnas.python")
    else:
        git(work, "config", "nhnas.python", str(program))
    if how in ("crashes", "is killed"):
        program.write_text("#!/bin/sh\n" + {"crashes": "exit 1", "is killed": "kill -9 $$"}[how] + "\n")
        program.chmod(0o755)
    branch(work, grown(1, 9), grown(2, 8))
    code, out = attempt(work, "merge", "side")
    assert 1 == code
    assert "nhnas: merged as text: spec.yaml" in out
    expected = ["<<<<<<< ours", "=======", ">>>>>>> theirs"]
    assert expected == markers((work / "spec.yaml").read_text())
    assert ["spec.yaml"] == unmerged(work)
    git(work, "merge", "--abort")
    folder = work.parent / "bin"
    folder.mkdir()
    (folder / "nhnas").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nhnas "$@"\n')
    (folder / "nhnas").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{path_without_nhnas()}")
    assert 0 == attempt(work, "merge", "--no-edit", "side")[0]
    assert grown(2, 8, grown(1, 9)) == (work / "spec.yaml").read_text()


def test_a_clone_without_configuration_merges_text(work: Path) -> None:
    """The attributes name a driver that is not there: git merges as it always does."""
    branch(work, grown(1, 9), BASE.replace("name: small", "name: big"))
    clone = work.parent / "clone"
    git(work.parent, "clone", "--quiet", str(work), "clone")
    git(clone, "merge", "--quiet", "--no-edit", "origin/side")
    assert grown(1, 9).replace("name: small", "name: big") == (clone / "spec.yaml").read_text()


def test_the_drivers_words_of_older_and_newer_git() -> None:
    """Labels come with git 2.44; before, their places are left as they are."""
    old = parse_job(["o", "a", "b", "7", "p", "%S", "%X", "%Y"])
    new = parse_job(["o", "a", "b", "9", "p", "parent of 1", "HEAD", "1 (it's\ta commit)"])
    assert (("ours", "theirs"), ("HEAD", "1 (it's\\ta commit)")) == (old.labels, new.labels)
    assert (7, 9) == (old.marker_size, new.marker_size)


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    """The result replaces ours as a whole, or not at all."""
    words = [tmp_path / name for name in ("base", "ours", "theirs")]
    for path, text in zip(words, (BASE, grown(1, 9), grown(2, 8)), strict=True):
        path.write_text(text)
    job = parse_job([*map(str, words), "7", str(tmp_path / "spec.yaml")])
    assert 0 == merge_files(job)
    assert grown(2, 8, grown(1, 9)) == words[1].read_text()
    assert ["base", "ours", "theirs"] == sorted(path.name for path in tmp_path.iterdir())


def test_the_merged_spec_goes_on_from_ours_and_plan_tells_the_rest(
    work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both branches trained; then only theirs is in the store, so the weights are theirs."""
    spec = tiny.make(work / "points")
    git(work, "config", "core.excludesFile", str(_ignore(work)))
    tiny.step(spec)
    commit(work, "trained")
    base = spec.read_text()
    git(work, "checkout", "--quiet", "-b", "side")
    width = read_document(spec).architecture.net[0].width or 0  # type: ignore[union-attr]
    tiny.edit(spec, f"width: {width}", "width: 12")
    tiny.train(spec)
    commit(work, "theirs")
    theirs = read_document(spec)
    git(work, "checkout", "--quiet", "main")
    assert base == spec.read_text()
    tiny.edit(spec, "lr: 0.05", "lr: 0.04")
    tiny.edit(spec, "  - {name: head", "  - {name: more, op: activation, act: gelu}\n  - {name: head")
    tiny.train(spec)
    commit(work, "ours")
    ours = read_document(spec)
    code, out = attempt(work, "merge", "--no-edit", "side")
    told = f"the weights are those of version {ours.version} ({ours.state}), not {theirs.state}; `nhnas plan`"
    assert (code, told in out) == (0, True), out
    found = read_document(spec)
    assert (ours.state, ours.version, 12) == (found.state, found.version, found.architecture.net[0].width)  # type: ignore[union-attr]
    code, shown, _ = Here(capfd)("plan", str(spec))
    assert 0 == code
    assert f"width {width} → 12 (+{12 - width})" in shown
    git(work, "reset", "--quiet", "--hard", "HEAD~1")
    for file in (spec.parent / ".nhnas" / "snapshots" / str(ours.state)).iterdir():
        file.unlink()
    (spec.parent / ".nhnas" / "snapshots" / str(ours.state)).rmdir()
    git(work, "merge", "--quiet", "--no-edit", "side")
    found = read_document(spec)
    assert (theirs.state, theirs.version) == (found.state, found.version)
    assert "more" in {layer.name for layer in found.architecture.net}


def _ignore(work: Path) -> Path:
    path = work.parent / "ignore"
    path.write_text("__pycache__/\n.nhnas/\n")
    return path
