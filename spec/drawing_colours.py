"""Colours of a picture, the same in every format."""

from __future__ import annotations

from nhnas.spec.drawing import Change, Drawing

INK, QUIET, LINE, PAPER, CARD, FRAME = "#1f2328", "#59636e", "#818b98", "#ffffff", "#f6f8fa", "#ffffff"

FILL = {"leaf": "#ffffff", "site": "#ddf4ff", "act": "#ffffff", "folded": "#eaeef2", "identity": "#ffffff"}
STROKE = {"leaf": "#818b98", "site": "#0969da", "act": "#818b98", "folded": "#818b98", "identity": "#818b98"}

CHANGES: dict[Change, tuple[str, str, str]] = {
    "added": ("#dafbe1", "#1a7f37", "added"),
    "removed": ("#ffebe9", "#cf222e", "removed"),
    "changed": ("#fff1b8", "#bf8700", "resized or set"),
}
"""Fill, border and the word for it."""

HEAT = ("#fff7ec", "#fee8c8", "#fdd49e", "#fdbb84", "#fc9d6f", "#f98060")
"""From few to many multiply-accumulates; ColorBrewer's OrRd, light enough for black text."""


def heat(macs: int, most: int) -> int:
    """Position in `HEAT` of a share of the most expensive box, in equal steps."""
    return 0 if most == 0 else min(macs * len(HEAT) // most, len(HEAT) - 1)


def legend(drawing: Drawing) -> tuple[tuple[str, str, str], ...]:
    """Fill, border and words of each colour that stands for something."""
    if drawing.compares:
        return tuple(CHANGES.values())
    if not drawing.most_macs:
        return ()
    steps = len(HEAT)
    bounds = [-(-drawing.most_macs * n // steps) for n in range(steps)]
    return tuple((fill, LINE, f"≥ {least:,} MACs") for fill, least in zip(HEAT, bounds, strict=True))


def legend_words(drawing: Drawing) -> tuple[str, ...]:
    """The same in a line of text, or nothing."""
    if drawing.compares:
        return ("green added, red removed, amber resized or set",)
    return (f"darker: more MACs, up to {drawing.most_macs:,} a box",) if drawing.most_macs else ()
