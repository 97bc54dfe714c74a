"""Canonical JSON: the one text of a value, so that it can be hashed and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nhnas.compiler.files import one_line
from nhnas.spec.errors import InputError

# made once: `json.dumps` makes an encoder at every call
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: object) -> bytes:
    """The one JSON text of `value`: sorted keys, no spaces, UTF-8, floats by repr.

    Raises TypeError for a key that is no text (JSON would make 1 and "1" the same) and for what JSON
    does not know, ValueError for NaN and infinity, both saying where.
    """
    _check_keys(value, "value")
    return keyless_json(value)


def keyless_json(value: object) -> bytes:
    """`canonical_json` of a value that holds no keys, which are not looked for."""
    try:
        text = _encode(value)
    except ValueError as error:
        raise ValueError(f"{_not_finite(value, 'value') or 'value'}: {error}") from error
    return text.encode("utf-8")


def parse_canonical(data: bytes, where: Path) -> Any:
    """What `canonical_json` wrote. Raises InputError for any other bytes, duplicate keys included."""
    try:
        value = json.loads(data.decode("utf-8"))
        if keyless_json(value) == data:  # all keys that JSON knows are texts
            return value
        reason = "its JSON is not in canonical form"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = f"not JSON ({one_line(error)})"
    raise InputError(f"{one_line(where)}: {reason}")


def _check_keys(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: the key {key!r} is no text")
            _check_keys(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, dict | list | tuple):
                _check_keys(item, f"{where}[]")


def _not_finite(value: object, where: str) -> str | None:
    """Where the first NaN or infinity is."""
    if isinstance(value, float):
        return None if abs(value) < float("inf") else where
    if isinstance(value, dict):
        items = [(f"{where}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    else:
        items = []
    return next((found for place, item in items if (found := _not_finite(item, place))), None)
