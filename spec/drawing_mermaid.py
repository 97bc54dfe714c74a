"""A drawing as a Mermaid flowchart, which GitHub and many editors show inside Markdown.

Mermaid reads labels as HTML and Markdown. So every sign of ASCII but the comma is written by its number
(`#60;`): nothing is left that could mean something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nhnas.spec.drawing import Drawing
from nhnas.spec.drawing_colours import CHANGES, FILL, HEAT, INK, LINE, STROKE, heat, legend_words
from nhnas.spec.drawing_graph import Arrow, Graph, Group, Vertex, graph_of
from nhnas.spec.drawing_text import shortened, visible

MAX_CHARACTERS, MAX_ARROWS = 50_000, 500
"""What Mermaid draws where its settings are not changed; a file cannot lift these limits itself."""

PIECE = 1_000
"""Characters a line of a comment."""

_SHAPES = {"site": "([", "plus": "((", "split": "((", "end": "([", "folded": "[["}
_CLOSING = {"([": "])", "((": "))", "[[": "]]", "[": "]"}
_SIGNS = re.compile("[!-+\\--/:-@\\[-`{-~ﬂ°¶ß]")
"""Signs of ASCII, and the letters that stand for `#` and `;` while Mermaid reads."""
_BLANK = re.compile("^ +| +$| (?= )")
"""Blanks that HTML would drop."""


def as_mermaid(drawing: Drawing) -> str:
    """The picture as a flowchart from top to bottom."""
    graph = graph_of(drawing)
    title = shortened(drawing.title, 60)
    first, *rest = graph.items
    named = Vertex(first.id, "end", (title, drawing.totals, *legend_words(drawing), *first.lines))
    lines = [
        "flowchart TB",
        *(line for item in rest for line in _whole_names(item)),
        *_items((named, *rest), "  "),
        *(f"  {_arrow(arrow)}" for arrow in graph.arrows),
        *_classes(graph, drawing.most_macs),
    ]
    return "\n".join(lines) + "\n"


def is_too_large(text: str) -> bool:
    """Whether Mermaid refuses a flowchart unless its settings are changed."""
    return len(text) > MAX_CHARACTERS or text.count("-->") + text.count("-.->") > MAX_ARROWS


def encoded(text: str) -> str:
    """A label that shows exactly `text`."""
    seen = visible(text)
    numbered = _SIGNS.sub(lambda found: f"#{ord(found[0])};", seen)
    return _BLANK.sub(lambda found: "#160;" * len(found[0]), numbered)


def _whole_names(item: Vertex | Group) -> Iterator[str]:
    """Comments with the names that a label shortens or leaves out."""
    for name in item.about.split("\n"):
        if visible(name) not in item.lines[0]:
            # Encoded here too: Mermaid looks for its directives even in comments.
            whole = encoded(name)
            yield from (f"  %% {item.id}: {whole[at : at + PIECE]}" for at in range(0, len(whole), PIECE))


def _label(lines: tuple[str, ...]) -> str:
    return '"' + "<br/>".join(map(encoded, lines)) + '"'


def _items(items: tuple[Vertex | Group, ...], margin: str) -> Iterator[str]:
    """Lines of nodes and boxes, those of a box between its first and its last."""
    waiting: list[tuple[Vertex | Group | None, str]] = [(item, margin) for item in reversed(items)]
    while waiting:
        item, indent = waiting.pop()
        if item is None:
            yield f"{indent}end"
        elif isinstance(item, Vertex):
            yield indent + _vertex(item)
        else:
            yield f"{indent}subgraph {item.id}[{_label(item.lines)}]"
            waiting.append((None, indent))
            waiting += [(inner, indent + "  ") for inner in reversed(item.items)]


def _vertex(vertex: Vertex) -> str:
    opening = _SHAPES.get(vertex.shape, "[")
    return f"{vertex.id}{opening}{_label(vertex.lines or (' ',))}{_CLOSING[opening]}"


def _arrow(arrow: Arrow) -> str:
    line = "-.->" if arrow.faint else "-->"
    label = f"|{_label((arrow.label,))}|" if arrow.label else ""
    return f"{arrow.tail} {line}{label} {arrow.head}"


def _classes(graph: Graph, most_macs: int) -> Iterator[str]:
    """The colours and which node has which."""
    members: dict[str, list[str]] = {}
    waiting: list[Vertex | Group] = [*reversed(graph.items)]
    while waiting:
        item = waiting.pop()
        members.setdefault(_class(item, most_macs), []).append(item.id)
        waiting += reversed(item.items) if isinstance(item, Group) else ()
    for name, style in _styles().items():
        if name in members:
            yield f"  classDef as_{name} {style}"  # `end` alone would be a keyword
            yield f"  class {','.join(members[name])} as_{name}"


def _class(item: Vertex | Group, most_macs: int) -> str:
    if item.change != "kept":
        return item.change
    if isinstance(item, Group):
        return "box"
    if most_macs and item.macs is not None:
        return f"heat{heat(item.macs, most_macs)}"
    return "empty" if item.faint and item.shape == "site" else item.shape


def _styles() -> dict[str, str]:
    plain = f"fill:#ffffff,stroke:{LINE},color:{INK}"
    found = {name: f"fill:{fill},stroke:{STROKE[name]},color:{INK}" for name, fill in FILL.items()}
    found |= {f"heat{n}": f"fill:{fill},stroke:{LINE},color:{INK}" for n, fill in enumerate(HEAT)}
    found |= {k: f"fill:{fill},stroke:{border},color:{INK}" for k, (fill, border, _) in CHANGES.items()}
    dashed = "stroke-dasharray:4 3"
    found["removed"] += f",{dashed}"
    found["empty"] = f"{found['site']},{dashed}"
    return found | dict.fromkeys(("box", "layer", "end", "split", "plus"), plain)
