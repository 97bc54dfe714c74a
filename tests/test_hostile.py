"""Broken and hostile files: one line that says where, nothing expanded, nothing run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.yaml_tree import MAX_BYTES
from tests.hostile_specs import HEAD, UNSAFE, WRONG


def errors_of(text: bytes) -> list[str]:
    """Lines of the error that a text causes."""
    with pytest.raises(InputError) as caught:
        parse_document(text, Path("spec.yaml"))
    return str(caught.value).splitlines()


@pytest.mark.parametrize("case", UNSAFE)
def test_what_cannot_be_parsed_safely_is_reported_alone(case: str) -> None:
    """The first reason, with its position, on one line."""
    text, expected = UNSAFE[case]
    [line] = errors_of(text)
    assert line.startswith("spec.yaml:")
    assert expected in line


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_one_line_with_its_position(case: str) -> None:
    """Nothing is coerced; the line names file, line and column."""
    old, new = WRONG[case]
    [line] = errors_of(HEAD.replace(old, new.encode()))
    place, _, message = line.partition(": ")
    assert place.startswith("spec.yaml:")
    assert [n.isdigit() for n in place.split(":")[1:]] == [True, True]
    assert message.isprintable()


def test_a_name_of_20000_characters_does_not_flood_the_message() -> None:
    """Foreign text is shortened where it is quoted."""
    layer = b"{name: " + b"n" * 20_000 + b", op: dense, width: 2}"
    [line] = errors_of(HEAD.replace(b"[{name: a, op: dense, width: 2}]", b"[" + layer + b", " + layer + b"]"))
    assert len(line) < 300


def test_a_folder_a_pipe_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    """Only a regular file is read, and a pipe without a writer does not block."""
    os.mkfifo(tmp_path / "pipe")
    reasons = {".": "is a folder", "pipe": "is not a regular file", "none": "no such file", "pipe/x": "Not a"}
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason):
            read_document(tmp_path / name)


def test_an_unreadable_file_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission that is missing is told as such (root may read everything, so it is simulated)."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_document(tmp_path / "spec.yaml")


def test_a_path_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    """Also the file's own name is foreign text."""
    with pytest.raises(InputError) as caught:
        read_document(tmp_path / "a\nb\x00.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    """The limit is checked before anything else."""
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="1:1: larger than 64 MiB"):
        read_document(path)


def test_nesting_up_to_64_is_fine_and_65_is_an_error_with_a_place() -> None:
    """The limit of DESIGN §3, far above every network that was ever grown."""

    def nested(depth: int) -> bytes:
        inner = "{hidden: 1}"
        for _ in range(depth - 1):
            inner = f"{{hidden: 1, first: {{residual: {inner}}}}}"
        return HEAD.replace(b"width: 2", f"width: 2, residual: {inner}".encode())

    assert parse_document(nested(64)).architecture.net
    [line] = errors_of(nested(65))
    assert "residuals are nested at most 64 deep" in line
