"""`nhnas gc`: which versions of a store stay, what it says, and what it does not disturb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nhnas.collection import Options, collect_places
from nhnas.compiler.collect import ids_in
from nhnas.compiler.lock import hold
from nhnas.log import history
from nhnas.spec.document import read_document
from nhnas.spec.errors import BusyError, InputError, Interrupted, StorageError
from tests import tiny
from tests.collect.collected import gc, whole, write
from tests.here import Here
from tests.repository import start

pytestmark = pytest.mark.usefixtures("no_fsync")


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


def test_a_file_saved_in_another_encoding_keeps_its_weights(spec: Path, states: list[str]) -> None:
    """As UTF-16 it is still read; empty it is refused, and all stays; git names the first version alone."""
    text = spec.read_text()
    write(spec, 1, states)
    start(spec.parent)
    spec.write_text(text, "utf-16")
    assert states[1:4] == sorted(gc(spec, dry_run=True), key=states.index)
    spec.write_bytes(b"\n")
    with pytest.raises(
        InputError, match="is empty, so that what it needs is not known, and nothing was dropped"
    ):
        gc(spec)
    assert states == sorted(whole(spec), key=states.index)


def test_ids_in_text() -> None:
    """Ids of 16 digits exactly, not parts of longer words, in any encoding that an editor may have chosen."""
    text = b"state: s0123456789abcdef\n{state: 'sfedcba9876543210'} as0123456789abcdee s0123456789abcdef0 sX"
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        assert {"s0123456789abcdef", "sfedcba9876543210"} == ids_in(text.decode().encode(encoding))


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
