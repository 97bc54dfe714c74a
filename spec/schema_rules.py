"""What `nhnas.spec.verify` and the models' validators demand, as far as JSON Schema can say it.

Each rule marks the value that is wrong. `errorMessage`, `patternErrorMessage` and `doNotSuggest` are
keywords of the language servers; a validator of JSON Schema passes them over.
"""

from __future__ import annotations

from typing import Any

from nhnas.spec.model import MAX_NAME

Schema = dict[str, Any]

# `$` also matches before a line break at the end in Python, and nowhere else in editors.
_END = r"(?![\s\S])"
_UNPRINTABLE = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    r"\ue000-\uf8ff\ufeff\ufff9-\ufffb"
)

LAYER_NAME: Schema = {
    "pattern": rf"^(?!\s*$)[^./\u0000-\u001f\u007f]+{_END}",
    "patternErrorMessage": "A name is any text without '.', '/' and control characters.",
    "maxLength": MAX_NAME,
}
SPEC_NAME: Schema = {
    "pattern": rf"^(?! *$)[^{_UNPRINTABLE}]+{_END}",
    "patternErrorMessage": "A name is any text without control characters.",
}
STATE: Schema = {
    "pattern": rf"^s[0-9a-f]{{16}}{_END}",
    "patternErrorMessage": "Expected s and 16 hex digits; remove it to start untrained.",
}
ODD: Schema = {
    "if": {"type": "integer", "multipleOf": 2},
    "then": {"type": "null", "errorMessage": "A kernel is odd, so that padding can be (kernel-1)/2."},
}
WITH_WEIGHTS: Schema = {
    "contains": {"properties": {"op": {"enum": ["conv", "dense"]}}, "required": ["op"]},
    "errorMessage": "No layer has weights; add a conv or dense layer.",
}


def chain_layer(keys: Schema) -> list[Schema]:
    """A layer that adds to a stream has no width of its own; every other one needs it."""
    only: Schema = {
        "width": _rule("An identity layer has its stream's width; remove it.", type="null"),
        "fixed": _rule("Fix the layer that began the stream.", const=False),
        "stride": _rule("shortcut: identity needs stride 1.", const=1),
    }
    identity = {"properties": {key: rule for key, rule in only.items() if key in keys}}
    # Of numbers, texts, … the key itself says what is wrong.
    some = _rule(
        "Expected a whole number.", type=["integer", "number", "string", "boolean", "array", "object"]
    )
    own = {"properties": {"width": some}, "required": ["width"]}
    rules = [{"if": _says("shortcut", "identity"), "then": identity, "else": own}]
    return [*rules, _identity_start()] if "stride" in keys else rules


def _identity_start() -> Schema:
    """A leaf that begins as the identity skips no pixel."""
    strided = {"properties": {"stride": {"type": "integer", "minimum": 2}}, "required": ["stride"]}
    none = _rule("init: identity needs stride 1.", type="null")
    return {"if": strided, "then": {"properties": {"shortcut": _below("init", none)}}}


def node() -> list[Schema]:
    """A node needs a shortcut or hidden neurons."""
    some = {"type": "object", "required": ["hidden"], "properties": {"hidden": {"minimum": 1}}}
    filled = {"properties": {"residual": some}, "required": ["residual"]}
    message = "A node needs a shortcut or hidden neurons; set hidden to 1 at least."
    kept = {"doNotSuggest": True, "if": {"const": False}, "then": _rule(message, type="object")}
    return [{"if": filled, "else": {"properties": {"shortcut": kept}}}]


def residual() -> list[Schema]:
    """Inside an empty residual every residual is empty."""
    empty = _rule("Inside an empty residual every residual is empty; set this to 0.", const=0)
    inner = _below("residual", _below("hidden", empty))
    return [{"if": _says("hidden", 0), "then": {"properties": {"first": inner, "second": inner}}}]


def search() -> list[Schema]:
    """`policy: auto` and `target` need each other."""
    unread = _rule("Nothing reads a target without policy: auto.", type="null")
    needed = {"required": ["target"], "properties": {"target": {"type": "object"}}}
    other = {"properties": {"target": unread}}
    return [{"if": _says("policy", "auto"), "then": needed, "else": other}]


def train() -> list[Schema]:
    """With sgd neurons have no age, and nothing else has a momentum to look ahead along."""
    everyone = _rule("newcomers needs adam or adamw: with sgd neurons have no age.", const="all")
    behind = _rule("true needs optimizer: sgd and a momentum above 0.", const=False)
    return [
        {
            "if": _says("optimizer", "sgd"),
            "then": {"properties": {"warmup_for": everyone}},
            "else": {"properties": {"nesterov": behind}},
        },
        {"if": _says("momentum", 0), "then": {"properties": {"nesterov": behind}}},
    ]


def target(keys: Schema) -> list[Schema]:
    """A target names something."""
    some = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in keys]
    return [{"anyOf": some, "errorMessage": "Expected params, macs or accuracy."}]


def _rule(message: str, **demand: object) -> Schema:
    """What a key must be besides; it is offered where the key is described."""
    return {"doNotSuggest": True, "errorMessage": message, **demand}


def _below(key: str, rule: Schema) -> Schema:
    return {"doNotSuggest": True, "properties": {key: rule}}


def _says(key: str, value: object) -> Schema:
    return {"properties": {key: {"const": value}}, "required": [key]}
