"""A spec and its store work wherever they are: moved, copied, cloned, read-only, another user's."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from nhnas.compiler.store import load_snapshot, save_snapshot
from nhnas.main import main
from nhnas.spec.document import read_document
from tests import tiny
from tests.here import Here
from tests.repository import git, start

pytestmark = pytest.mark.usefixtures("no_fsync")


def nhnas(spec: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A real `nhnas` in the spec's folder."""
    command = [*prefix, sys.executable, "-B", "-m", "nhnas", *words]
    return subprocess.run(command, cwd=spec.parent, capture_output=True, text=True, check=False)


def as_owner_without_privileges() -> tuple[str, ...]:
    """Root may write everywhere; without that capability permissions hold for it as for everybody."""
    caps = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={caps}") if os.geteuid() == 0 else ()


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_store_goes_on_in_another_folder(how: str, tmp_path: Path) -> None:
    """The same figures, and the next version has the same id and the same bytes there as here."""
    here = tiny.make(tmp_path / "here", tiny.CONV)
    tiny.step(here)
    there = tmp_path / "a b" / "thére" / "spec.yaml"
    there.parent.parent.mkdir()
    shutil.copytree(here.parent, there.parent)
    if how == "moved":
        tiny.step(here)
        expected = tiny.outcome(here)
        shutil.rmtree(here.parent)
    else:
        tiny.step(here)
        expected = tiny.outcome(here)
    tiny.step(there)
    assert expected == tiny.outcome(there)


def test_no_file_names_a_place(tmp_path: Path) -> None:
    """Neither snapshots nor the slot of a stopped command hold a path of this machine."""
    spec = tiny.make(tmp_path / "somewhere-special")
    tiny.step(spec)
    with pytest.raises(BaseException, match="stopped"):
        tiny.step(spec, tiny.Counting(batch=2))
    store = spec.parent / ".nhnas"
    files = [path for path in store.rglob("*") if path.is_file()]
    assert any(path.suffix == ".slot" for path in files)
    assert [] == [path for path in files if b"somewhere-special" in path.read_bytes()]


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_everything_is_as_readable_as_the_umask_says(
    mask: int, file: int, folder: int, tmp_path: Path
) -> None:
    """Spec, snapshots, lock; a spec's own mode stays when it is replaced."""
    spec = tiny.make(tmp_path / "work")
    spec.chmod(0o640)
    before = os.umask(mask)
    try:
        tiny.step(spec)
    finally:
        os.umask(before)
    store = spec.parent / ".nhnas"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (store, *store.rglob("*"))}
    assert {file} == {mode for path, mode in modes.items() if path.is_file()}
    assert {folder} == {mode for path, mode in modes.items() if path.is_dir()}
    assert 0o640 == stat.S_IMODE(spec.stat().st_mode)


