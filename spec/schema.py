"""The JSON Schema of a spec file (draft 7), for completion, hover texts and errors in editors.

Keys, types and ranges come from the models; editors ignore `discriminator`, so what an `op` allows is said
by if/then. What one part demands of another is in `nhnas.spec.schema_rules`, as far as a schema can say it;
the rest (shapes, unique names, …) says `nhnas check`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nhnas.spec import schema_rules
from nhnas.spec.descriptions import OPS, description, examples
from nhnas.spec.document import Spec
from nhnas.spec.schema_rules import LAYER_NAME

MADE_BY = "Written by `nhnas schema`; what is changed here is lost."

Schema = dict[str, Any]

_LAYERS = {
    "conv": "Conv",
    "dense": "Dense",
    "activation": "Activation",
    "max_pool": "MaxPool",
    "avg_pool": "AvgPool",
    "global_avg_pool": "GlobalAvgPool",
    "flatten": "Flatten",
    "dropout": "Dropout",
}
_NOT_SCHEDULED = ("schedule", "policy", "target")


def schema() -> Schema:
    """The schema as JSON data."""
    made = Spec.model_json_schema()
    models: dict[str, Schema] = {name: _object(name, found) for name, found in made["$defs"].items()}
    root = _object("Spec", {key: value for key, value in made.items() if key != "$defs"})
    _narrow(root, models)
    _add_rules(models)
    _dense_family(models)
    for layer in _LAYERS.values():
        models[layer]["properties"]["op"] = {"const": models[layer]["properties"]["op"]["const"]}
    models["Layer"] = _layer()
    root["properties"]["net"]["items"] = {"$ref": "#/definitions/Layer"}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "$comment": MADE_BY, "title": "nhnas spec"}
    return {**head, "type": "object", **root, "definitions": dict(sorted(models.items()))}


def _object(model: str, found: Schema) -> Schema:
    """A model without titles and the models' own docstrings, with a description for every key."""
    keys = {key: _property(model, key, value) for key, value in found["properties"].items()}
    required = [key for key in found.get("required", ()) if key in keys]
    if "op" in keys:
        required = ["name", "op", *(key for key in required if key != "name")]
    made = {"additionalProperties": False, "properties": keys}  # where it is used says that it is an object
    return made | ({"required": required} if required else {})


def _property(model: str, key: str, value: Schema) -> Schema:
    plain = _plain(value)
    default = plain.pop("default", None)
    if "$ref" in plain:  # draft 7 ignores what stands beside a reference
        plain = {"type": plain.pop("type", "object"), "allOf": [plain]}
    shown = {} if default in (None, []) or isinstance(default, dict) else {"default": default}
    some = {"examples": found} if (found := examples(model, key)) else {}
    return {"description": description(model, key), **plain, **shown, **some}


def _plain(value: Any) -> Any:
    """Without titles and discriminators, and with null as one of a key's types."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {k: _plain(v) for k, v in value.items() if k not in ("title", "discriminator", "prefixItems")}
    if "prefixItems" in value:  # a tuple in the draft that pydantic writes
        kept["items"] = _plain(value["prefixItems"])
    if "$ref" in kept:
        kept["$ref"] = kept["$ref"].replace("#/$defs/", "#/definitions/")
    return _or_null(kept)


def _or_null(value: Schema) -> Schema:
    """`x: null` says the same as no `x`. As one type of several it leaves an editor's marks in place."""
    null = {"type": "null"}
    if null not in value.get("anyOf", ()):
        return value
    rest = {key: item for key, item in value.items() if key != "anyOf"}
    [other] = [item for item in value["anyOf"] if item != null]
    other = {**other, "type": [other.get("type", "object"), "null"]}  # a reference is to an object
    if "const" in other:
        other = {"enum": [other["const"]]} | {key: item for key, item in other.items() if key != "const"}
    if "enum" in other:
        other = {**other, "enum": [*other["enum"], None]}
    return {**rest, **other}


