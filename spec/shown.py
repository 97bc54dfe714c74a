"""Foreign text inside a one-line message."""

from __future__ import annotations


def shown(text: object, limit: int = 60) -> str:
    """`text` on one printable line, shortened if long."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
