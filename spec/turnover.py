"""Which neurons of a site go and come where two files give it different numbers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Positions = tuple[int, ...]


class Turnover(Protocol):
    """Positions rise; what stays keeps its order."""

    def leaving(self, site: str, neurons: int, wanted: int) -> Positions:
        """Which of `neurons` go on the way to `wanted`."""
        ...

    def arriving(self, site: str, kept: int, wanted: int) -> Positions:
        """Where among `wanted` the newcomers stand, beside `kept` that stayed."""
        ...


class LastOnes:
    """Without a measurement the last ones go: growth appends, so they are the youngest."""

    def leaving(self, _site: str, neurons: int, wanted: int) -> Positions:
        """The last ones, where there are too many."""
        return tuple(range(wanted, neurons))

    def arriving(self, _site: str, kept: int, wanted: int) -> Positions:
        """Newcomers stand behind all others."""
        return tuple(range(kept, wanted))


LAST_ONES = LastOnes()


@dataclass(frozen=True)
class LeastImportant(LastOnes):
    """Unmeasured newcomers go first, then the least important neurons by the last measurement.

    `importance` has a number, or None, for each neuron of the sites that were measured.
    """

    importance: Mapping[str, Sequence[float | None]]

    def leaving(self, site: str, neurons: int, wanted: int) -> Positions:
        """The least important ones; among equals the last."""
        values = self.importance.get(site, [None] * neurons)

        def order(neuron: int) -> tuple[bool, float, int]:
            value = values[neuron]
            return value is not None, value or 0.0, -neuron

        return tuple(sorted(sorted(range(neurons), key=order)[: max(neurons - wanted, 0)]))


@dataclass(frozen=True)
class Recorded:
    """What the versions between two files say of each neuron; `otherwise` decides where they are silent.

    `origins` says of each site of the new file where each neuron was in the old one, -1 for newcomers
    (`nhnas.spec.moves`). `guessed` collects the sites of which `otherwise` had to choose.
    """

    origins: Mapping[str, Sequence[int]]
    otherwise: Turnover = LAST_ONES
    guessed: set[str] = field(default_factory=set, compare=False)

    def leaving(self, site: str, neurons: int, wanted: int) -> Positions:
        """Those of which the record knows no successor."""
        origins = self._known(site, wanted)
        kept = set() if origins is None else {origin for origin in origins if origin >= 0}
        if origins is None or not kept or max(kept) >= neurons:
            going = self.otherwise.leaving(site, neurons, wanted)
            if going and len(going) < neurons:
                self.guessed.add(site)
            return going
        return tuple(n for n in range(neurons) if n not in kept)

    def arriving(self, site: str, kept: int, wanted: int) -> Positions:
        """Those of which the record knows no predecessor."""
        origins = self._known(site, wanted)
        found = () if origins is None else tuple(n for n, origin in enumerate(origins) if origin < 0)
        return found if kept + len(found) == wanted else self.otherwise.arriving(site, kept, wanted)

    def _known(self, site: str, wanted: int) -> Sequence[int] | None:
        origins = self.origins.get(site)
        return origins if origins is not None and len(origins) == wanted else None
