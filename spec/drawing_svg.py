"""A laid-out picture as SVG: the same bytes on every machine, whatever fonts and programs it has."""

from __future__ import annotations

from collections.abc import Iterator

from nhnas.spec.drawing import Drawing
from nhnas.spec.drawing_colours import (
    CARD,
    CHANGES,
    FILL,
    FRAME,
    HEAT,
    INK,
    LINE,
    PAPER,
    QUIET,
    STROKE,
    heat,
    legend,
)
from nhnas.spec.drawing_layout import (
    PAD,
    RADIUS,
    SMALL,
    Box,
    Mark,
    Page,
    Plus,
    Text,
    Wire,
    laid_out,
    text_width,
)
from nhnas.spec.drawing_text import as_entities

FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

_LEGEND = 24
"""Height of a line of the legend."""


def as_svg(drawing: Drawing) -> str:
    """The picture as an SVG document, whole names in its titles."""
    page = _with_legend(laid_out(drawing), drawing)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{page.width}" height="{page.height}" '
        f'viewBox="0 0 {page.width} {page.height}" xml:space="preserve">',
        f"<title>{_escaped(drawing.title)}</title>",
        f"<style>{_style()}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="paper" width="{page.width}" height="{page.height}" rx="6"/>',
        *(line for mark in page.marks for line in _written(mark, drawing.most_macs)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _style() -> str:
    """The looks of all classes."""
    rules = [
        f"text{{font-family:{FONTS};fill:{INK};white-space:pre}}",
        f".name{{font-weight:bold}}.quiet{{fill:{QUIET}}}.many{{font-weight:bold;fill:{STROKE['site']}}}",
        f".paper{{fill:{PAPER}}}.card{{fill:{CARD};stroke:#d1d9e0}}.frame{{fill:{FRAME};stroke:#d1d9e0}}",
        f".wire{{fill:none;stroke:{LINE};stroke-width:1.5}}.plus{{fill:{PAPER};stroke:{LINE};stroke-width:1.5}}",
        f"#head{{fill:{LINE}}}",
        *(f".{kind}{{fill:{FILL[kind]};stroke:{STROKE[kind]}}}" for kind in FILL),
        *(f".heat{n}{{fill:{fill}}}" for n, fill in enumerate(HEAT)),
        ".faint{stroke-dasharray:3 3}",
        *(f".{name}{{fill:{fill};stroke:{border}}}" for name, (fill, border, _) in CHANGES.items()),
        ".removed{stroke-dasharray:4 3}",
    ]
    return "".join(rules)


def _with_legend(page: Page, drawing: Drawing) -> Page:
    """What the colours mean, below the picture, in as many lines as its width needs."""
    entries = legend(drawing)
    if not entries:
        return page
    widths = [26 + text_width(words, SMALL) + PAD for _, _, words in entries]
    width, x, y = max(page.width, 2 * PAD + max(widths)), PAD, page.height
    marks: list[Mark] = []
    styles = [*CHANGES] if drawing.compares else [f"heat{n}" for n in range(len(HEAT))]
    for (_, _, words), style, needed in zip(entries, styles, widths, strict=True):
        if x + needed > width and x > PAD:
            x, y = PAD, y + _LEGEND
        marks += [Box(x, y, 18, 14, f"leaf {style}"), Text(x + 26, y + 11, words, SMALL, "quiet")]
        x += needed
    return Page(width, y + _LEGEND, (*page.marks, *marks))


def _written(mark: Mark, most_macs: int) -> Iterator[str]:
    if isinstance(mark, Box):
        yield _box(mark, most_macs)
    elif isinstance(mark, Text):
        yield _text(mark)
    elif isinstance(mark, Wire):
        points = " ".join(f"{x} {y}" for x, y in mark.points)
        head = ' marker-end="url(#head)"' if mark.arrow else ""
        yield f'<path class="wire{_faint(mark.faint)}" d="M{points}"{head}/>'
    else:
        yield from _plus(mark)


def _box(box: Box, most_macs: int) -> str:
    heated = f" heat{heat(box.macs, most_macs)}" if most_macs and box.macs is not None else ""
    changed = "" if box.change == "kept" else f" {box.change}"
    start = (
        f'<rect class="{box.style}{heated}{changed}{_faint(box.faint)}" x="{box.x}" y="{box.y}" '
        f'width="{box.width}" height="{box.height}" rx="{box.round}"'
    )
    about = _escaped("\n".join(box.about))
    return f"{start}><title>{about}</title></rect>" if about else f"{start}/>"


def _text(text: Text) -> str:
    """A line; where another font may step in, its width is prescribed."""
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    foreign = any(c > "\u024f" and not "\u2000" <= c < "\u2400" for c in text.text)
    width = (
        f' textLength="{text_width(text.text, text.size)}" lengthAdjust="spacingAndGlyphs"' if foreign else ""
    )
    return (
        f'<text class="{text.style}" x="{text.x}" y="{text.y}" font-size="{text.size}"{anchor}{width}>'
        f"{_escaped(text.text)}</text>"
    )


def _plus(plus: Plus) -> Iterator[str]:
    x, y, arm = plus.x, plus.y, RADIUS - 3
    yield f'<circle class="plus{_faint(plus.faint)}" cx="{x}" cy="{y}" r="{RADIUS}"/>'
    yield f'<path class="wire" d="M{x - arm} {y}H{x + arm}M{x} {y - arm}V{y + arm}"/>'


def _faint(is_faint: bool) -> str:
    return " faint" if is_faint else ""


def _escaped(text: str) -> str:
    """Text of an XML element, literal."""
    return as_entities(text).replace("<", "&lt;").replace(">", "&gt;")
