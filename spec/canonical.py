"""The one form in which an architecture is compared and hashed: defaults filled in, no notes (DESIGN §7)."""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import Architecture


def canonical(arch: Architecture) -> dict[str, Any]:
    """`input` and `net` as plain JSON data."""
    plain: dict[str, Any] = _without_notes(arch.model_dump(mode="json"))
    return plain


def from_canonical(data: dict[str, Any]) -> Architecture:
    """The inverse of `canonical`, up to notes; raises pydantic.ValidationError."""
    return Architecture.model_validate(data)


def same_architecture(a: Architecture, b: Architecture) -> bool:
    """True where two architectures differ in notes at most."""
    return a == b or canonical(a) == canonical(b)


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_notes(item) for key, item in value.items() if key != "note"}
    return [_without_notes(item) for item in value] if isinstance(value, list) else value
