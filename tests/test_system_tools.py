"""Storage as the operating system sees it, through strace (DESIGN §7)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

WRITE = "import sys; from pathlib import Path; from nhnas.compiler.files import write_file; \
write_file(Path(sys.argv[1]), b'new')"
CALL = re.compile(r"(?P<name>fsync|fdatasync|rename\w*)\((?P<arguments>.*)\)\s+= 0")
DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
QUOTED = re.compile(r'"([^"]*)"')


def write_under_strace(target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Write b"new" to `target` in a process of its own under strace, whose report is in stderr."""
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", *options]
    return subprocess.run(
        [*command, sys.executable, "-c", WRITE, str(target)], capture_output=True, text=True, check=False
    )


def calls(report: str) -> list[tuple[str, ...]]:
    """Return the successful calls of a report: ("sync", file) and ("rename", from, to)."""
    found: list[tuple[str, ...]] = []
    for match in CALL.finditer(report):
        arguments = match["arguments"]
        if match["name"].startswith("rename"):
            found.append(("rename", *QUOTED.findall(arguments)))
        else:
            found.append(("sync", *DESCRIPTOR.findall(arguments)))
    return found


def test_a_file_is_on_the_disk_before_its_name_is(tmp_path: Path) -> None:
    """First the file is fsync'd, then renamed, then its folder fsync'd: a power cut leaves old or new."""
    target = tmp_path / "spec.yaml"
    target.write_bytes(b"old")
    done = write_under_strace(target)
    assert done.returncode == 0, done.stderr
    (first, temporary), *rest = calls(done.stderr)
    assert ("sync", True) == (first, temporary != str(target))
    assert [("rename", temporary, str(target)), ("sync", str(tmp_path))] == rest
    assert b"new" == target.read_bytes()


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    """After kill -9 at the rename, the old file is there, whole."""
    target = tmp_path / "spec.yaml"
    target.write_bytes(b"old")
    done = write_under_strace(target, "-e", "inject=rename,renameat,renameat2:signal=KILL:when=1")
    assert -signal.SIGKILL == done.returncode
    assert b"old" == target.read_bytes()


@pytest.mark.parametrize("call", ["fsync", "rename,renameat,renameat2"])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing_behind(call: str, tmp_path: Path) -> None:
    """Where the disk is full, the old file stays, no temporary file does, and the error says so."""
    target = tmp_path / "spec.yaml"
    target.write_bytes(b"old")
    done = write_under_strace(target, "-e", f"inject={call}:error=ENOSPC:when=1")
    assert 1 == done.returncode
    assert "StorageError" in done.stderr
    assert [("spec.yaml", b"old")] == [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
