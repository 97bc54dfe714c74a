"""Neurons that come and go, as edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons
from nhnas.spec.model import Architecture
from nhnas.spec.structure import sites


def additions(arch: Architecture, counts: Mapping[str, int]) -> list[AddNeurons]:
    """The edits that add so many neurons behind those of each site."""
    present = {key: site.neurons for key, site in sites(arch).items()}
    return [
        AddNeurons(site=key, at=tuple(range(present[key], present[key] + count)))
        for key, count in counts.items()
    ]


def removals(arch: Architecture, leavers: Mapping[str, Sequence[int]]) -> list[Edit]:
    """The edits that take out neurons, those inside a residual before those around it."""
    inside_first = [key for key in reversed(sites(arch)) if key in leavers]
    return [RemoveNeurons(site=key, at=tuple(leavers[key])) for key in inside_first]
