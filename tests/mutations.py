"""Random specs as people write them, and what accidents and malice make of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

from nhnas.spec.emit import minimal_net
from tests.random_specs import Pen, random_architecture, spelled_out

SYNTAX = (
    *(
        ": ",
        ":",
        "- ",
        "-",
        "{",
        "}",
        "[",
        "]",
        ",",
        "# ",
        " #",
        "'",
        '"',
        '""',
        "\\",
        "|",
        ">",
        "|\n",
        ">-\n",
    ),
    *("&a ", "*a", "!!int ", "!x ", "? ", "<<: ", "%", "@", "`", "~", "=", "<<<<<<< a\n", "---\n", "...\n"),
    *(
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\n\n",
        " ",
        "    ",
        "\x85",
        "\u2028",
        "\ufeff",
        "\xa0",
        "\x00",
        "\x1b",
        "猫",
        "🐈",
    ),
)
SCALARS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "3",
        "64",
        "1000000",
        "1000001",
        "9" * 18,
        "9" * 19,
        "9" * 400,
        "1.5",
        "16.0",
        "1e3",
    ),
    *(
        "1e400",
        ".nan",
        ".inf",
        "-.inf",
        "010",
        "0x10",
        "1_0",
        "1:30",
        "true",
        "false",
        "null",
        "~",
        "yes",
        '"16"',
    ),
    *(
        "identity",
        "relu",
        "none",
        "[1]",
        "{}",
        "[]",
        "{hidden: 0}",
        "{kernel: 1}",
        "''",
        "2020-01-01",
        "s" + "0" * 16,
    ),
)
KEYS = (
    *(
        "format",
        "name",
        "version",
        "state",
        "input",
        "net",
        "data",
        "train",
        "search",
        "op",
        "width",
        "kernel",
    ),
    *(
        "stride",
        "norm",
        "act",
        "fixed",
        "shortcut",
        "residual",
        "hidden",
        "dropout",
        "scale",
        "first",
        "second",
    ),
    *(
        "note",
        "renamed_from",
        "p",
        "init",
        "lr",
        "betas",
        "schedule",
        "until",
        "policy",
        "flat",
        "dataset",
        "widht",
    ),
)
SECTIONS: dict[str, list[Any]] = {
    "data": [{}, {"dataset": "cifar10", "augment": ["crop", "flip"]}],
    "train": [{}, {"lr": 0.001, "betas": [0.9, 0.99], "batch": 64}],
    "search": [{}, {"add": 5, "schedule": [{"until": 3, "add": 2}, {"until": 9, "lr": 0.1}]}],
}


def random_spec(rng: Random) -> bytes:
    """A sound spec in one person's handwriting."""
    arch = random_architecture(rng)
    root: dict[str, Any] = {"format": 1, "name": "x"}
    root |= {"version": 3, "state": "s" + "0" * 16} if rng.random() < 0.5 else {}
    root |= {"input": list(arch.input), "net": minimal_net(arch)}
    root |= {key: rng.choice(values) for key, values in SECTIONS.items() if rng.random() < 0.3}
    return Pen(rng).spec(spelled_out(rng, root))


def mutated(rng: Random, text: bytes) -> bytes:
    """The text after one to four accidents; it ends early where one of them made bytes of it."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            return text
        text = rng.choice(MUTATIONS)(rng, decoded)
    return text


def _flipped(rng: Random, text: str) -> bytes:
    data = bytearray(text.encode() or b" ")
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _inserted(rng: Random, text: str) -> bytes:
    at = rng.randint(0, len(text))
    return (text[:at] + rng.choice(SYNTAX) * rng.choice([1, 1, 1, 2, 300]) + text[at:]).encode()


def _cut(rng: Random, text: str) -> bytes:
    start = rng.randint(0, len(text))
    end = start + rng.choice([1, 1, 3, 20, len(text)])
    return (text[:start] + text[end:]).encode()


def _swapped(rng: Random, text: str) -> bytes:
    tokens = re.findall(r"\w+|\s+|.", text) or [""]
    a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    tokens[a], tokens[b] = tokens[b], tokens[a]
    return "".join(tokens).encode()


def _lines_moved(rng: Random, text: str) -> bytes:
    """A few lines vanish, come twice, or go elsewhere."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n|\Z)", text)
    start = rng.randrange(len(lines))
    some = lines[start : start + rng.choice([1, 1, 2, 5])]
    rest = lines if rng.random() < 0.3 else lines[:start] + lines[start + len(some) :]
    at = rng.randint(0, len(rest))
    return "".join(rest if rng.random() < 0.3 else [*rest[:at], *some, *rest[at:]]).encode()


