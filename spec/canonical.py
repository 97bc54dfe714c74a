"""The one form in which an architecture is compared and hashed: defaults filled in, no notes (DESIGN §7).

`renamed_from` is no part of it either: it says where weights come from, not what the network is.
"""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import Architecture
from nhnas.spec.paths import update

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
    return update(arch, net=tuple(map(_bare, arch.net)))  # type: ignore[no-any-return]


def _bare(node: Any) -> Any:
    """A layer or a node inside one; itself where there is nothing to take away."""
    said = {key: None for key in _SAID_BY_THE_WAY if getattr(node, key, None) is not None}
    residual = getattr(node, "residual", None)
    if residual is not None:
        first, second = _bare(residual.first), _bare(residual.second)
        if first is not residual.first or second is not residual.second:
            said["residual"] = update(residual, first=first, second=second)
    return update(node, **said) if said else node


def same_architecture(a: Architecture, b: Architecture) -> bool:
    """True where two architectures differ in notes at most."""
    return a == b or bare(a) == bare(b)


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_notes(item) for key, item in value.items() if key not in _SAID_BY_THE_WAY}
    return [_without_notes(item) for item in value] if isinstance(value, list) else value
