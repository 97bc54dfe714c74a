"""Our lines in `.gitattributes`: added at its end between two marks, and taken out again to the byte."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown

DEFAULT_PATTERNS = ("spec.yaml", "*.nhnas.yaml")
DRIVER = "nhnas"

_BEGIN = b"# nhnas git install: begin"
_END = b"# nhnas git install: end"
_NEW_FILE, _OPEN_LINE = b" (new file)", b" (after a line without an end)"
"""What there was before, so that it can be given back."""
_BLOCK = re.compile(
    rb"^"
    + re.escape(_BEGIN)
    + rb"(?P<note>[^\r\n]*)(?P<end>\r?\n)(?P<lines>(?s:.*?))^"
    + re.escape(_END)
    + rb"(?:\r?\n|\Z)",
    re.MULTILINE,
)
_ATTRIBUTES = f" diff={DRIVER} merge={DRIVER}".encode()
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def with_block(old: bytes | None, patterns: Sequence[str]) -> bytes:
    """The file (None: there is none) with our lines for these patterns, in the place of older ones.

    Raises InputError for a pattern that git does not take, and where the marks are damaged.
    """
    text = old or b""
    found = _find(text)
    end = found["end"] if found else b"\r\n" if b"\r\n" in text else b"\n"
    lines = [_quoted(pattern) + _ATTRIBUTES for pattern in patterns]
    if found is not None:
        block = end.join([_BEGIN + found["note"], *lines, _END, b""])
        return text[: found.start()] + block + text[found.end() :]
    is_open = bool(text) and not text.endswith(b"\n")
    note = _NEW_FILE if old is None else _OPEN_LINE if is_open else b""
    return text + (end if is_open else b"") + end.join([_BEGIN + note, *lines, _END, b""])


def without_block(text: bytes) -> bytes | None:
    """The file as it was before `with_block`, with what others changed since; None if there was no file.

    Raises InputError where the marks are damaged.
    """
    found = _find(text)
    if found is None:
        return text
    before, after = text[: found.start()], text[found.end() :]
    if found["note"] == _OPEN_LINE and not after:
        before = before.removesuffix(found["end"])
    return None if found["note"] == _NEW_FILE and not before + after else before + after


def patterns_in(text: bytes) -> tuple[str, ...] | None:
    """The patterns of our lines; None without them. Raises InputError where the marks are damaged."""
    found = _find(text)
    if found is None:
        return None
    lines = (line.removesuffix(_ATTRIBUTES) for line in found["lines"].splitlines())
    return tuple(_unquoted(line) for line in lines if line)


def _find(text: bytes) -> re.Match[bytes] | None:
    found = _BLOCK.search(text)
    if (found is None) != (_BEGIN not in text and _END not in text):
        raise InputError(
            f".gitattributes: one of the lines '{_BEGIN.decode()}' and '{_END.decode()}' is missing; "
            "put it back, or remove what is left of them"
        )
    return found


def _quoted(pattern: str) -> bytes:
    """The pattern as git reads it; quotes where it would not be one word."""
    if not pattern or _CONTROL.search(pattern):
        raise InputError(f"pattern '{shown(pattern)}': expected some text without control characters")
    if pattern.startswith("!"):
        raise InputError(
            f"pattern '{shown(pattern)}': git takes no '!' here; write '\\!' for the sign itself"
        )
    if pattern.endswith("/"):
        raise InputError(
            f"pattern '{shown(pattern)}': git means no files by that; write '{shown(pattern)}**'"
        )
    if not re.search(r'[\s"]|^[#\[]', pattern):
        return os.fsencode(pattern)
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return os.fsencode(f'"{escaped}"')


def _unquoted(word: bytes) -> str:
    if len(word) > 1 and word.startswith(b'"') and word.endswith(b'"'):
        word = re.sub(rb"\\(.)", rb"\1", word[1:-1])
    return os.fsdecode(word)
