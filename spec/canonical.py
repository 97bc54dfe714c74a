"""The one form in which an architecture is compared and hashed: defaults filled in, no notes (DESIGN §7).

`renamed_from` is no part of it either: it says where weights come from, not what the network is.
"""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import Architecture

_SAID_BY_THE_WAY = ("note", "renamed_from")


def canonical(arch: Architecture) -> dict[str, Any]:
    """`input` and `net` as plain JSON data."""
    plain: dict[str, Any] = _without_notes(arch.model_dump(mode="json"))
    return plain


def from_canonical(data: dict[str, Any]) -> Architecture:
    """The inverse of `canonical`, up to notes; raises pydantic.ValidationError."""
    return Architecture.model_validate(data)


def bare(arch: Architecture) -> Architecture:
    """`arch` without notes and `renamed_from`."""
    return from_canonical(canonical(arch))


def same_architecture(a: Architecture, b: Architecture) -> bool:
    """True where two architectures differ in notes at most."""
    return a == b or canonical(a) == canonical(b)


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_notes(item) for key, item in value.items() if key not in _SAID_BY_THE_WAY}
    return [_without_notes(item) for item in value] if isinstance(value, list) else value
