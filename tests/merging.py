"""Documents to merge, and a merge whose conflicts a person has settled."""

from __future__ import annotations

import re

from nhnas.spec.document import Document, parse_document


def read(text: str | bytes) -> Document:
    """A document without a file."""
    return parse_document(text.encode() if isinstance(text, str) else text)


def chosen(text: bytes, side: int) -> bytes:
    """The text after a person took one side of every conflict."""
    pattern = rb"<{7} [^\n]*\n(.*?)={7}\r?\n(.*?)>{7} [^\n]*\n"
    return re.sub(pattern, lambda found: found[1 + side], text, flags=re.DOTALL)
