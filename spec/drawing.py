"""A network as a picture without places: cards in a chain, and inside them a series-parallel tree.

What becomes of an architecture is decided in `nhnas.spec.drawing_cards` and `drawing_nodes`; where things
lie in `drawing_layout`, how they are written down in `drawing_svg`, `drawing_mermaid` and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal["kept", "added", "removed", "changed"]
"""Against an older version; without one everything is kept."""

Kind = Literal["leaf", "site", "act", "folded", "identity"]


@dataclass(frozen=True, slots=True)
class Tile:
    """The smallest piece: a leaf, the neurons of a site, an activation, a folded node, or a bare wire.

    `text` and `detail` are shown, `about` is what a pointer over it tells; `faint`: nothing flows here yet.
    """

    kind: Kind
    text: str
    detail: str = ""
    about: str = ""
    change: Change = "kept"
    macs: int = 0
    faint: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """Nothing is inside."""
        return ()


@dataclass(frozen=True, slots=True)
class Series:
    """One after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """`shortcut` and `branch` read the same and are added up; `faint`: the branch holds no neuron."""

    shortcut: Part
    branch: Part
    faint: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """The shortcut first."""
        return (self.shortcut, self.branch)


@dataclass(frozen=True, slots=True)
class Frame:
    """A box around a nested node."""

    label: str
    part: Part
    about: str = ""
    change: Change = "kept"

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is inside."""
        return (self.part,)


Part = Tile | Series | Fork | Frame


@dataclass(frozen=True, slots=True)
class Card:
    """A layer, or several equal neighbours; `names` are literal, `was` is the name in the older version."""

    names: tuple[str, ...]
    about: str
    counts: str
    shape: str
    content: Part | None
    change: Change = "kept"
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole picture; `title` is literal, `most_macs` (0: not asked for) is the darkest colour."""

    title: str
    totals: str
    input: str
    cards: tuple[Card, ...]
    compares: bool = False
    most_macs: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """How much is drawn.

    `depth`: levels of residuals (None: all); `collapse`: paths of nodes drawn as one box; `macs`: colours
    by multiply-accumulates; `each`: equal neighbours one by one.
    """

    depth: int | None = None
    collapse: frozenset[str] = frozenset()
    macs: bool = False
    each: bool = False
