"""Random neurons that leave a random architecture, closed under what an emptied residual takes along."""

from __future__ import annotations

from random import Random

from nhnas.compiler.fade_plan import with_nested
from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.model import Architecture
from nhnas.spec.structure import sites

Leavers = dict[str, tuple[int, ...]]


def random_leavers(rng: Random, arch: Architecture) -> Leavers:
    """Some neurons of some open sites, often all of a residual, and what goes with them."""
    return with_nested(arch, random_choice(rng, arch))


def random_choice(rng: Random, arch: Architecture) -> Leavers:
    """Some neurons of some open sites, often all of a residual but not of those inside it."""
    found: Leavers = {}
    for key, site in sites(arch).items():
        most = site.neurons - site.keep_one
        if not site.open or most < 1 or rng.random() < 0.3:
            continue
        count = most if rng.random() < 0.4 else rng.randint(1, most)
        found[key] = tuple(sorted(rng.sample(range(site.neurons), count)))
    return found


def removal(arch: Architecture, leavers: Leavers) -> list[RemoveNeurons]:
    """The edits that take them out, inner sites first."""
    return [RemoveNeurons(site=key, at=leavers[key]) for key in reversed(sites(arch)) if key in leavers]


def emptied(arch: Architecture, leavers: Leavers) -> list[str]:
    """Paths of the residuals that lose all, without those inside another one."""
    every = [
        key.removesuffix(".hidden")
        for key, at in leavers.items()
        if key.endswith(".hidden") and len(at) == sites(arch)[key].neurons
    ]
    return [path for path in every if not any(path.startswith(f"{other}.") for other in every)]
