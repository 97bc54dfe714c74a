"""A spec with its store works wherever it is: moved, copied, read-only, under any umask (DESIGN §7)."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas.compiler.store import load_snapshot, save_snapshot
from nhnas.spec.document import read_document
from tests import tiny


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


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
