"""What `nhnas log`, and a command on a renamed file, say of commands that have not ended."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from nhnas.compiler.generations import last_heads
from nhnas.compiler.lock import hold, signer
from nhnas.compiler.place import lock_file, slot_folder, spec_key, store_folder
from nhnas.spec.document import read_document
from nhnas.spec.errors import Interrupted
from nhnas.unfinished import unfinished
from tests import tiny


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


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


def test_a_lock_says_who_signed_it_and_lives(tmp_path: Path) -> None:
    """None for a lock that nobody made, that was let go, or whose process is gone."""
    assert signer(tmp_path, "spec.yaml") is None
    with hold(tmp_path, "spec.yaml", command="nhnas step"):
        assert f"process {os.getpid()} (nhnas step) on {socket.gethostname()}" == signer(
            tmp_path, "spec.yaml"
        )
    assert signer(tmp_path, "spec.yaml") is None
    gone = f"{2**40}\n{socket.gethostname()}\nnhnas step\n"
    lock_file(tmp_path, "spec.yaml").write_text(gone)
    assert signer(tmp_path, "spec.yaml") is None
    lock_file(tmp_path, "spec.yaml").write_text("77\nanother.host\nnhnas step\n")
    assert "process 77 (nhnas step) on another.host" == signer(tmp_path, "spec.yaml")


def test_a_file_of_another_version_says_that_its_command_does_not_fit(tmp_path: Path) -> None:
    """After a checkout the command cannot go on."""
    spec = stopped(tmp_path / "work", 1)
    tiny.edit(spec, read_document(spec).state or "", "s0123456789abcdef")
    said = (
        "`nhnas run --steps 2` was interrupted, and spec.yaml is of another version now: --discard drops it"
    )
    assert [said] == lines(spec)


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


def test_a_damaged_slot_is_left_to_who_goes_on(tmp_path: Path) -> None:
    """Reading says nothing of it."""
    spec = stopped(tmp_path / "work", 1)
    store, key = store_folder(spec), spec_key(spec)
    assert [key] == [key for key, _ in last_heads(store)]
    for path in slot_folder(store, key).iterdir():
        path.write_bytes(b"x\n[]\n")
    assert [] == list(last_heads(store))
    assert [] == lines(spec)
