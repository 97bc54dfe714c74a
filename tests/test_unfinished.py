"""What `nhnas log`, and a command on a renamed file, say of commands that have not ended."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nhnas.compiler.generations import last_head, slot_keys
from nhnas.compiler.lock import hold, signer
from nhnas.compiler.place import lock_file, slot_folder, spec_key, store_folder
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError, Interrupted
from nhnas.unfinished import unfinished
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


def stopped(folder: Path, versions: int = 0) -> Path:
    """A spec after so many versions, whose next run of two steps stops in its third batch."""
    spec = tiny.make(folder)
    for _ in range(versions):
        tiny.step(spec)
    with pytest.raises(Interrupted):
        tiny.run(spec, tiny.Counting(batch=2), steps=2)
    return spec


def lines(spec: Path) -> list[str]:
    """What is said of a spec."""
    return list(unfinished(read_document(spec), spec))


@pytest.mark.parametrize("versions", [0, 1])
def test_an_interrupted_command_is_told_until_it_has_ended(versions: int, tmp_path: Path) -> None:
    """Also of an untrained file, and with what is to be done."""
    spec = stopped(tmp_path / "work", versions)
    where = f"in version {versions + 1} (fit, 0 epochs done)"
    said = f"`nhnas run --steps 2` was interrupted {where}: the same command goes on, --discard drops it"
    assert [said] == lines(spec)
    tiny.run(spec, steps=2)
    assert [] == lines(spec)


def test_a_running_command_is_told_with_its_process(tmp_path: Path) -> None:
    """Not once it has let go, though its process may live on."""
    spec = stopped(tmp_path / "work")
    with hold(store_folder(spec), spec_key(spec), command="nhnas run"):
        (line,) = lines(spec)
    here = f"process {os.getpid()} (nhnas run) on {socket.gethostname()}"
    assert f"`nhnas run --steps 2` runs: {here}; in version 1 (fit, 0 epochs done)" == line
    assert "was interrupted" in lines(spec)[0]


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    """None for a lock that nobody made, or that was let go, whoever signed it and lives."""
    assert signer(tmp_path, "spec.yaml") is None
    with hold(tmp_path, "spec.yaml", command="nhnas step"):
        said = f"process {os.getpid()} (nhnas step) on {socket.gethostname()}"
        assert said == str(signer(tmp_path, "spec.yaml"))
        lock_file(tmp_path, "spec.yaml").write_text("77\nanother.host\nnhnas step\n")
        assert "process 77 (nhnas step) on another.host" == str(signer(tmp_path, "spec.yaml"))
    lock_file(tmp_path, "spec.yaml").write_text(f"{os.getpid()}\n{socket.gethostname()}\nnhnas step\n")
    assert signer(tmp_path, "spec.yaml") is None


def test_who_asks_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that begins while somebody asks waits for the moment that it takes."""
    with hold(tmp_path, "spec.yaml"):
        pass
    with open(lock_file(tmp_path, "spec.yaml"), "rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr("nhnas.compiler.lock.time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
        with hold(tmp_path, "spec.yaml"):
            assert signer(tmp_path, "spec.yaml") is not None


def test_what_holds_a_spec_without_a_slot_is_told(tmp_path: Path) -> None:
    """A command that has just begun; `nhnas gc` is no training, and an interrupted one stays interrupted."""
    spec = tiny.make(tmp_path / "new")
    with hold(store_folder(spec), spec_key(spec), command="nhnas step"):
        here = f"process {os.getpid()} (nhnas step) on {socket.gethostname()}"
        assert [f"{here} has saved nothing yet"] == lines(spec)
    with hold(store_folder(spec), spec_key(spec), command="nhnas gc"):
        assert [] == lines(spec)
    spec = stopped(tmp_path / "work")
    with hold(store_folder(spec), spec_key(spec), command="nhnas gc"):
        assert "was interrupted in version 1" in lines(spec)[0]


@pytest.mark.parametrize("text", ["s0123456789abcdef", None])
def test_a_file_of_another_version_says_that_its_command_does_not_fit(
    text: str | None, tmp_path: Path
) -> None:
    """After a checkout, also of the untrained file, the command cannot go on."""
    spec = stopped(tmp_path / "work", 1)
    if text is None:
        spec.write_text(tiny.DENSE)
    else:
        tiny.edit(spec, read_document(spec).state or "", text)
    said = (
        "`nhnas run --steps 2` was interrupted, and spec.yaml is of another version now: --discard drops it"
    )
    assert [said] == lines(spec)
    with pytest.raises(InputError, match="state"):
        tiny.run(spec, steps=2)


def test_a_renamed_file_tells_of_the_command_that_it_leaves(tmp_path: Path) -> None:
    """In the log and when a command begins; a copy says nothing, since the file itself is still there."""
    spec = stopped(tmp_path / "work", 1)
    copy = spec.with_name("copy.yaml")
    copy.write_bytes(spec.read_bytes())
    assert [] == lines(copy)
    spec.unlink()
    said = "`nhnas run --steps 2` of spec.yaml is not finished, and that file is gone: "
    said += "to go on, rename copy.yaml back"
    assert [said] == lines(copy)
    report = tiny.Counting()
    tiny.step(copy, report)
    assert said == report.lines[0]
    assert [] == lines(copy)


def test_where_folders_share_a_store_nobody_looks_at_the_slots_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be another user's, and a key does not say where its file lay."""
    monkeypatch.setenv("NHNAS_STORE", str(tmp_path / "store"))
    spec = stopped(tmp_path / "work", 1)
    copy = spec.with_name("copy.yaml")
    spec.rename(copy)
    monkeypatch.setattr("nhnas.unfinished.slot_keys", None)
    assert [] == lines(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"x\n[]\n",
        lambda _: b"x",
        lambda data: data.replace(b'"request"', b'"requesu"'),
        lambda data: data.replace(b'"progress"', b'"progresu"'),
        lambda data: data.replace(b'"version":2', b'"version":null'),
    ],
)
def test_a_damaged_slot_is_left_to_who_goes_on(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Reading says nothing of it."""
    spec = stopped(tmp_path / "work", 1)
    store, key = store_folder(spec), spec_key(spec)
    assert [key] == slot_keys(store)
    assert last_head(store, key) is not None
    for path in slot_folder(store, key).iterdir():
        before = path.read_bytes()
        path.write_bytes(damage(before))
        assert before != path.read_bytes()
    assert last_head(store, key) is None
    assert [] == lines(spec)


def test_a_slot_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the folder, say; whoever goes on is told."""
    spec = stopped(tmp_path / "work", 1)
    store, key = store_folder(spec), spec_key(spec)

    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nhnas.compiler.generations.os.listdir", refuse)
    assert last_head(store, key) is None
