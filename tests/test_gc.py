"""`nhnas gc`: what somebody needs keeps its weights, everything keeps its history, at every kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nhnas.collection import Options, collect_places
from nhnas.compiler.collect import ids_in
from nhnas.compiler.history import known_ids
from nhnas.compiler.lock import hold
from nhnas.compiler.store import load_snapshot, save_snapshot
from nhnas.log import history
from nhnas.spec.document import read_document
from nhnas.spec.errors import BusyError, InputError, Interrupted, StorageError
from tests import tiny
from tests.here import Here
from tests.repository import commit, git, start


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capfd)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and five versions, the file at the last one."""
    folder = tmp_path_factory.mktemp("five") / "work"
    tiny.run(tiny.make(folder), steps=5)
    return folder


@pytest.fixture
def spec(template: Path, tmp_path: Path) -> Path:
    """A copy of the template, without a repository."""
    shutil.copytree(template, tmp_path / "work")
    return tmp_path / "work" / "spec.yaml"


@pytest.fixture
def states(spec: Path) -> list[str]:
    """The ids of versions 1 to 5."""
    return [record["state"] for record in history(spec)]


def gc(*places: Path, **options: Any) -> list[str]:
    """Collect; the ids that lost their weights."""
    return [head.id for one in collect_places(places, Options(**options)) for head in one.collected.dropped]


def write(spec: Path, version: int, states: list[str]) -> None:
    """The spec as it was at a version."""
    snapshot = spec.parent / ".nhnas" / "snapshots" / states[version - 1]
    spec.write_bytes((snapshot / "spec.yaml").read_bytes())


def whole(spec: Path) -> list[str]:
    """The ids whose weights can be loaded, oldest version first; all others were dropped, and say so."""
    store, found = spec.parent / ".nhnas", []
    for snapshot in known_ids(store):
        try:
            found.append(load_snapshot(store, snapshot))
        except InputError as error:
            if "its weights were dropped by nhnas gc; check out" not in str(error):
                raise
    return [snapshot.id for snapshot in sorted(found, key=lambda one: one.version)]


def test_without_a_repository_the_newest_stays(spec: Path, states: list[str], here: Here) -> None:
    """Only what the file names and the newest version of each branch keep their weights; it says why."""
    before = history(spec, branches=True)
    code, out, err = here("gc", str(spec))
    assert (0, "") == (code, err)
    lines = out.splitlines()
    assert lines[0].startswith("dropped 4 of 5 snapshots, ")
    assert ["no commit names a version of this store: the newest version of every branch stays"] == lines[1:]
    assert states[4:] == whole(spec)
    assert [{**record, "dropped": record["version"] < 5} for record in before] == history(spec, branches=True)


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


def test_names_that_are_not_yaml(spec: Path, states: list[str]) -> None:
    """A spec of any name that was trained here is found in history and working files, wildcards or not."""
    odd = spec.with_name("net[1]* .spec")
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


@pytest.mark.parametrize(("keep", "expected"), [(0, [5]), (1, [5]), (2, [4, 5]), (9, [1, 2, 3, 4, 5])])
def test_keep(keep: int, expected: list[int], spec: Path, states: list[str]) -> None:
    """The newest versions of a lineage stay, as many as asked for."""
    gc(spec, keep=keep)
    assert [states[version - 1] for version in expected] == whole(spec)


def test_keep_counts_along_every_branch(spec: Path, states: list[str]) -> None:
    """Back from every tip and from the file's own version; none of them where commits name versions."""
    write(spec, 2, states)
    tiny.edit(spec, "lr: 0.05", "lr: 0.02")
    (branch,) = tiny.step(spec)
    write(spec, 3, states)
    start(spec.parent)
    assert [states[0]] == gc(spec, keep=2, dry_run=True)
    assert {*states, branch.state} - {states[2]} == set(gc(spec, dry_run=True))


