"""A short name of what an architecture is, for a plan to know what it was made for."""

from __future__ import annotations

from hashlib import sha256

from nhnas.compiler.canonical import canonical_json
from nhnas.spec.canonical import canonical
from nhnas.spec.model import Architecture


def net_digest(arch: Architecture) -> str:
    """`n` and 16 hex digits of the SHA-256 of `input` and `net` in canonical form, notes left out."""
    return f"n{sha256(canonical_json(canonical(arch))).hexdigest()[:16]}"
