"""Who reads the neurons of a chain site, so that importance is summed over readers (DESIGN §3, streams).

A stream is read by the residual of each identity layer, and at its end by whatever comes after it. What
an identity layer hands on is no reading: there the same neurons would count once for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nhnas.spec.model import Act, Activation, Conv, Dense
from nhnas.spec.structure import LayerView


@dataclass(frozen=True, slots=True)
class Readings:
    """Where one chain layer lets its stream be seen.

    `residual`: the residual of this identity layer reads the stream, and what it reads went through
    `residual_act`. `end`: this layer is the last of its stream; its output went through `end_act`.
    """

    residual: bool
    residual_act: Act | None
    end: bool
    end_act: Act | None


def readings(views: Sequence[LayerView]) -> dict[int, Readings]:
    """The readings of every layer with a node, by its index.

    An empty identity layer without an activation changes nothing: after it the activation is the one before.
    An activation layer counts for those that read the stream behind it.
    """
    last = {view.writes.site: view.index for view in views if view.node is not None}
    acts: dict[str, Act | None] = {}
    found = {}
    for view in views:
        if isinstance(view.layer, Activation):
            acts[view.writes.site] = view.layer.act
        if view.node is None or not isinstance(view.layer, Conv | Dense):
            continue
        reads = view.node.identity and view.node.hidden > 0
        before = acts.get(view.reads.site)
        unchanged = view.node.identity and not reads and view.layer.act is None
        after = before if unchanged else view.layer.act
        acts[view.writes.site] = after
        found[view.index] = Readings(reads, before, last[view.writes.site] == view.index, after)
    return found
