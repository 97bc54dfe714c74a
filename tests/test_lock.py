"""One command at a time: between real processes, after kill -9, with forked workers alive."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nhnas.compiler.lock import hold
from nhnas.compiler.place import spec_key, store_folder
from nhnas.spec.errors import BusyError, StorageError

HOLDER = """
import os, sys, time
from pathlib import Path
from nhnas.compiler.lock import hold
with hold(Path(sys.argv[1]), "spec.yaml", command="nhnas step"):
    {inside}
    os.write(1, b"held\\n")
    sys.stdin.read()
"""


@contextmanager
def holder(store: Path, inside: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input is closed."""
    script = HOLDER.format(inside=textwrap.indent(inside, "    ").strip())
    command = [sys.executable, "-c", script, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert "held\n" == process.stdout.readline()
        yield process
        process.kill()


def test_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    """While one process holds a spec, another is refused at once and told process, command and host."""
    with holder(tmp_path) as other, pytest.raises(BusyError) as caught, hold(tmp_path, "spec.yaml"):
        pass
    who = f"process {other.pid} (nhnas step) on {socket.gethostname()}"
    assert f"spec.yaml is held by {who}; try later, or --wait" == str(caught.value)
    assert 3 == caught.value.exit_code


def test_kill_frees_it_at_once(tmp_path: Path) -> None:
    """After kill -9 of the holder the next one holds it, although the lock file still names the dead."""
    with holder(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with hold(tmp_path, "spec.yaml"):
            content = (tmp_path / "spec.yaml.lock").read_text()
    assert f"{os.getpid()}\n{socket.gethostname()}\nnhnas\n" == content


def test_forked_worker_does_not_keep_it(tmp_path: Path) -> None:
    """A data-loader worker forked by a killed command does not hold the lock."""
    child = "os.write(1, b'%d\\n' % os.getpid())\n    time.sleep(60)\n    os._exit(0)"
    fork = f"if os.fork() == 0:\n    {child}"
    script = HOLDER.format(inside=textwrap.indent(fork, "    ").strip())
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        lines = {other.stdout.readline(), other.stdout.readline()}  # parent and child, in any order
        worker = int((lines - {"held\n"}).pop())
        try:
            other.kill()
            other.wait()
            os.kill(worker, 0)  # it still lives
            with hold(tmp_path, "spec.yaml"):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_child_that_leaves_the_block_does_not_free_it(tmp_path: Path) -> None:
    """A forked child that leaves the block closes nothing of its parent's."""
    lock = hold(tmp_path, "spec.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork with threads
        lock.__enter__()
        child = os.fork()
    if child == 0:
        failed = 1
        try:
            lock.__exit__(None, None, None)
            failed = 0
        finally:
            os._exit(failed)
    assert 0 == os.waitpid(child, 0)[1]
    with pytest.raises(BusyError), hold(tmp_path, "spec.yaml"):
        pass
    lock.__exit__(None, None, None)


def test_wait_gets_it_when_it_is_free(tmp_path: Path) -> None:
    """With wait, the next one goes on as soon as the holder is done."""
    with holder(tmp_path) as other:
        assert other.stdin is not None
        timer = threading.Timer(0.1, other.stdin.close)
        timer.start()
        with hold(tmp_path, "spec.yaml", wait=True):
            assert 0 == other.wait()
        timer.join()


def test_nested_hold_is_busy_and_harmless(tmp_path: Path) -> None:
    """The same process cannot hold it twice, and the refused attempt does not free it."""
    with hold(tmp_path, "spec.yaml"):
        for _ in range(2):
            with pytest.raises(BusyError, match=f"process {os.getpid()} "), hold(tmp_path, "spec.yaml"):
                pass
    with hold(tmp_path, "spec.yaml"):
        pass


def test_specs_in_one_folder_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each spec file has its own lock; the files stay, hidden from git."""
    with hold(tmp_path / ".nhnas", "a.yaml"), hold(tmp_path / ".nhnas", "b.yaml"):
        pass
    assert {"a.yaml.lock", "b.yaml.lock", ".gitignore"} == set(os.listdir(tmp_path / ".nhnas"))
    assert "*\n" == (tmp_path / ".nhnas" / ".gitignore").read_text()


def test_holding_sweeps_left_overs(tmp_path: Path) -> None:
    """Whoever gets the lock removes what killed commands left in the store."""
    left = [tmp_path / part / ".tmp-9-nhnas-ab" for part in ("", "snapshots", "slots/spec.yaml")]
    for folder in left:
        folder.mkdir(parents=True)
    with hold(tmp_path, "spec.yaml"):
        assert [False] * 3 == [folder.exists() for folder in left]


def test_store_that_cannot_be_made(tmp_path: Path) -> None:
    """A store that cannot be created is one line with path and reason."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/store: Not a directory"):
        hold(tmp_path / "file" / "store", "spec.yaml").__enter__()


def test_linked_spec_shares_store_and_key(tmp_path: Path) -> None:
    """A link to a spec leads to the same store and lock as the spec."""
    spec, link = tmp_path / "a" / "spec.yaml", tmp_path / "link.yaml"
    spec.parent.mkdir()
    spec.write_bytes(b"")
    link.symlink_to(spec)
    assert store_folder(spec) == store_folder(link) == tmp_path / "a" / ".nhnas"
    assert "spec.yaml" == spec_key(spec) == spec_key(link)


def test_shared_store_tells_folders_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a store given by $NHNAS_STORE two folders' spec.yaml have different locks and slots."""
    monkeypatch.setenv("NHNAS_STORE", str(tmp_path / "store"))
    one, two = tmp_path / "one" / "spec.yaml", tmp_path / "two" / "spec.yaml"
    assert tmp_path / "store" == store_folder(one) == store_folder(two)
    assert spec_key(one) != spec_key(two)
    assert spec_key(one).startswith("spec.yaml-")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_key_is_a_file_name(tmp_path: Path, name: str) -> None:
    """A lock cannot be put anywhere but into the store."""
    with pytest.raises(ValueError, match="is no file name"):
        hold(tmp_path, name).__enter__()


def test_a_signature_of_the_dead_is_read_again(tmp_path: Path) -> None:
    """Between two holders the file names the first; who comes then is told of the second, once it signed."""
    with holder(tmp_path) as dead:
        dead.kill()
        dead.wait()
    lock = tmp_path / "spec.yaml.lock"
    old = lock.read_bytes()
    with hold(tmp_path, "spec.yaml"):
        new = lock.read_bytes()
        lock.write_bytes(old)
        timer = threading.Timer(0.05, lock.write_bytes, (new,))
        timer.start()
        with pytest.raises(BusyError, match=f"process {os.getpid()} "), hold(tmp_path, "spec.yaml"):
            pass
        timer.join()


@pytest.mark.parametrize(
    "content", [b"", b"1\n", b"x\ny\nz\n", b"9" * 30 + b"\nhost\nnhnas\n", b"\xff\n" * 3]
)
def test_a_lock_that_nobody_signed_is_somebodys(content: bytes, tmp_path: Path) -> None:
    """Whatever the file holds, the second one is refused."""
    with hold(tmp_path, "spec.yaml"):
        (tmp_path / "spec.yaml.lock").write_bytes(content)
        with pytest.raises(BusyError, match="is held by "), hold(tmp_path, "spec.yaml"):
            pass
