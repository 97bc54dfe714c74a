"""A comparison for people: one line an edit, grouped by layer, and the totals before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from nhnas.comparison import Comparison, Setting, summary
from nhnas.spec.edits import (
    AddNeurons,
    Collapse,
    DropShortcut,
    Edit,
    InsertLayer,
    Promote,
    RemoveLayer,
    RemoveNeurons,
    Rename,
    RestoreShortcut,
    Set,
    SwapLayer,
)
from nhnas.spec.emit import flow_text, minimal
from nhnas.spec.model import Architecture, Conv, Dense, Layer
from nhnas.spec.shown import shown
from nhnas.spec.structure import sites

_NONE = "none"
_TOTALS = (("neurons", "neurons"), ("parameters", "parameters"), ("macs", "MACs"), ("depth", "depth"))
_WIDTH = 160
"""Longest text of a value."""
_SITES = 5
"""Sites that are named one by one."""


def as_text(comparison: Comparison, full: bool = False) -> str:
    """Lines to print; `full` tells every position and every layer whole. Ends with a line end."""
    old, new = comparison.old, comparison.new
    lines = [_title(comparison)]
    if not comparison.edits and not comparison.settings:
        lines.append("  no other difference" if old.state != new.state else "  no difference")
    edited = edit_lines(comparison.edits, new.architecture, comparison.guessed, full)
    lines += edited
    for group, settings in groupby(comparison.settings, key=_section):
        lines += [group, *(f"  ~ {_setting(setting)}" for setting in settings)]
    lines.append(totals_line(summary(old), summary(new)))
    if comparison.guessed:
        lines.append(_doubt(comparison.guessed))
    return "\n".join(lines) + "\n"


def _doubt(guessed: Sequence[str]) -> str:
    """Of which sites nobody knows who came and went."""
    some = ", ".join(map(shown, guessed[:_SITES]))
    more = f" and {len(guessed) - _SITES} more sites" if len(guessed) > _SITES else ""
    return f"guessed: no record says which neurons of {some}{more} came and went"


def edit_lines(
    edits: Sequence[Edit], after: Architecture, guessed: Sequence[str] = (), full: bool = False
) -> list[str]:
    """A heading a layer, and below it a line an edit; `after` is what the edits lead to."""
    entries = [*_site_entries(edits, after, guessed, full), *_other_entries(edits, full)]
    places = {layer.name: index for index, layer in enumerate(after.net)}
    order = sorted(entries, key=lambda entry: places.get(entry[0], -1))
    lines = []
    for name, group in groupby(order, key=lambda entry: entry[0]):
        lines += [shown(name), *(f"  {line}" for _, line in group)]
    return lines


def totals_line(before: dict[str, Any], after: dict[str, Any]) -> str:
    """`total: 84 → 133 neurons, 13,750 → 19,388 parameters, …`."""
    parts = []
    for key, word in _TOTALS:
        old, new = before[key], after[key]
        number = f"{new:,}" if old == new else f"{old:,} → {new:,}"
        parts.append(f"depth {number}" if key == "depth" else f"{number} {word}")
    return f"total: {', '.join(parts)}"


def _title(comparison: Comparison) -> str:
    old, new = comparison.old, comparison.new
    name = shown(new.name)
    if old.state == new.state:
        same = "untrained" if new.state is None else f"version {new.version} ({new.state})"
        return f"{name}: {same}"
    sides = ["untrained" if d.state is None else f"version {d.version} ({d.state})" for d in (old, new)]
    return f"{name}: {sides[0]} → {sides[1]}"


def _site_entries(
    edits: Sequence[Edit], after: Architecture, guessed: Sequence[str], full: bool
) -> Iterator[tuple[str, str]]:
    """All that happened to the neurons of one site, on one line."""
    counts = {key: site.neurons for key, site in sites(after).items()}
    moves: dict[str, list[AddNeurons | RemoveNeurons]] = {}
    for edit in edits:
        if isinstance(edit, AddNeurons | RemoveNeurons):
            moves.setdefault(edit.site, []).append(edit)
    for site, some in moves.items():
        went = sum(len(edit.at) for edit in some if isinstance(edit, RemoveNeurons))
        came = sum(len(edit.at) for edit in some if isinstance(edit, AddNeurons))
        now = counts.get(site, 0)
        signs = " ".join(f"{sign}{n}" for sign, n in (("+", came), ("−", went)) if n)
        mark = "+" if not went else "-" if not came else "~"
        layer, _, rest = site.partition(".")
        doubt = ", guessed" if site in guessed else ""
        places = f" at {'; '.join(map(_positions, some))}" if full else ""
        yield layer, f"{mark} {rest} {now + went - came} → {now} ({signs}{doubt}){places}"


def _positions(edit: AddNeurons | RemoveNeurons) -> str:
    sign = "+" if isinstance(edit, AddNeurons) else "−"
    return f"{sign}{ranges(edit.at)}"


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7; the numbers rise."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _other_entries(edits: Sequence[Edit], full: bool) -> Iterator[tuple[str, str]]:
    for edit in edits:
        match edit:
            case Promote(path=path):
                yield _at(path, "+", "residual, open to neurons")
            case Collapse(path=path):
                yield _at(path, "-", "residual, linear again")
            case DropShortcut(path=path):
                yield _at(path, "-", "shortcut")
            case RestoreShortcut(path=path):
                yield _at(path, "+", "shortcut")
            case InsertLayer(layer=layer):
                yield layer.name, f"+ layer {_layer(layer, full)}"
            case RemoveLayer(layer=layer):
                yield layer.name, f"- layer {_layer(layer, full)}"
            case SwapLayer(old=old, new=new):
                yield new.name, f"~ layer {_layer(old, True)} → {_layer(new, True)}"
            case Rename(old=name, new=renamed):
                yield renamed, f"~ renamed from {shown(name)}"
            case Set(path=path, key=key, old=before, new=now):
                yield _at(path, "~", f"{key} {_value(before)} → {_value(now)}")


def _at(path: str, mark: str, text: str) -> tuple[str, str]:
    layer, _, rest = path.partition(".")
    return layer, f"{mark} {rest + ': ' if rest else ''}{text}"


def _layer(layer: Layer, full: bool) -> str:
    """The layer as the file writes it, or in a few words."""
    if full:
        return shown(flow_text(minimal(layer)), 10_000)
    if not isinstance(layer, Conv | Dense):
        return f"({layer.op})"
    hidden = f", {layer.residual.hidden} hidden" if layer.residual is not None else ""
    size = "identity" if layer.width is None else f"width {layer.width}"
    return f"({layer.op}, {size}{hidden})"


def _section(setting: Setting) -> str:
    if setting.path in ("name", "input"):
        return "file"
    return "notes" if setting.path.endswith(".note") else setting.path.partition(".")[0]


def _setting(setting: Setting) -> str:
    path = setting.path
    key = path if _section(setting) in ("file", "notes") else path.partition(".")[2]
    return f"{shown(key, _WIDTH)} {_value(setting.old)} → {_value(setting.new)}"


def _value(value: object) -> str:
    return _NONE if value is None else shown(flow_text(value), _WIDTH)