def test_an_interrupted_command_keeps_its_parent(spec: Path, states: list[str]) -> None:
    """Even where the file names another version now; put back, it goes on to the same end."""
    write(spec, 3, states)
    before = spec.read_bytes()
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=2))
    write(spec, 5, states)
    start(spec.parent)
    assert [*states[:2], states[3]] == gc(spec)
    spec.write_bytes(before)
    (saved,) = tiny.step(spec)
    assert states[3] == saved.state


def test_training_again_brings_the_weights_back(spec: Path, states: list[str]) -> None:
    """The same step from the same version gives the same snapshot, whole, and no small file changed."""
    before = tiny.outcome(spec)
    write(spec, 3, states)
    start(spec.parent)
    assert [*states[:2], *states[3:]] == gc(spec)
    tiny.step(spec)
    assert states[2:4] == whole(spec)
    again = {name: data for name, data in tiny.outcome(spec).items() if states[3] in name}
    assert again == {name: data for name, data in before.items() if states[3] in name}


def test_weights_from_a_copy_of_the_store(spec: Path, states: list[str], tmp_path: Path) -> None:
    """Copied back over a dropped snapshot they count again, and can be dropped again."""
    shutil.copytree(spec.parent / ".nhnas", tmp_path / "copy")
    gc(spec)
    shutil.copytree(tmp_path / "copy", spec.parent / ".nhnas", dirs_exist_ok=True)
    assert states == whole(spec)
    assert states[:4] == gc(spec)
    assert states[4:] == whole(spec)


def test_what_a_dropped_version_says(spec: Path, states: list[str], here: Here) -> None:
    """`eval` and `step` give one line with the choices; `log` and `show` work, and so does --fresh."""
    gc(spec)
    write(spec, 2, states)
    for verb in ("eval", "step"):
        code, out, err = here(verb, str(spec))
        assert (2, "") == (code, out)
        assert f"state {states[1]} (version 2): its weights were dropped by nhnas gc" in err
        assert "restore" in err
        assert "--fresh" in err
        assert 1 == err.count("\n")
    code, out, _ = here("log", str(spec))
    assert (0, 4) == (code, out.count("(weights dropped)"))
    assert 0 == here("show", str(spec))[0]
    assert 0 == here("step", str(spec), "--fresh")[0]


def test_dry_run_changes_nothing(spec: Path, states: list[str], here: Here) -> None:
    """It lists what would go, with the same figures, and leaves every file as it is."""
    before = {path: path.stat().st_mtime_ns for path in spec.parent.rglob("*")}
    code, out, _ = here("gc", str(spec), "--dry-run")
    assert before == {path: path.stat().st_mtime_ns for path in spec.parent.rglob("*")}
    listed = [f"  version {number}  {state}" for number, state in enumerate(states[:4], 1)]
    assert (0, listed) == (code, out.splitlines()[:4])
    assert out.splitlines()[4].startswith("would drop 4 of 5 snapshots, ")
    _, told, _ = here("gc", str(spec), "--json")
    record = json.loads(told)
    assert {"snapshots": 5, "dropped": states[:4], "damaged": {}, "dry_run": False}.items() <= record.items()
    sizes = {path: path.stat().st_size for path in before if path.suffix == ".safetensors" and path.exists()}
    assert {states[4]} == {path.parent.name for path in sizes}
    _, told, _ = here("gc", str(spec), "--json")
    assert ([], 0) == (json.loads(told)["dropped"], json.loads(told)["bytes"])


def test_bytes_freed(spec: Path, states: list[str]) -> None:
    """They are the sizes of the files that went."""
    folders = [spec.parent / ".nhnas" / "snapshots" / state for state in states[:4]]
    expected = sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))
    (result,) = collect_places([spec], Options())
    assert expected == result.collected.bytes


