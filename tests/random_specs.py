"""Random architectures as dicts, and random ways in which a person could have written them down."""

from __future__ import annotations

from random import Random
from typing import Any

from nhnas.spec.emit import minimal_net
from nhnas.spec.model import Architecture
from nhnas.spec.verify import problems

ACTS = ("relu", "gelu", "silu", "tanh")


def random_residual(rng: Random, depth: int, empty: bool = False) -> dict[str, Any]:
    """A residual of up to `depth` more levels."""
    hidden = 0 if empty or rng.random() < 0.3 else rng.randint(1, 200)
    found: dict[str, Any] = {"hidden": hidden}
    if rng.random() < 0.2:
        found["act"] = rng.choice(ACTS[1:])
    if rng.random() < 0.1:
        found["fixed"] = True
    for slot in ("first", "second"):
        if depth > 0 and rng.random() < 0.5:
            node = random_node(rng, depth - 1, hidden == 0)
            found |= {slot: node} if node else {}
    return found


def random_node(rng: Random, depth: int, empty: bool = False) -> dict[str, Any]:
    """The keys that every node may have."""
    found: dict[str, Any] = {}
    if rng.random() < 0.2:
        found["norm"] = "none"
    if rng.random() < 0.7:
        found["residual"] = random_residual(rng, depth, empty)
    if rng.random() < 0.1 and found.get("residual", {}).get("hidden"):
        found["shortcut"] = False
    if rng.random() < 0.1:
        found["note"] = rng.choice(["a # b", "it's", "-", "x: y", "猫"])
    return found


def random_layer(rng: Random, name: str) -> dict[str, Any]:
    """A convolution, sometimes one of an identity stream, or a layer without weights."""
    kind = rng.random()
    if kind < 0.15:
        return {"name": name, "op": "activation", "act": rng.choice(ACTS)}
    if kind < 0.2:
        return {"name": name, "op": "dropout", "p": rng.choice([0.1, 0.25])}
    node = random_node(rng, 2)
    if kind < 0.5:
        return {"name": name, "op": "conv"} | node | {"shortcut": "identity"}
    return {"name": name, "op": "conv", "width": rng.randint(1, 300)} | node


def random_architecture(rng: Random) -> Architecture:
    """A sound chain of convolutions with a dense head."""
    while True:
        body = [
            random_layer(rng, f"layer {n}" if rng.random() < 0.2 else f"b{n}")
            for n in range(rng.randint(1, 6))
        ]
        stem = {"name": "stem", "op": "conv", "width": rng.randint(1, 64)}
        tail = [{"name": "pool", "op": "global_avg_pool"}, {"name": "head", "op": "dense", "width": 10}]
        arch = Architecture.model_validate({"input": [3, 16, 16], "net": [stem, *body, *tail]})
        if not problems(arch):
            return arch


