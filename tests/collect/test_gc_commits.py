"""`nhnas gc` and git: what a commit, an index, a stash or a worktree names keeps its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nhnas.compiler.lock import hold
from nhnas.spec.errors import InputError
from tests.collect.collected import gc, whole, write
from tests.repository import commit, git, start

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_every_commit_keeps_its_version(spec: Path, states: list[str]) -> None:
    """Of main's old commits, of a branch, a tag without a branch and a branch of the server."""
    write(spec, 1, states)
    start(spec.parent)
    git(spec.parent, "checkout", "-q", "-b", "side")
    write(spec, 2, states)
    commit(spec.parent, "2")
    git(spec.parent, "checkout", "-q", "main")
    write(spec, 3, states)
    commit(spec.parent, "3")
    git(spec.parent, "tag", "-a", "-m", "t", "v3")
    git(spec.parent, "reset", "-q", "--hard", "HEAD~1")
    write(spec, 4, states)
    commit(spec.parent, "4")
    git(spec.parent, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(spec.parent, "reset", "-q", "--hard", "HEAD~1")
    assert [states[4]] == gc(spec.parent)
    git(spec.parent, "update-ref", "-d", "refs/remotes/origin/main")
    git(spec.parent, "tag", "-d", "v3")
    assert [states[2], states[3]] == gc(spec, dry_run=True)
    assert [] == gc(spec, dry_run=True, reflog=True)
    git(spec.parent, "branch", "-q", "-D", "side")
    assert states[1:4] == gc(spec)
    assert states[:1] == whole(spec)


def test_a_merge_keeps_both_sides(spec: Path, states: list[str]) -> None:
    """Also the side whose file the merge did not take, and what only the merge itself wrote."""
    write(spec, 1, states)
    start(spec.parent)
    git(spec.parent, "checkout", "-q", "-b", "side")
    write(spec, 2, states)
    commit(spec.parent, "2")
    git(spec.parent, "checkout", "-q", "main")
    git(spec.parent, "merge", "-q", "--no-ff", "--no-commit", "-s", "ours", "side")
    write(spec, 3, states)
    commit(spec.parent, "merged, with a version of its own")
    git(spec.parent, "branch", "-q", "-D", "side")
    write(spec, 4, states)
    commit(spec.parent, "4")
    assert [states[4]] == gc(spec)


def test_index_stashes_and_working_files(spec: Path, states: list[str]) -> None:
    """What is staged, stashed (also before the last stash), or in a file that git does not know."""
    write(spec, 1, states)
    start(spec.parent)
    for version in (2, 3):
        write(spec, version, states)
        git(spec.parent, "stash")
    write(spec, 4, states)
    git(spec.parent, "add", "spec.yaml")
    write(spec, 1, states)
    assert [states[4]] == gc(spec, dry_run=True)
    other = spec.parent / "deep" / "er" / "kept.YML"
    other.parent.mkdir(parents=True)
    other.write_text(f"{{format: 1, state: {states[4]}}}")
    assert [] == gc(spec)
    other.unlink()
    git(spec.parent, "stash", "clear")
    git(spec.parent, "reset", "-q", "--hard")
    assert states[1:] == gc(spec)


def test_other_worktrees(spec: Path, states: list[str], tmp_path: Path) -> None:
    """Their detached HEADs, indexes and working files count, also where the folder itself is gone."""
    write(spec, 1, states)
    start(spec.parent)
    git(spec.parent, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    other = tmp_path / "tree" / "spec.yaml"
    for version, do in ((2, lambda: commit(other.parent, "2")), (3, lambda: git(other.parent, "add", "-A"))):
        other.write_bytes((spec.parent / ".nhnas/snapshots" / states[version - 1] / "spec.yaml").read_bytes())
        do()
    other.write_bytes((spec.parent / ".nhnas/snapshots" / states[3] / "spec.yaml").read_bytes())
    assert [states[4]] == gc(spec, dry_run=True)
    shutil.rmtree(other.parent)
    assert states[3:] == gc(spec)


def test_a_rebase_that_stopped(spec: Path, states: list[str]) -> None:
    """What git set aside for the time of a rebase is needed when it ends."""
    write(spec, 1, states)
    start(spec.parent)
    git(spec.parent, "checkout", "-q", "-b", "side")
    write(spec, 2, states)
    commit(spec.parent, "2")
    git(spec.parent, "checkout", "-q", "main")
    write(spec, 3, states)
    commit(spec.parent, "3")
    write(spec, 4, states)
    with pytest.raises(AssertionError, match="conflict"):
        git(spec.parent, "rebase", "--autostash", "side")
    write(spec, 1, states)
    assert [states[4]] == gc(spec)


@pytest.mark.parametrize("name", ["net[1]* .spec", "net-20261127", "-20261127"])
def test_names_that_are_not_yaml(name: str, spec: Path, states: list[str]) -> None:
    """A spec of any name that was trained here is found in history and working files, wildcards or not.

    Eight digits at the end may also be the hash of a folder, as locks of a shared store have it.
    """
    odd = spec.with_name(name)
    spec.rename(odd)
    with hold(odd.parent / ".nhnas", odd.name):
        pass
    write(odd, 2, states)
    start(odd.parent)
    write(odd, 3, states)
    assert [states[0], *states[3:]] == gc(odd)
    assert states[1:3] == whole(odd)


def test_where_the_repository_is_elsewhere(spec: Path, states: list[str]) -> None:
    """The store in a folder of the repository; commits of before the folder had this name count too."""
    write(spec, 2, states)
    start(spec.parent)
    (spec.parent / "models").mkdir()
    git(spec.parent, "mv", "spec.yaml", "models/net.yaml")
    commit(spec.parent, "moved")
    (spec.parent / ".nhnas").rename(spec.parent / "models" / ".nhnas")
    moved = spec.parent / "models" / "net.yaml"
    moved.write_bytes((moved.parent / ".nhnas/snapshots" / states[2] / "spec.yaml").read_bytes())
    commit(spec.parent, "3")
    assert [states[0], *states[3:]] == gc(spec.parent)


def test_a_repository_that_cannot_be_read_drops_nothing(
    spec: Path, states: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without git installed, or with a broken repository, nobody knows what the commits name."""
    start(spec.parent)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="git cannot be run"):
        gc(spec)
    monkeypatch.undo()
    (spec.parent / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(InputError, match="git rev-parse failed: "):
        gc(spec)
    assert states == whole(spec)


def test_a_content_that_git_lost_drops_nothing(spec: Path, states: list[str]) -> None:
    """A commit whose file is missing in the repository could have named anything."""
    write(spec, 1, states)
    start(spec.parent)
    name = git(spec.parent, "rev-parse", "HEAD:spec.yaml")
    (spec.parent / ".git" / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(InputError, match=f"git does not have the content {name}"):
        gc(spec)
    assert states == whole(spec)


def test_an_unborn_branch(spec: Path, states: list[str]) -> None:
    """A repository without a commit knows the index, and else nothing."""
    git(spec.parent, "init", "-q")
    assert states[:4] == gc(spec, dry_run=True)
    write(spec, 2, states)
    git(spec.parent, "add", "spec.yaml")
    write(spec, 5, states)
    assert [states[0], *states[2:4]] == gc(spec)
