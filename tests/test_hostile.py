"""Broken and hostile files: one line that says where, nothing expanded, nothing run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.yaml_tree import MAX_BYTES

HEAD = b"format: 1\nname: x\ninput: [2]\nnet: [{name: a, op: dense, width: 2}]\n"
BOMB = b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 123))

UNSAFE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "1:1: the file is empty"),
    "comment only": (b"# nothing\n", "1:1: the file is empty"),
    "scalar": (b"hello\n", "1:1: expected keys and values"),
    "list": (b"- a\n", "1:1: expected keys and values"),
    "null": (b"~\n", "1:1: expected keys and values"),
    "nul byte": (HEAD + b"a: \x00\n", "5:4: control character U+0000"),
    "escape byte": (HEAD + b"# \x1b[2J\n", "5:3: control character U+001B"),
    "delete byte": (HEAD + b"\x7f: 1\n", "5:1: control character U+007F"),
    "not utf-8": (HEAD + "ä: é".encode("latin-1"), "5:1: byte 0xe4 is not UTF-8"),
    "cut utf-8": (HEAD + "note: 猫".encode()[:-1], "5:7: byte 0xe7 is not UTF-8"),
    "overlong utf-8": (b"a: \xc0\xaf", "1:4: byte 0xc0 is not UTF-8"),
    "surrogate": (b"a: \xed\xa0\x80", "1:4: byte 0xed is not UTF-8"),
    "utf-8 bom": (b"\xef\xbb\xbf" + HEAD, "1:1: starts with a byte order mark"),
    "utf-16": (HEAD.decode().encode("utf-16"), "1:1: not UTF-8 but UTF-16"),
    "utf-16 without mark": (HEAD.decode().encode("utf-16-le"), "1:2: control character U+0000"),
    "utf-32": (HEAD.decode().encode("utf-32"), "1:1: not UTF-8 but UTF-16"),
    "tab indent": (b"train:\n\tlr: 1\n", "2:1: a tab cannot indent"),
    "tab after dash": (b"net:\n-\tname: a\n  op: b\n", "2:2: a tab cannot indent"),
    "anchor": (b"a: 1\nb: &x 2\n", "2:4: anchors (&x)"),
    "anchor on a list": (b"net: &x\n- a\n", "1:6: anchors (&x)"),
    "anchor on a key": (b"&x a: 1\n", "1:1: anchors (&x)"),
    "alias": (b"a: *x\n", "1:4: aliases (*x)"),
    "alias as key": (b"*x : 1\n", "1:1: aliases (*x)"),
    "alias bomb": (BOMB, "1:4: anchors (&a)"),
    "merge key": (b"a: 1\n<<: {b: 1}\n", "2:1: merge keys"),
    "merge key inside": (b"train: {<<: {lr: 1}}\n", "1:9: merge keys"),
    "python tag": (b"a: !!python/object/apply:os.system ['true']\n", "1:4: tags"),
    "int tag": (b"a: !!int '3'\n", "1:4: tags"),
    "local tag": (b"a: !x {}\n", "1:4: tags"),
    "bare tag": (b"a: ! 3\n", "1:4: tags"),
    "binary tag": (b"a: !!binary aGk=\n", "1:4: tags"),
    "verbatim tag": (b"a: !<tag:yaml.org,2002:str> b\n", "1:4: tags"),
    "duplicate key": (b"a: 1\nb: 2\na: 3\n", "3:1: the key a is here twice, first in line 1"),
    "duplicate quoted key": (b'a: {b: 1, "b": 2}\n', "1:11: the key b is here twice"),
    "two documents": (HEAD + b"---\n" + HEAD, "5:1: a second document"),
    "second document empty": (HEAD + b"---\n", "5:1: a second document"),
    "yaml directive": (b"%YAML 1.1\n---\n" + HEAD, "1:1: directives"),
    "tag directive": (b"# c\n%TAG ! tag:x,2000:\n---\n" + HEAD, "2:1: directives"),
    "long integer": (b"a: 1\nb: " + b"9" * 5000, "2:4: a whole number has at most 18 digits"),
    "19 digits": (b"a: -9999999999999999999", "1:4: a whole number has at most 18 digits"),
    "brackets": (b"a: " + b"[" * 100_000, "1:196: nested more than 192 levels deep"),
    "braces": (b"{" * 100_000, "1:193: nested more than 192 levels deep"),
    "braces with keys": (b"{a: " * 100_000, "1:769: nested more than 192 levels deep"),
    "brackets on lines": (b"[\n" * 100_000, "193:1: nested more than 192 levels deep"),
    "closed brackets": (b"a: " + b"[" * 1000 + b"]" * 1000, "1:196: nested more than 192 levels deep"),
    "dashes": (b"- " * 100_000, "1:385: nested more than 192 levels deep"),
    "indented keys": (
        b"".join(b" " * n + b"a:\n" for n in range(400)),
        "193:193: nested more than 192 levels deep",
    ),
    "question marks": (b"? " * 100_000, "nested more than 192 levels deep"),
    "explicit key": (b"? a\n: 1\n", "1:3: a key is one word"),
    "explicit key below": (b"?\n  a\n: 1\n", "2:3: a key is one word"),
    "mapping as key": (b"{a: 1}: 2\n", "1:1: a key is one word"),
    "list as key": (b"[a]: 2\n", "1:1: a key is one word"),
    "unclosed quote": (b"a: 'b\nc: 1\n", "not YAML: found unexpected end of stream"),
    "unclosed brace": (b"a: {b: 1\n", "not YAML: expected ',' or '}'"),
    "closed twice": (b"a: {b: 1}}\n", "1:10: not YAML"),
    "unknown escape": (b'a: "\\q"\n', "1:6: not YAML: found unknown escape"),
    "escape too large": (b'a: "\\UFFFFFFFF"\n', "not YAML"),
    "escaped nul": (b'a: "\\0"\n', "1:4: an escape stands for a character that is not text"),
    "escaped surrogate": (b'a: "\\ud800"\n', "1:4: an escape stands for a character that is not text"),
    "colon in value": (b"a: b: c\n", "1:5: not YAML: mapping values are not allowed here"),
    "bad indentation": (b"a: 1\n  b: 2\n", "2:4: not YAML: mapping values"),
    "reserved character": (b"a: @b\n", "1:4: not YAML"),
    "backtick": (b"a: `id`\n", "1:4: not YAML"),
    "list in mapping": (b"a: 1\n- b\n", "2:1: not YAML"),
    "html": (b"<html>\n<body class='a'>\n", "expected keys and values"),
    "merge conflict": (b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\n", "2:1: a merge conflict is not resolved"),
    "shell": (b'#!/bin/sh\nrm -rf "$HOME"\n', "2:1: expected keys and values"),
    "pickle": (b"\x80\x04\x95.", "1:1: byte 0x80 is not UTF-8"),
    "zip": (b"PK\x03\x04", "1:3: control character U+0003"),
}

WRONG: dict[str, tuple[bytes, str]] = {
    "true for 1": (b"width: 2", "width: true"),
    "text for a number": (b"width: 2", 'width: "16"'),
    "float for a number": (b"width: 2", "width: 16.0"),
    "leading zero": (b"width: 2", "width: 010"),
    "hexadecimal": (b"width: 2", "width: 0x10"),
    "octal": (b"width: 2", "width: 0o17"),
    "underscores": (b"width: 2", "width: 1_000"),
    "sexagesimal": (b"width: 2", "width: 1:30"),
    "nan": (b"width: 2", "width: .nan"),
    "infinite": (b"width: 2", "width: .inf"),
    "negative": (b"width: 2", "width: -3"),
    "zero": (b"width: 2", "width: 0"),
    "huge": (b"width: 2", "width: 999999999999999999"),
    "date": (b"width: 2", "width: 2020-01-01"),
    "null": (b"width: 2", "width: null"),
    "list": (b"width: 2", "width: [2]"),
    "mapping": (b"width: 2", "width: {a: 2}"),
    "yes": (b"width: 2", "width: 2, fixed: yes"),
    "one for true": (b"width: 2", "width: 2, fixed: 1"),
    "dot in a name": (b"name: a", "name: a.b"),
    "slash in a name": (b"name: a", "name: ../../etc/passwd"),
    "newline in a name": (b"name: a", 'name: "a\\nb"'),
    "blank name": (b"name: a", 'name: " "'),
    "number as name": (b"name: a", "name: 1"),
    "format of tomorrow": (b"format: 1", "format: 2"),
    "format true": (b"format: 1", "format: true"),
    "format text": (b"format: 1", "format: '1'"),
    "format 0": (b"format: 1", "format: 0"),
    "input of two": (b"[2]", "[2, 2]"),
    "no input": (b"[2]", "[]"),
    "input far too large": (b"[2]", "[100000000]"),
}


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
