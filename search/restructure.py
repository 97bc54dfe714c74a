"""Which layers become non-linear or linear again (paper, section 2.4; DESIGN §6 Restructure).

A residual with more hidden neurons than (I·O²)^(1/3) (I, O: its node's inputs and outputs) is wide
enough for its two matrices to profit from neurons of their own; an empty residual is a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from nhnas.spec.apply import is_empty
from nhnas.spec.edits import Collapse, Edit, Promote
from nhnas.spec.model import Architecture, Residual
from nhnas.spec.structure import NodeView, structure

Rule = Literal["auto", "authors"]


def qualifies(node: NodeView, rule: Rule = "auto") -> bool:
    """True where the node's residual is wide enough for residuals inside it; `authors` as in their code.

    Compared as cubes: where I = O the rule reads H > I, and a cube root is often off by a bit.
    """
    offset, cube = promotion_size(node, rule)
    return (node.hidden - offset) ** 3 > cube


def promotion_size(node: NodeView, rule: Rule = "auto") -> tuple[int, int]:
    """The size M above which a node qualifies, as (offset, cube): M = offset + cube^(1/3)."""
    inputs, outputs = node.reads.features, node.writes.features
    if rule == "authors":
        return 1, max(inputs, outputs) * min(inputs, outputs) ** 2
    return 0, inputs * outputs**2


def restructure(arch: Architecture, rule: Rule = "auto") -> tuple[Edit, ...]:
    """Promotions and collapses for the present widths, in file order; all preserve the function.

    The two nodes of a `fixed` residual stay as its author wrote them: none opens.
    """
    tops = [view.node for view in structure(arch) if view.node is not None]
    return tuple(edit for top in tops for edit in _below(top, rule))


def _below(node: NodeView, rule: Rule) -> Iterator[Edit]:
    """Edits for the two nodes inside `node`; a chain layer itself keeps what its author wrote."""
    wide = qualifies(node, rule)
    for child in (node.first, node.second):
        if child is None or node.residual is None:
            continue
        if child.residual is None:
            if wide and not node.residual.fixed:
                yield Promote(path=child.path, residual=_opened(node.residual))
        elif not wide and is_empty(child.residual) and not child.residual.fixed:
            yield Collapse(path=child.path, residual=child.residual)
        else:
            yield from _below(child, rule)


def _opened(parent: Residual) -> Residual:
    """An empty residual that works like the one around it."""
    return Residual(hidden=0, act=parent.act, dropout=parent.dropout)
