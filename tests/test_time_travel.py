"""Going back in git, with the weights: checkout, eval, and going on from there as a branch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nhnas.log import history
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from tests import tiny
from tests.here import Here
from tests.repository import commit, git, start

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capfd)


def evaluated(here: Here, spec: Path) -> dict[str, Any]:
    """What `nhnas eval --json` prints."""
    code, out, err = here("eval", str(spec), "--json")
    assert (0, "") == (code, err)
    result: dict[str, Any] = json.loads(out)
    return {key: value for key, value in result.items() if key != "split"}


def grown(folder: Path, steps: int, text: str = tiny.DENSE) -> Path:
    """A repository with a commit before the first step and one after each."""
    spec = tiny.make(folder, text)
    start(folder)
    for number in range(1, steps + 1):
        tiny.step(spec)
        commit(folder, f"version {number}")
    return spec


@pytest.mark.parametrize("text", [tiny.DENSE, tiny.CONV], ids=["points", "images"])
def test_every_commit_evaluates_to_what_the_log_shows(text: str, tmp_path: Path, here: Here) -> None:
    """To the last digit, in any order of checkouts, and the working tree stays clean."""
    spec = grown(tmp_path, 3, text)
    known = {record["state"]: record["test"] for record in history(spec)}
    for back in (3, 0, 2, 1):
        git(tmp_path, "checkout", "--quiet", f"main~{3 - back}")
        state = read_document(spec).state
        assert back == len(history(spec))
        if state is not None:
            assert known[state] == evaluated(here, spec)
        assert set(known) == {record["state"] for record in history(spec, branches=True)} or state is None
        assert "" == git(tmp_path, "status", "--porcelain")


def test_a_fresh_process_evaluates_the_same(tmp_path: Path) -> None:
    """The real command, after a real checkout: every digit of the accuracy and of the loss."""
    spec = grown(tmp_path, 2)
    git(tmp_path, "checkout", "--quiet", "main~1")
    command = [sys.executable, "-m", "nhnas", "eval", "spec.yaml", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    (record,) = history(spec)
    assert {"split": "test", **record["test"]} == json.loads(done.stdout)


def test_a_step_from_an_old_commit_is_a_branch(tmp_path: Path, here: Here) -> None:
    """It starts from the old weights, main's versions stay, and both evaluate to their own figures."""
    spec = grown(tmp_path, 3)
    main = history(spec)
    git(tmp_path, "checkout", "--quiet", "-b", "other", "main~2")
    tiny.edit(spec, "lr: 0.05", "lr: 0.02")
    code, out, err = here("step", str(spec))
    assert (0, "") == (code, err)
    assert "version 2" in out
    commit(tmp_path, "another way")
    branch = history(spec)
    assert [main[0], main[0]["state"]] == [{**branch[0], "refs": main[0]["refs"]}, branch[1]["parent"]]
    assert branch[1]["state"] not in {record["state"] for record in main}
    everything = history(spec, branches=True)
    assert [1, 2, 2, 3] == [record["version"] for record in everything]
    assert branch[1]["state"] == next(record["state"] for record in everything if record["current"])
    assert branch[1]["test"] == evaluated(here, spec)
    git(tmp_path, "checkout", "--quiet", "main")
    assert main[2]["test"] == evaluated(here, spec)
    assert [one["state"] for one in main] == [one["state"] for one in history(spec)]


def test_the_same_step_from_the_same_commit_is_the_same_version(tmp_path: Path) -> None:
    """Going back and stepping again without a change gives the version that is there already."""
    spec = grown(tmp_path, 2)
    text = spec.read_bytes()
    git(tmp_path, "checkout", "--quiet", "-b", "again", "main~1")
    tiny.step(spec)
    assert text == spec.read_bytes()
    assert [1, 2] == [record["version"] for record in history(spec, branches=True)]


def test_an_interrupted_step_waits_for_its_commit(tmp_path: Path, here: Here) -> None:
    """From another commit it is refused with the way out; back on its own it goes on to the same version."""
    spec = grown(tmp_path, 2)
    whole = tiny.make(tmp_path.parent / "whole")
    tiny.run(whole, steps=3)
    with pytest.raises(Exception, match="same command"):
        tiny.step(spec, tiny.Counting(batch=2))
    git(tmp_path, "checkout", "--quiet", "main~1")
    code, _, err = here("step", str(spec))
    assert (2, True) == (code, "put it back, or drop the interrupted command with --discard" in err)
    git(tmp_path, "checkout", "--quiet", "main")
    tiny.step(spec)
    assert read_document(whole).state == read_document(spec).state


def test_a_clone_has_the_history_of_the_file_but_no_weights(tmp_path: Path, here: Here) -> None:
    """What was not copied is named with the choices; with the store beside it, it is as at home."""
    spec = grown(tmp_path / "home", 2)
    git(tmp_path, "clone", "--quiet", "home", "clone")
    clone = tmp_path / "clone" / "spec.yaml"
    with pytest.raises(InputError, match=r"is not in .*copy \.nhnas/, or start untrained with --fresh"):
        history(clone)
    code, _, err = here("eval", str(clone))
    assert (2, 1) == (code, err.count("\n"))
    (tmp_path / "home" / ".nhnas").rename(tmp_path / "clone" / ".nhnas")
    assert history(clone)[-1]["test"] == evaluated(here, clone)
    assert spec.exists()


def test_a_shared_store_serves_all_worktrees(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new worktree has no weights of its own; with $NHNAS_STORE it has everybody's."""
    monkeypatch.setenv("NHNAS_STORE", str(tmp_path / "store"))
    spec = grown(tmp_path / "home", 2)
    git(tmp_path / "home", "worktree", "add", "--quiet", str(tmp_path / "tree"), "main~1")
    other = tmp_path / "tree" / "spec.yaml"
    assert history(spec)[0]["test"] == evaluated(here, other)
    monkeypatch.delenv("NHNAS_STORE")
    with pytest.raises(InputError, match="is not in"):
        history(other)


def test_stash_and_back(tmp_path: Path, here: Here) -> None:
    """`git stash` takes the version out of the file and `pop` brings it back, with its weights."""
    spec = grown(tmp_path, 1)
    tiny.step(spec)
    newest = history(spec)[-1]
    git(tmp_path, "stash")
    assert [1] == [record["version"] for record in history(spec)]
    git(tmp_path, "stash", "pop")
    assert newest["test"] == evaluated(here, spec)


def test_clean_takes_all_weights(tmp_path: Path) -> None:
    """`git clean -fdx` removes ignored files, and the store is one; without -x it stays."""
    spec = grown(tmp_path, 1)
    git(tmp_path, "clean", "-fd")
    assert [1] == [record["version"] for record in history(spec)]
    git(tmp_path, "clean", "-fdx")
    assert not (tmp_path / ".nhnas").exists()
    with pytest.raises(InputError, match="is not in"):
        history(spec)