class Pen:
    """Writes a spec as one person would: each habit is drawn once, comments fall anywhere."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.step = rng.choice([2, 2, 3, 4])
        self.dash_indent = rng.choice([0, 2, 4])
        self.gap = " " * rng.choice([1, 1, 3])
        self.line_end = rng.choice(["\n", "\n", "\r\n"])
        self.flow = rng.choice([0.0, 0.3, 1.0])
        self.wrap = rng.choice([0.0, 0.3])
        self.talk = rng.choice([0.0, 0.2, 0.6])
        self.quote = rng.choice(["", "", '"', "'"])
        self.comments: list[str] = []

    def spec(self, root: dict[str, Any]) -> bytes:
        """The whole file; `self.comments` are then its comments in order."""
        lines = [*(["---"] if self.rng.random() < 0.1 else []), *self.block(root)]
        lines += ["...", *self.chat(0)] if self.rng.random() < 0.1 else []
        last = self.line_end if self.rng.random() < 0.8 else ""
        return (self.line_end.join(lines) + last).encode()

    def block(self, mapping: dict[str, Any]) -> list[str]:
        """Lines of a mapping in block style."""
        lines: list[str] = []
        for key, value in mapping.items():
            lines += self.chat(0)
            if key == "net":
                lines += [self.key(key) + ":" + self.remark(), *self.layers(value)]
            elif isinstance(value, dict) and value and self.rng.random() >= self.flow:
                lines.append(self.key(key) + ":" + self.remark())
                lines += [" " * self.step + line if line else "" for line in self.block(value)]
            else:
                lines += f"{self.key(key)}: {self.value(value, 8)}{self.remark()}".split("\n")
        return lines

    def layers(self, net: list[dict[str, Any]]) -> list[str]:
        """Lines of the chain."""
        lines: list[str] = []
        for layer in net:
            lines += self.chat(self.dash_indent)
            if self.rng.random() < self.flow:
                body = (self.value(layer, self.dash_indent + 4) + self.remark()).split("\n")
                lines += [" " * self.dash_indent + "-" + self.gap + body[0], *body[1:]]
                continue
            before = self.chat(self.dash_indent) if self.rng.random() < 0.1 else []
            body = self.block(layer)
            while not body[0] or body[0].startswith("#"):
                before.append(" " * self.dash_indent + body.pop(0))
            inner = " " * (self.dash_indent + 1 + len(self.gap))
            lines += [*before, " " * self.dash_indent + "-" + self.gap + body[0]]
            lines += [inner + line if line else "" for line in body[1:]]
        return lines

    def value(self, value: Any, margin: int) -> str:
        """A value in flow style, perhaps over several lines with comments at their ends."""
        if isinstance(value, dict):
            items = [f"{self.key(k)}: {self.value(v, margin + 2)}" for k, v in value.items()]
            return "{" + self.joined(items, margin) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.value(item, margin) for item in value) + "]"
        if isinstance(value, str):
            special = not value.replace(" ", "x").replace("_", "x").isalnum() or not value.isascii()
            quote = self.quote or ('"' if special or value.startswith("layer") else "")
            return f"{quote}{value.replace(chr(39), chr(39) * 2) if quote == chr(39) else value}{quote}"
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)

    def joined(self, items: list[str], margin: int) -> str:
        """Entries with commas, blanks and line breaks between."""
        text = ""
        for n, item in enumerate(items):
            comma = "," if n + 1 < len(items) or self.rng.random() < 0.1 else ""
            text += item + comma
            if self.rng.random() < self.wrap:
                text += self.remark() + "\n" + " " * margin
            elif comma:
                text += " "
        return text

    def key(self, key: str) -> str:
        """A key, perhaps in quotes."""
        return f'"{key}"' if self.quote == '"' and self.rng.random() < 0.5 else key

    def remark(self) -> str:
        """Perhaps a comment at the end of a line."""
        return f"  {self.comment()}" if self.rng.random() < self.talk else ""

    def chat(self, indent: int) -> list[str]:
        """Perhaps a line or two of comment, or an empty one."""
        lines = [] if self.rng.random() >= self.talk else [" " * indent + self.comment()]
        return lines + ([""] if self.rng.random() < 0.1 else [])

    def comment(self) -> str:
        """A comment like no other."""
        words = self.rng.choice(["- a: {b", "it's", "# twice", "} ] ,", '"quoted', "plain", "name: x"])
        self.comments.append(f"# c{len(self.comments)} {words}")
        return self.comments[-1]


def spelled_out(rng: Random, values: Any) -> Any:
    """The same architecture with some defaults written out and the keys in another order."""
    if isinstance(values, list):
        return [spelled_out(rng, value) for value in values]
    if not isinstance(values, dict):
        return values
    found = {key: spelled_out(rng, value) for key, value in values.items()}
    if "hidden" in found:
        defaults: dict[str, Any] = {"act": "relu", "fixed": False, "first": {}, "second": {"shortcut": True}}
        found |= {k: v for k, v in defaults.items() if k not in found and rng.random() < 0.2}
    if rng.random() < 0.3:
        found = dict(rng.sample(list(found.items()), len(found)))
    return found


def root_of(arch: Architecture, **more: Any) -> dict[str, Any]:
    """A whole spec as a dict."""
    return {"format": 1, "name": "x", **more, "input": list(arch.input), "net": minimal_net(arch)}
