"""Durable writes: modes, links, conditions, temporary names, errors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nhnas.compiler.files import (
    commit_folder,
    make_folder,
    one_line,
    read_file,
    remove_folder,
    replace_text,
    sweep,
    temporary_folder,
    write_file,
)
from nhnas.spec.errors import InputError, StorageError


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_follows_umask(tmp_path: Path, mask: int, expected: int) -> None:
    """A written file is as readable as the umask says."""
    with umask(mask):
        write_file(tmp_path / "a", b"text")
    assert expected == mode(tmp_path / "a")


def test_write_replaces_whole_file(tmp_path: Path) -> None:
    """Writing again replaces the content and leaves no temporary file."""
    write_file(tmp_path / "a", b"long old content")
    write_file(tmp_path / "a", b"new")
    assert b"new" == (tmp_path / "a").read_bytes()
    assert ["a"] == os.listdir(tmp_path)


def test_replace_keeps_mode_and_link(tmp_path: Path) -> None:
    """Replacing a spec through a link changes the target, and neither the link nor the mode."""
    target, link = tmp_path / "real" / "spec.yaml", tmp_path / "spec.yaml"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert replace_text(link, b"old", b"new")
    assert (b"new", True, 0o640) == (target.read_bytes(), link.is_symlink(), mode(target))
    assert ["spec.yaml"] == os.listdir(target.parent)


@pytest.mark.parametrize("present", [b"a person's text", None])
def test_replace_never_overwrites_what_a_person_wrote(tmp_path: Path, present: bytes | None) -> None:
    """A file that changed or went away since it was read is left alone."""
    path = tmp_path / "spec.yaml"
    if present is not None:
        path.write_bytes(present)
    assert not replace_text(path, b"as read", b"new")
    assert ([] if present is None else ["spec.yaml"]) == os.listdir(tmp_path)
    assert present == (path.read_bytes() if path.exists() else None)


def test_replace_without_condition(tmp_path: Path) -> None:
    """Without an expected content the file is replaced or created."""
    assert replace_text(tmp_path / "spec.yaml", None, b"1")
    assert replace_text(tmp_path / "spec.yaml", None, b"2")
    assert b"2" == (tmp_path / "spec.yaml").read_bytes()


def test_commit_moves_whole_folder_once(tmp_path: Path) -> None:
    """The first commit wins; a second one under the same name changes nothing and leaves nothing."""
    outcomes = []
    for content in (b"first", b"second"):
        with temporary_folder(tmp_path) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / "file").write_bytes(content)
            outcomes.append(commit_folder(temporary, tmp_path / "final"))
    assert [True, False] == outcomes
    assert b"first" == (tmp_path / "final" / "sub" / "file").read_bytes()
    assert ["final"] == os.listdir(tmp_path)


def test_commit_syncs_before_rename_and_parent_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder is fsync'd before the rename, the parent after it."""
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        calls.append(("rename", target.name))
        rename(source, target)

    with temporary_folder(tmp_path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_bytes(b"x")
        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr(os, "rename", note_rename)
        commit_folder(temporary, tmp_path / "final")
    expected = [("fsync", "file"), ("fsync", "sub"), ("fsync", temporary.name), ("rename", "final")]
    assert [*expected, ("fsync", tmp_path.name)] == calls


def test_make_folder_is_repeatable(tmp_path: Path) -> None:
    """Missing parents are made too, and an existing folder is fine."""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_sweep_removes_only_what_nobody_writes(tmp_path: Path) -> None:
    """Left-overs go, a folder being filled stays, and so do other names and links."""
    (tmp_path / ".tmp-1-nhnas-00ff").mkdir()
    (tmp_path / ".tmp-1-nhnas-00ff" / "file").write_bytes(b"x")
    (tmp_path / f".tmp-{os.getpid()}-nhnas-aa").write_bytes(b"x")
    (tmp_path / ".tmp-mine").write_bytes(b"x")
    (tmp_path / "spec.yaml").write_bytes(b"x")
    with temporary_folder(tmp_path) as living:
        assert 2 == sweep(tmp_path)
        assert {living.name, ".tmp-mine", "spec.yaml"} == set(os.listdir(tmp_path))
    assert 0 == sweep(tmp_path / "missing")


def test_remove_folder_leaves_nothing(tmp_path: Path) -> None:
    """A removed folder is gone, without a temporary name."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_folder(tmp_path / "a")
    assert [] == os.listdir(tmp_path)


def test_failed_block_leaves_no_temporary_folder(tmp_path: Path) -> None:
    """An error while a folder is filled removes it."""
    with pytest.raises(KeyError), temporary_folder(tmp_path):
        raise KeyError
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_failing_call_keeps_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """A failing system call is one line, path and reason; the old file stays, nothing else does."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "spec.yaml"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail)
    for write in (lambda: write_file(path, b"new"), lambda: replace_text(path, b"old", b"new")):
        with pytest.raises(StorageError) as caught:
            write()
        assert f"{path}: {os.strerror(number)}" == str(caught.value)
    assert (b"old", ["spec.yaml"]) == (path.read_bytes(), os.listdir(tmp_path))


def test_path_through_a_file_is_a_storage_error(tmp_path: Path) -> None:
    """A path that leads through a file names itself and the reason, for every operation."""
    (tmp_path / "file").write_bytes(b"x")
    path = tmp_path / "file" / "a"
    operations = (
        lambda: write_file(path, b""),
        lambda: replace_text(path, None, b""),
        lambda: make_folder(path),
        lambda: read_file(path),
        lambda: remove_folder(path),
    )
    for operation in operations:
        with pytest.raises(StorageError) as caught:
            operation()
        assert f"{path}: {os.strerror(errno.ENOTDIR)}" == str(caught.value)


def test_read_refuses_what_is_no_plain_file(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe (without waiting), a link, another size: one line each."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    expected = {
        "missing": "is missing",
        "folder": "is not a regular file",
        "pipe": "is not a regular file",
        "link": "is a link, not a regular file",
    }
    for name, problem in expected.items():
        with pytest.raises(InputError) as caught:
            read_file(tmp_path / name)
        assert f"{tmp_path / name}: {problem}" == str(caught.value)
    with pytest.raises(InputError, match="has 4 bytes instead of 5"):
        read_file(tmp_path / "file", 5)
    with pytest.raises(InputError, match="has 4 bytes, at most 3 are read"):
        read_file(tmp_path / "file", limit=3)
    assert b"four" == read_file(tmp_path / "file", 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("näh/路", "näh/路"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        ("\ud800\u2028", "\\ud800\\u2028"),
        ("x" * 9, "xx…xx"),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    """Letters of any alphabet stay, what could break a line or a terminal is escaped, length is bounded."""
    assert expected == one_line(text, limit=14 if len(text) < 9 else 4)
