"""Names that break pictures, and architectures to draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from nhnas.spec.model import Architecture
from tests.laws.architectures import random_architecture as small_architecture
from tests.random_specs import random_architecture

HOSTILE = (
    *("a:b", "<b>", "<b>bold<b>", "x\\", "猫", "q\"q'", '"', "]", '"]', "&lt;&#60;", "#quot;", "#35;", "-->"),
    *(
        " lead",
        "trail  ",
        "in  side",
        "`code`",
        "1) list",
        "- item",
        "# head",
        "**b**",
        "_i_",
        "\\n\\l\\N\\G",
    ),
    *(
        "n1",
        "g2",
        "end",
        "subgraph",
        "node",
        "strict",
        "%%{init: {}}%%",
        "${x}",
        "{a|b}",
        "%%",
        "<!--",
        "--x",
    ),
    *(
        "\u202eabc",
        "a\u200fb\u2066c",
        "\ufeffbom",
        "\ufffe",
        "\x85next",
        "a\u2028b",
        "שלום",
        "👨\u200d👩",
        "ﬂ°°¶ß",
    ),
    *("x" * 20_000, "猫" * 20_000, "&" * 20_000, '"' * 20_000, "\\" * 20_001),
)


def hostile() -> Architecture:
    """A layer for each hostile name, no two of them equal."""
    net = [
        {"name": name, "op": "conv", "width": 3, "residual": {"hidden": index + 1}}
        if index % 2
        else {"name": name, "op": "dropout", "p": index / 100}
        for index, name in enumerate(HOSTILE)
    ]
    return built(net)


def built(net: Iterable[dict[str, Any]]) -> Architecture:
    """An architecture that reads maps [3, 8, 8]."""
    return Architecture.model_validate({"input": [3, 8, 8], "net": list(net)})


def nested(depth: int) -> Architecture:
    """Residuals in residuals, in `first` and in `second` by turns."""
    node: dict[str, Any] = {}
    for level in range(depth):
        node = {"residual": {"hidden": level + 1, ("first", "second")[level % 2]: node}}
    return Architecture.model_validate(
        {"input": [3], "net": [{"name": "deep", "op": "dense", "width": 2} | node]}
    )


def random_trees(count: int) -> Iterator[Architecture]:
    """Sound architectures of two very different generators."""
    for seed in range(count):
        rng = Random(seed)
        yield random_architecture(rng) if seed % 2 else small_architecture(rng)
