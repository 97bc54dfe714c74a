"""A drawing as the source of a graphviz graph (the package `graphviz` writes it down).

Measured of dot 2.43: a string or a comment of more than 16,384 bytes breaks it, a comment without a word;
entities in labels are read; a name in an edge is split at its colon; backslashes in tooltips are read twice.
So ids are our own, labels are short and escaped, whole names are tooltips or comments in pieces.
"""

from __future__ import annotations

import graphviz

from nhnas.spec.drawing import Drawing
from nhnas.spec.drawing_colours import CARD, CHANGES, FILL, HEAT, INK, LINE, QUIET, STROKE, heat, legend_words
from nhnas.spec.drawing_graph import Group, Vertex, graph_of
from nhnas.spec.drawing_text import as_entities, shortened, visible

MAX_BYTES = 16_000
"""Longest string, in bytes of UTF-8."""

PIECE = 1_000
"""Characters a line of a comment."""

FONT = "Helvetica"

LEFT = "\\l"
"""Ends a line that begins at the left."""


def as_dot(drawing: Drawing) -> str:
    """The picture as a directed graph, boxes inside boxes as clusters."""
    top = (shortened(drawing.title, 60), drawing.totals, *legend_words(drawing))
    graph = graphviz.Digraph(
        "nhnas",
        graph_attr={
            "rankdir": "LR",
            "label": _label(top, LEFT),
            "labelloc": "t",
            "labeljust": "l",
            "fontname": FONT,
            "fontsize": "12",
            "fontcolor": INK,
            "nodesep": "0.2",
            "ranksep": "0.25",
            "tooltip": _tooltip(drawing.title),
        },
        node_attr={"fontname": FONT, "fontsize": "11", "fontcolor": INK, "style": "filled", "height": "0.3"},
        edge_attr={"fontname": FONT, "fontsize": "9", "fontcolor": QUIET, "color": LINE, "arrowsize": "0.6"},
    )
    parts = graph_of(drawing)
    for item in parts.items:
        _add(graph, item, drawing.most_macs, "card")
    for arrow in parts.arrows:
        more = {"style": "dashed"} if arrow.faint else {}
        graph.edge(arrow.tail, arrow.head, _label((arrow.label,)) if arrow.label else None, **more)
    return str(graph.source)


def _add(graph: graphviz.Digraph, item: Vertex | Group, most_macs: int, kind: str) -> None:
    """A node, or a cluster with all inside."""
    _comment(graph, item)
    if isinstance(item, Vertex):
        graph.node(item.id, _label(item.lines), **_looks(item, most_macs), tooltip=_tooltip(item.about))
        return
    inner = graphviz.Digraph(f"cluster_{item.id}", graph_attr=_box(item, kind))
    for below in item.items:
        _add(inner, below, most_macs, "frame")
    graph.subgraph(inner)


def _comment(graph: graphviz.Digraph, item: Vertex | Group) -> None:
    """The whole of a name that cannot be a tooltip."""
    if not _fits_tooltip(item.about):
        name = visible(item.about.replace("\n", ", "))
        pieces = (name[at : at + PIECE] for at in range(0, len(name), PIECE))
        graph.body += [f"\t// {item.id}: {piece}\n" for piece in pieces]


def _fits_tooltip(text: str) -> bool:
    return "\\" not in text and len(_escaped(text).encode()) <= MAX_BYTES


def _label(lines: tuple[str, ...], end: str = "\\n") -> graphviz.quoting.NoHtml:
    """Lines that show exactly what they hold; they end in `\\l` where they begin at the left."""
    text = end.join(map(_escaped, lines))
    return graphviz.nohtml(text + end if end == LEFT else text)


def _tooltip(text: str) -> graphviz.quoting.NoHtml:
    """The literal text, or a blank: without any, dot would take the label."""
    return graphviz.nohtml(_escaped(text) if text and _fits_tooltip(text) else " ")


def _escaped(text: str) -> str:
    return as_entities(text).replace("\\", "\\\\").replace("\n", "&#10;")


def _looks(vertex: Vertex, most_macs: int) -> dict[str, str]:
    """Shape and colours of a node."""
    if vertex.shape == "split":
        return {"shape": "point", "width": "0.06", "height": "0.06", "color": LINE}
    if vertex.shape == "plus":
        style = "filled,dashed" if vertex.faint else "filled"
        return {"shape": "circle", "width": "0.2", "fixedsize": "true", "fillcolor": "white", "style": style}
    if vertex.shape == "end":
        return {"shape": "plaintext", "style": ""}
    fill, border = FILL.get(vertex.shape, CARD), STROKE.get(vertex.shape, LINE)
    if most_macs and vertex.macs is not None:
        fill = HEAT[heat(vertex.macs, most_macs)]
    if vertex.change != "kept":
        fill, border, _ = CHANGES[vertex.change]
    dashed = ",dashed" if vertex.faint or vertex.change == "removed" else ""
    round_ = "rounded," if vertex.shape in ("site", "layer") else ""
    return {"shape": "box", "style": f"{round_}filled{dashed}", "fillcolor": fill, "color": border}


def _box(group: Group, kind: str) -> dict[str, str]:
    fill, border = (CARD, LINE) if kind == "card" else ("white", LINE)
    if group.change != "kept":
        fill, border, _ = CHANGES[group.change]
    style = "rounded,filled,dashed" if group.change == "removed" else "rounded,filled"
    return {
        "label": _label(group.lines, LEFT),
        "tooltip": _tooltip(group.about),
        "style": style,
        "fillcolor": fill,
        "color": border,
        "fontsize": "11",
        "labeljust": "l",
    }