def test_a_read_only_folder_can_be_read(tmp_path: Path) -> None:
    """eval, log, show, plan, diff work; step says in one line what it cannot write, and leaves with 5."""
    text = tiny.DENSE.replace('"mydata:points"', "spirals").replace("batch: 8", "batch: 400")
    spec = tiny.make(tmp_path / "work", text)
    tiny.step(spec)
    before = tiny.outcome(spec)
    folders = [path for path in (spec.parent, *spec.parent.rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    prefix = as_owner_without_privileges()
    try:
        for words in (("eval", "--json"), ("log", "--json"), ("show",), ("plan",), ("diff", "spec.yaml")):
            done = nhnas(spec, words[0], "spec.yaml", *words[1:], prefix=prefix)
            assert (0, "") == (done.returncode, done.stderr), words
        done = nhnas(spec, "step", "spec.yaml", prefix=prefix)
        assert (5, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
        assert "ermission denied" in done.stderr
    finally:
        for path in folders:
            path.chmod(0o755)
    assert before == tiny.outcome(spec)


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    """A snapshot that is saved again into an empty store is equal file by file."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    tiny.step(spec)
    store = spec.parent / ".nhnas"
    snapshot = load_snapshot(store, read_document(spec).state or "")
    folder = save_snapshot(tmp_path / "again", snapshot)
    expected = {path.name: path.read_bytes() for path in (store / "snapshots" / snapshot.id).iterdir()}
    assert expected == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_version_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """`step --to V` at version V changes no byte and no time of any file of it."""
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    times = {path: path.stat().st_mtime_ns for path in spec.parent.rglob("*") if path.is_file()}
    before = tiny.outcome(spec)
    done = nhnas(spec, "step", "spec.yaml", "--to", "1")
    assert (0, "", True) == (done.returncode, done.stderr, "nothing to do" in done.stdout)
    assert before == tiny.outcome(spec)
    now = {path: path.stat().st_mtime_ns for path in times}
    assert {} == {path: 1 for path in times if now[path] != times[path] and path.suffix != ".lock"}
    record = json.loads(nhnas(spec, "log", "spec.yaml", "--json").stdout)
    assert 1 == record["version"]


def test_what_is_reached_is_known_before_torch_is_there(tmp_path: Path) -> None:
    """`--to V` at version V costs the start of Python and the reading of small files."""
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    code = "import sys; from nhnas.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for verb in ("step", "run"):
        words = [sys.executable, "-c", code, verb, "spec.yaml", "--to", "1"]
        done = subprocess.run(words, cwd=spec.parent, capture_output=True, text=True, check=True)
        assert "spec.yaml: this version is there already; nothing to do\nFalse\n" == done.stdout


def test_what_is_reached_may_still_have_something_to_clear_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last rename and the end of the command: the same command removes the slot."""
    spec, here = tiny.make(tmp_path / "work"), Here(capfd)
    with monkeypatch.context() as patch:
        patch.setattr("nhnas.command.clear_slot", lambda *_: None)
        tiny.step(spec, to=1)
    slots = spec.parent / ".nhnas" / "slots" / "spec.yaml"
    assert [] != list(slots.iterdir())
    assert 0 == here("step", str(spec), "--to", "1")[0]
    assert [] == list(slots.iterdir())
    assert 2 == here("step", str(spec), "--to", "3")[0]


def test_a_clone_tells_what_it_lacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Git carries the spec alone; with a copy of the store the clone goes on to the same bytes."""
    spec, here = tiny.make(tmp_path / "origin", tiny.CONV), Here(capfd)
    tiny.step(spec)
    start(spec.parent)
    clone = tmp_path / "clone" / "spec.yaml"
    git(tmp_path, "clone", "--quiet", "origin", "clone")
    assert not (clone.parent / ".nhnas").exists()
    for words in (("check",), ("show",), ("diff", "HEAD")):
        assert 0 == here(*words, str(clone))[0]
    code, _, err = here("step", str(clone))
    assert (2, 1, True) == (code, err.count("\n"), "copy .nhnas/, or start untrained with --fresh" in err)
    shutil.copytree(spec.parent / ".nhnas", clone.parent / ".nhnas")
    assert here("eval", str(spec)) == here("eval", str(clone))
    assert tiny.step(spec)[0].state == tiny.step(clone)[0].state
    assert spec.read_bytes() == clone.read_bytes()


NOBODY = 65534


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        monkeypatch.chdir(name)
        yield Path(name)


def as_another(*words: str) -> tuple[int, str]:
    """Exit code and stderr of a command in a forked child: of another user, where root runs the tests.

    Run it as oneself before: the other one may not be allowed to read Python's modules.
    """
    with warnings.catch_warnings(), tempfile.TemporaryFile("w+") as told:
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork with threads
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                os.environ["HOME"] = os.getcwd()
                with open(os.devnull, "w") as unread, redirect_stdout(unread), redirect_stderr(told):
                    main(list(words))
            except SystemExit as leaving:
                told.flush()
                os._exit(leaving.code if isinstance(leaving.code, int) else 98)
            finally:
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return code, told.read()


VERBS = (("eval",), ("log",), ("show",), ("plan",), ("diff", "spec.yaml"))


def test_another_user_reads_and_is_told_what_cannot_be_written(
    public: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a folder that is readable alone: all that read work, step is one line and exit code 5."""
    spec, here = tiny.make(public / "work"), Here(capfd)
    tiny.step(spec)
    before = tiny.outcome(spec)
    for path in (spec.parent, *spec.parent.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for words in VERBS:
        assert 0 == here(words[0], "work/spec.yaml", *(f"work/{name}" for name in words[1:]))[0]
        assert (0, "") == as_another(words[0], "work/spec.yaml", *(f"work/{name}" for name in words[1:]))
    assert (0, "") == as_another("step", "work/spec.yaml", "--to", "1")
    code, err = as_another("step", "work/spec.yaml")
    assert (5, 1, True) == (code, err.count("\n"), err.endswith(": Permission denied\n")), err
    assert before == tiny.outcome(spec)
    for path in (spec.parent, *spec.parent.rglob("*")):
        path.chmod(0o755)


def test_what_may_not_be_read_is_named(public: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A snapshot or a file of one: one line with the path, exit code 5, for every verb."""
    spec, here = tiny.make(public / "work"), Here(capfd)
    tiny.step(spec)
    folder = spec.parent / ".nhnas" / "snapshots" / (read_document(spec).state or "")
    assert [0, 0, 0] == [here(verb, str(spec))[0] for verb in ("eval", "plan", "log")]
    for path in (folder, folder / "state.json", folder / "MANIFEST.json"):
        mode = path.stat().st_mode
        path.chmod(0)
        for verb in ("eval", "plan", "log"):
            code, err = as_another(verb, "work/spec.yaml")
            assert (5, 1, True) == (code, err.count("\n"), "Permission denied" in err), (path, verb, err)
            assert path.name in err
        path.chmod(mode)


def test_users_take_turns_where_all_may_write(public: Path) -> None:
    """One grows version 1, another goes on, the first one again."""
    spec = tiny.make(public / "work")
    before = os.umask(0)
    try:
        spec.parent.chmod(0o777)
        spec.chmod(0o666)
        tiny.step(spec)
        assert (0, "") == as_another("step", "work/spec.yaml")
        assert 2 == read_document(spec).version
        assert 3 == tiny.step(spec)[0].version
    finally:
        os.umask(before)
