"""What a YAML scalar means: the core schema of YAML 1.2, read strictly, and the way back to text.

`010`, `0x1F`, `1_000`, `yes` and dates are text: other YAML readers make numbers, booleans or dates of
them, and a typed field that finds text there says so.
"""

from __future__ import annotations

import json
import math
import re

Scalar = str | int | float | bool | None

MAX_DIGITS = 18
"""Most digits of a whole number; far above any size, below what 64 bits hold."""

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([ -][A-Za-z0-9_]+)*")
_OTHER_READERS = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def resolve(text: str) -> Scalar:
    """Value of an unquoted scalar; raises ValueError for a whole number of too many digits."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text.lstrip("+-")) > MAX_DIGITS:
            raise ValueError(f"a whole number has at most {MAX_DIGITS} digits")
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return math.nan if text.lower().endswith("nan") else float(text.replace(".", ""))
    return text


def scalar_text(value: Scalar, quoted: bool = False) -> str:
    """Text that reads as `value`; strings are quoted where they must be, or always if `quoted`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, int):
        return str(value)
    plain = not quoted and _PLAIN.fullmatch(value) and not _OTHER_READERS.fullmatch(value)
    return value if plain else _double_quoted(value)


def _float_text(value: float) -> str:
    """With a point in the mantissa, because YAML 1.1 takes `1e-05` for text."""
    mantissa, letter, exponent = repr(value).partition("e")
    return mantissa if not letter else f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _double_quoted(value: str) -> str:
    """JSON's form, which is YAML's too but for some characters that YAML wants escaped."""
    return _UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))