def _narrow(root: Schema, models: dict[str, Schema]) -> None:
    """What validators say in code."""
    for model in models.values():
        keys = model["properties"]
        for key in {"name", "renamed_from"} & keys.keys():
            keys[key] |= LAYER_NAME
    for name in ("Conv", "Node", "ShortcutLeaf"):
        models[name]["properties"]["kernel"] |= schema_rules.ODD
    models["Residual"]["properties"]["scale"] |= {"enum": [1]}
    search = models["Search"]["properties"]
    search["schedule"]["items"] = _scheduled(search, models["Train"]["properties"]["lr"])
    root["properties"]["name"] |= schema_rules.SPEC_NAME
    root["properties"]["state"] |= schema_rules.STATE
    root["properties"]["net"] |= {"allOf": [schema_rules.WITH_WEIGHTS]}
    root["properties"]["input"] |= {"anyOf": [{"minItems": n, "maxItems": n} for n in (1, 3)]}
    models["InnerLeaf"] = deepcopy(models["ShortcutLeaf"])
    del models["InnerLeaf"]["properties"]["init"]
    for name in ("Conv", "Dense"):
        _shortcut(models[name]["properties"]["shortcut"], "ShortcutLeaf", [True, False, "identity"])
    _shortcut(models["Node"]["properties"]["shortcut"], "InnerLeaf", [True, False])


def _shortcut(key: Schema, leaf: str, words: list[Any]) -> None:
    """By if/then too: where none of several forms fits, editors mark the whole value."""
    forms = [{"enum": words}, {"type": "object"}]
    key |= {"anyOf": forms, "if": {"type": "object"}, "then": {"$ref": f"#/definitions/{leaf}"}}


def _add_rules(models: dict[str, Schema]) -> None:
    """What one key demands of another."""
    models["Residual"]["allOf"] = schema_rules.residual()
    models["Node"]["allOf"] = schema_rules.node()
    for name in ("Conv", "Dense"):
        keys = models[name]["properties"]
        models[name]["allOf"] = [*schema_rules.node(), *schema_rules.chain_layer(keys)]
    models["Search"]["allOf"] = schema_rules.search()
    models["Train"]["allOf"] = schema_rules.train()
    models["Target"]["allOf"] = schema_rules.target(models["Target"]["properties"])


def _scheduled(search: Schema, lr: Schema) -> Schema:
    until = {"type": "integer", "minimum": 1, "description": "Up to this epoch of the lineage."}
    keys = {key: value for key, value in search.items() if key not in _NOT_SCHEDULED}
    bare = {
        key: {k: v for k, v in value.items() if k != "default"} for key, value in (*keys.items(), ("lr", lr))
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["until"],
        "properties": {"until": until, **bare},
    }


def _dense_family(models: dict[str, Schema]) -> None:
    """Nodes below a dense layer: the same without a kernel."""
    for name in ("Node", "Residual", "ShortcutLeaf", "InnerLeaf"):
        models[f"Dense{name}"] = _renamed(deepcopy(models[name]))
        models[f"Dense{name}"]["properties"].pop("kernel", None)
    models["Dense"] = _renamed(models["Dense"])
    del models["Dense"]["properties"]["kernel"]


def _renamed(value: Any) -> Any:
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.replace("#/definitions/", "#/definitions/Dense") if key == "$ref" else _renamed(item)
        for key, item in value.items()
    }


def _layer() -> Schema:
    """One entry of `net`: its op decides which keys there are."""
    ops = {
        "description": description("Layer", "op"),
        "anyOf": [{"const": op, "description": text} for op, text in OPS.items()],
    }
    return {
        "type": "object",
        "required": ["name", "op"],
        "properties": {
            "name": {"description": description("Layer", "name"), "type": "string", **LAYER_NAME},
            "op": ops,
        },
        "allOf": [
            {
                "if": {"properties": {"op": {"const": op}}, "required": ["op"]},
                "then": {"$ref": f"#/definitions/{model}"},
            }
            for op, model in _LAYERS.items()
        ],
    }