def _indented(rng: Random, text: str) -> bytes:
    """One line moves to the right or to the left."""
    lines = text.split("\n")
    at, by = rng.randrange(len(lines)), rng.choice([-2, -1, 1, 2, 4])
    lines[at] = " " * by + lines[at] if by > 0 else lines[at][-by:]
    return "\n".join(lines).encode()


def _replaced(pattern: str, values: tuple[str, ...]) -> Callable[[Random, str], bytes]:
    def replace(rng: Random, text: str) -> bytes:
        found = [match.span() for match in re.finditer(pattern, text)]
        if not found:
            return text.encode()
        start, end = rng.choice(found)
        return (text[:start] + rng.choice(values) + text[end:]).encode()

    return replace


MUTATIONS: tuple[Callable[[Random, str], bytes], ...] = (
    *(_flipped, _inserted, _inserted, _cut, _swapped, _lines_moved, _lines_moved, _indented),
    *(
        _replaced(r"\b\d+\b", SCALARS),
        _replaced(r"(?<=: )[^\s,{}\[\]]+", SCALARS),
        _replaced(r"\b[a-z]+(?=:)", KEYS),
    ),
)

VALUES = (
    *(
        "a",
        "b c",
        "1",
        "-1",
        "- 1",
        "x:y",
        "x :y",
        "a: b",
        "a:",
        "a#b",
        "a #b",
        "1 # c",
        "a'b",
        "a, b",
        "a]",
        "x{y}",
    ),
    *(
        "a - b",
        "a -",
        "a ?",
        "a & b",
        "a|b",
        ">a",
        "&a",
        "a!",
        "a\\b",
        "a\xa0b",
        "é",
        "a  b",
        "...x",
        "a ...",
        "x\n",
    ),
    *(
        "'it''s'",
        "'a'''",
        '"q r"',
        "'x' # y",
        "'x'#y",
        "http://x",
        "{a: 1}",
        "{a: 1}#y",
        "{a: b c, d: 'e'}",
        "",
        " ",
    ),
    *(
        "{a: b:c}",
        "{a: [1, {b: 2}]}",
        "{\n a: 1}",
        "[a, b]",
        "[a,]",
        "[ a ,b ]",
        "[a,\n# c\n b]",
        "[a\n, b]",
        "[a:b]",
    ),
)


def odd_text(rng: Random) -> str:
    """A few lines of keys, dashes, comments and values, indented at random."""
    lines = []
    for _ in range(rng.randint(1, 5)):
        margin = " " * rng.choice([0, 0, 0, 2, 2, 4])
        key = rng.choice([*"abcd", "'e'", '"f"', "- g", "- h", "-   i"])
        value = rng.choice(VALUES)
        kind = rng.random()
        if kind < 0.25:
            lines.append(f"{margin}{key}:{rng.choice(['', '', ' ', ' # c'])}")
        elif kind < 0.4:
            lines.append(f"{margin}- {value}")
        elif kind < 0.5:
            lines.append(margin + rng.choice(["# c", "", "  ", "#"]))
        else:
            lines.append(f"{margin}{key}: {value}{rng.choice(['', '', '', '  ', ' # z'])}")
    return rng.choice(["\n", "\n", "\r\n"]).join(lines) + rng.choice(["", "\n"])