def test_all_stores_below_a_folder(spec: Path, states: list[str], tmp_path: Path, here: Here) -> None:
    """Each is told with its place; a folder without any, and a place that is not there, are errors."""
    shutil.copytree(spec.parent, tmp_path / "another")
    code, out, _ = here("gc", str(tmp_path))
    assert (0, 2) == (code, out.count(f"{os.sep}.nhnas: dropped 4 of 5 snapshots"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: has no store with trained versions"):
        gc(tmp_path / "empty")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        gc(tmp_path / "nowhere")
    assert [] == gc(spec.parent / ".nhnas")
    assert states[4:] == whole(spec)


def test_a_shared_store_is_only_collected_on_request(
    spec: Path, states: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other folders may need what this one does not name: all that use it are named, and then counted."""
    other = tmp_path / "other" / "spec.yaml"
    other.parent.mkdir()
    other.write_bytes((spec.parent / ".nhnas/snapshots" / states[1] / "spec.yaml").read_bytes())
    (other.parent / ".nhnas").symlink_to(spec.parent / ".nhnas")
    with pytest.raises(InputError, match=r"other folders may use this store too.*--only-these"):
        gc(other)
    assert [states[0], *states[2:4]] == gc(spec, other, only_these=True, dry_run=True)
    monkeypatch.setenv("NHNAS_STORE", str(spec.parent / ".nhnas"))
    with pytest.raises(InputError, match="--only-these"):
        gc(spec)
    assert [states[0], *states[2:4]] == gc(spec.parent, other.parent, only_these=True, dry_run=True)
    assert states[:4] == gc(spec, only_these=True)


def test_a_running_command_is_not_disturbed(spec: Path, states: list[str], here: Here) -> None:
    """While any spec of the store is held, nothing is dropped; meanwhile --dry-run works."""
    for name in ("spec.yaml", "other.yaml"):
        with hold(spec.parent / ".nhnas", name, command="nhnas step"):
            code, _, err = here("gc", str(spec))
            assert (3, True) == (code, f"{name} is held by process {os.getpid()} (nhnas step)" in err)
            assert states[:4] == gc(spec, dry_run=True)
    assert states == whole(spec)


def test_a_file_that_was_never_trained_here_is_held_too(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While weights go, no step can begin from any file that names a version."""
    copy = spec.with_name("copy.yaml")
    copy.write_bytes(spec.read_bytes())
    refused = []

    def try_to_hold(*_: Any, **__: Any) -> Any:
        for name in ("spec.yaml", "copy.yaml"):
            with pytest.raises(BusyError, match=r"nhnas gc"), hold(spec.parent / ".nhnas", name):
                pass
            refused.append(name)
        raise StorageError("enough seen")

    monkeypatch.setattr("nhnas.collection.collect", try_to_hold)
    with pytest.raises(StorageError):
        gc(spec)
    assert ["spec.yaml", "copy.yaml"] == refused


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


def test_damaged_snapshots_stay_as_they_are(spec: Path, states: list[str], here: Here) -> None:
    """They are told, the others are collected; the parent of one could be a tip, and stays."""
    folder = spec.parent / ".nhnas" / "snapshots" / states[1]
    (folder / "MANIFEST.json").write_text("{}")
    code, out, _ = here("gc", str(spec))
    assert (0, True) == (code, "dropped 2 of 5 snapshots" in out)
    assert "left as it is: " in out
    assert states[1] in out
    assert (folder / "weights.safetensors").exists()


def test_what_a_kill_left_is_swept(spec: Path) -> None:
    """Temporary files in the store and beside the spec go, files of other programs do not."""
    names = [".tmp-1-nhnas-00", ".nhnas/.tmp-1-nhnas-01", ".nhnas/snapshots/.tmp-1-nhnas-02"]
    for name in names:
        (spec.parent / name).touch()
    (spec.parent / ".tmp-else").touch()
    gc(spec)
    assert [False] * 3 == [(spec.parent / name).exists() for name in names]
    assert (spec.parent / ".tmp-else").exists()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it, and nothing is cleaned up."""


CALLS: dict[str, Callable[..., Any]] = {
    "unlink": os.unlink,
    "rename": os.rename,
    "mkdir": os.mkdir,
    "fsync": lambda _: None,
}


def kill_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """From the n-th call that changes the disk on, none is made."""
    made = 0

    def guard(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if made >= number:
                raise Killed
            return call(*args, **kwargs)

        return guarded

    for name, call in CALLS.items():
        patch.setattr(os, name, guard(call))
    patch.setattr(shutil, "rmtree", lambda *_, **__: None)


def test_a_kill_at_every_call(spec: Path, states: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot is whole or dropped, the log works, and a second gc ends where the first would have."""
    copy, store = spec.parent.parent / "copy", spec.parent / ".nhnas"
    shutil.copytree(store, copy)
    kills, told = 0, [record["state"] for record in history(spec, branches=True)]
    while True:
        with monkeypatch.context() as patch:
            kill_at(kills + 1, patch)
            try:
                gc(spec)
            except Killed:
                kills += 1
            else:
                break
        assert set(states[4:]) <= set(whole(spec)) <= set(states)
        assert told == [record["state"] for record in history(spec, branches=True)]
        gc(spec)
        assert states[4:] == whole(spec)
        assert {"snapshots", "spec.yaml.lock", ".gitignore"} >= set(os.listdir(store)) - {"slots"}
        assert set(states) == set(os.listdir(store / "snapshots"))
        shutil.rmtree(store)
        shutil.copytree(copy, store)
    assert kills > 4 * len(CALLS)


def test_a_kill_while_weights_come_back(
    spec: Path, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving the version again: dropped or whole at every moment, and whole after the next try."""
    store = spec.parent / ".nhnas"
    snapshot = load_snapshot(store, states[1])
    kills = 0
    while True:
        gc(spec)
        assert states[4:] == whole(spec)
        with monkeypatch.context() as patch:
            kill_at(kills + 1, patch)
            try:
                save_snapshot(store, snapshot)
            except Killed:
                kills += 1
            else:
                break
        assert whole(spec) in ([states[1], states[4]], states[4:])
        save_snapshot(store, snapshot)
        assert [states[1], states[4]] == whole(spec)
        assert not (store / "snapshots" / states[1] / "DROPPED.json").exists()
    assert kills >= 7


def test_other_tensors_do_not_come_back(spec: Path, states: list[str]) -> None:
    """Files that are not those of the manifest are refused with a way out: the snapshot stays dropped."""
    store = spec.parent / ".nhnas"
    snapshot = load_snapshot(store, states[1])
    gc(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nhnas.compiler.store.encode_chunks", lambda *_, **__: [b"another form"])
        with pytest.raises(InputError, match="would not come back as it was"):
            save_snapshot(store, snapshot)
    assert states[4:] == whole(spec)


def test_a_forged_marker(spec: Path, states: list[str]) -> None:
    """It permits no file to be missing but those it names, and must be what gc writes."""
    folder = spec.parent / ".nhnas" / "snapshots" / states[1]
    gc(spec)
    (folder / "state.json").unlink()
    with pytest.raises(InputError, match=r"state\.json: is missing"):
        load_snapshot(spec.parent / ".nhnas", states[1])
    for text in ("[]", '{"dropped":[1]}', '{"dropped": []}', ""):
        (folder / "DROPPED.json").write_text(text)
        with pytest.raises(InputError, match=r"DROPPED\.json: "):
            load_snapshot(spec.parent / ".nhnas", states[1])


def test_ids_in_text() -> None:
    """Ids of 16 digits exactly, not parts of longer words."""
    text = b"state: s0123456789abcdef\n{state: 'sfedcba9876543210'} as0123456789abcdee s0123456789abcdef0 sX"
    assert {"s0123456789abcdef", "sfedcba9876543210"} == ids_in(text)


def test_gc_never_imports_torch(spec: Path) -> None:
    """Deleting needs no tensor, and start-up is most of what it does."""
    code = (
        "import sys; from nhnas.main import main\ntry: main(['gc', 'spec.yaml'])\nexcept SystemExit: pass\n"
    )
    code += "print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=spec.parent, capture_output=True, text=True, check=True
    )
    assert ("[]", "dropped 4 of 5") == (done.stdout.splitlines()[-1], done.stdout[:14])
    assert 5 == read_document(spec).version
