"""Every broken and hostile file through the commands: one line an error, exit code 2, nothing written."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas.spec.yaml_tree import MAX_BYTES
from tests.here import Here
from tests.hostile_specs import HEAD, UNSAFE, WRONG

CASES = {name: data for name, (data, _) in UNSAFE.items()} | {
    name: HEAD.replace(old, new.encode()) for name, (old, new) in WRONG.items()
}
VERBS: dict[str, tuple[str, ...]] = {
    "check": (),
    "show": (),
    "diff": ("SPEC",),
    "render": ("-o", "x.svg"),
    "plan": (),
    "log": (),
    "step": (),
    "run": ("--steps", "1"),
    "train": ("--epochs", "1"),
    "eval": (),
    "apply": (),
}
POSITION = re.compile(r"spec\.yaml:\d+:\d+: .")


@pytest.fixture
def here(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Here(capfd)


def refused(here: Here, verb: str) -> list[str]:
    """The lines of a refusal of spec.yaml; nothing else may have happened."""
    before = sorted(os.listdir("."))
    words = [word.replace("SPEC", "spec.yaml") for word in VERBS[verb]]
    code, out, err = here(verb, "spec.yaml", *words)
    assert (2, "", before) == (code, out, sorted(os.listdir("."))), (verb, err)
    return err.splitlines()


def test_there_are_enough_cases() -> None:
    """At least 60 were asked for."""
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_check_refuses_it_with_a_position_for_each_error(case: str, here: Here) -> None:
    """What cannot be parsed safely is told alone."""
    Path("spec.yaml").write_bytes(CASES[case])
    lines = refused(here, "check")
    assert lines
    assert [] == [line for line in lines if not POSITION.match(line)]
    assert case not in UNSAFE or len(lines) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_refuses_them_alike(verb: str, here: Here) -> None:
    """The same lines as check, for every tenth case."""
    for case in list(CASES)[:: 4 if verb in ("show", "diff") else 10]:
        Path("spec.yaml").write_bytes(CASES[case])
        assert refused(here, "check") == refused(here, verb), case


def make_pipe(path: Path) -> None:
    """A FIFO without a writer."""
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    """A folder of that name."""
    path.mkdir()


def make_loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


def make_device(path: Path) -> None:
    """A file without an end."""
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)


def make_sparse(path: Path) -> None:
    """Far too large, and nearly nothing on the disk."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def make_zeros(path: Path) -> None:
    """Just too large."""
    path.write_bytes(b"#" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    "make", [make_pipe, make_folder, make_loop, make_device, make_socket, make_sparse, make_zeros]
)
def test_what_is_no_file_is_refused_by_every_command(make: object, here: Here) -> None:
    """At once, in one line, without a position: there is none."""
    assert callable(make)
    make(Path("spec.yaml"))
    for verb in VERBS:
        assert 1 == len(refused(here, verb)), verb


@pytest.mark.parametrize(
    "edit",
    [
        ("name: a", "name: ../a"),
        ("name: a", "name: /etc/passwd"),
        ("name: a", "name: a, renamed_from: ../b"),
    ],
)
def test_names_are_no_paths(edit: tuple[str, str], here: Here) -> None:
    """A layer's name is a prefix of tensors and could lead elsewhere."""
    old, new = (part.encode() for part in edit)
    Path("spec.yaml").write_bytes(HEAD.replace(old, new))
    (line,) = refused(here, "check")
    assert POSITION.match(line)


@pytest.mark.parametrize("case", ["alias bomb", "brackets", "long integer", "nul byte", "duplicate key"])
def test_real_processes_refuse_them(case: str, tmp_path: Path) -> None:
    """The same exit code and line from `python -m nhnas`."""
    (tmp_path / "spec.yaml").write_bytes(CASES[case])
    command = [sys.executable, "-m", "nhnas", "check", "spec.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert POSITION.match(done.stderr)
