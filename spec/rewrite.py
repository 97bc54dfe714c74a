"""The text of a spec after its architecture changed: edited at the parsed marks, never dumped anew.

What changed is the difference of two dict trees, the minimal forms of the old and the new architecture. A
number is replaced where it stands, keys and layers come and go as `nhnas.spec.text_edits` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from typing import Any, Final, Literal

from nhnas.spec.document import Document, parse_document
from nhnas.spec.emit import block_lines, flow_entry, flow_text, minimal_net, rank
from nhnas.spec.model import Architecture
from nhnas.spec.scalars import scalar_text
from nhnas.spec.text_edits import Entry, Insert, Source, TextEdit, applied, block_edits, flow_edits
from nhnas.spec.yaml_tree import Mapping, Scalar, Tree, children
from nhnas.spec.yaml_tree import Sequence as Items


class Unchanged(Enum):
    """Type of `UNCHANGED`, which leaves what the file says."""

    TOKEN = 0


UNCHANGED: Final = Unchanged.TOKEN
_SLOTS = ("first", "second")


def rewrite(
    document: Document,
    architecture: Architecture,
    version: int | None = None,
    state: str | None | Literal[Unchanged.TOKEN] = UNCHANGED,
) -> bytes:
    """The document's text with another architecture, and another `version` unless None.

    `state` None takes the key away. Comments, formatting and line ends stay; where nothing changed the
    text is the old one, byte for byte.
    """
    text = document.text.decode()
    old, new = _root(document, document.architecture), _root(document, architecture)
    new["version"] = new["version"] if version is None else version
    new["state"] = new["state"] if state is UNCHANGED else state
    old, new = ({key: v for key, v in root.items() if v is not None} for root in (old, new))
    editor = _Editor(Source(text, document.tree), *_habits(document.tree))
    written = applied(text, editor.mapping(document.tree, old, new)).encode()
    _check(parse_document(written), architecture, new)
    return written


def _root(document: Document, architecture: Architecture) -> dict[str, Any]:
    has_version = "version" in document.tree.values
    return {
        "version": document.version if has_version else None,
        "state": document.state,
        "input": list(architecture.input),
        "net": minimal_net(architecture),
    }


def _check(written: Document, architecture: Architecture, root: dict[str, Any]) -> None:
    found = (written.architecture, written.version, written.state)
    if found != (architecture, root.get("version", 0), root.get("state")):
        raise RuntimeError("bug: the rewritten spec does not say what it should")


def _habits(tree: Tree) -> tuple[int, dict[str, bool]]:
    """How far this file indents, and which keys it writes on one line (the first of each key decides)."""
    step: int | None = None
    flow: dict[str, bool] = {}
    for outer, key, value in _mappings_inside(tree):
        flow.setdefault(key, value.flow)
        if step is None and not value.flow and not outer.flow:
            step = value.column - outer.column
    return step or 2, flow


def _mappings_inside(tree: Tree) -> Iterator[tuple[Mapping, str, Mapping]]:
    if isinstance(tree, Mapping):
        yield from ((tree, key, value) for key, value in tree.values.items() if isinstance(value, Mapping))
    for child in children(tree):
        yield from _mappings_inside(child)


@dataclass(frozen=True)
class _Editor:
    """Finds the text edits that turn what the file says from one dict tree into another."""

    source: Source
    step: int
    flow_keys: dict[str, bool]

    def mapping(self, node: Mapping, old: dict[str, Any], new: dict[str, Any]) -> Iterator[TextEdit]:
        """Edits inside one mapping; keys that are in neither tree are explicit defaults and stay."""
        gone = {key for key in old if key not in new and self._goes(node.values.get(key), key, old[key])}
        added = {key: value for key, value in new.items() if key not in node.values}
        for key, value in node.values.items():
            changed = new.get(key, {} if key in old and key not in gone else old.get(key))
            if key in gone or changed == old.get(key):
                continue
            if _editable(value, changed):
                yield from self._change(node.keys[key], value, old.get(key), changed)
            else:
                gone.add(key)
                added[key] = changed
        yield from self._entries(node, gone, added)

    def _goes(self, value: Tree | None, key: str, old: Any) -> bool:
        """A slot in which explicit defaults remain stays; everything else goes as a whole."""
        stays = key in _SLOTS and isinstance(value, Mapping) and set(value.values) - set(old)
        return not stays

    def _change(self, key: Scalar, value: Tree, old: Any, new: Any) -> Iterator[TextEdit]:
        if isinstance(value, Mapping) and isinstance(new, dict):
            yield from self.mapping(value, old if isinstance(old, dict) else {}, new)
        elif isinstance(value, Items) and key.value == "net":
            yield from self._layers(key, value, old, new)
        else:
            quoted = key.style == '"' or (isinstance(value, Scalar) and value.style == '"')
            blank = " " if value.start == value.end else ""
            yield TextEdit(value.start, value.end, blank + flow_text(new, quoted))

    def _entries(self, node: Mapping, gone: set[str], added: dict[str, Any]) -> Iterator[TextEdit]:
        if not gone and not added:
            return
        names = list(node.values)
        entries = [_entry(node, name, name not in gone) for name in names]
        inserts = [self._insert(node, names, gone, key, added[key]) for key in sorted(added, key=rank)]
        if node.flow:
            yield from flow_edits(self.source, entries, inserts, node.start + 1)
        elif len(gone) < len(names):
            yield from block_edits(self.source, entries, inserts)
        else:
            yield self._refill(node, entries, inserts)

    def _insert(self, node: Mapping, names: list[str], gone: set[str], key: str, value: Any) -> Insert:
        before = [n for n, name in enumerate(names) if name not in gone and rank(name) < rank(key)]
        quoted = any(scalar.style == '"' for scalar in node.keys.values())
        lines = (flow_entry(key, value, quoted),) if node.flow else self._block(key, value)
        return Insert(before[-1] if before else None, lines)

    def _block(self, key: str, value: Any) -> tuple[str, ...]:
        return tuple(block_lines(key, value, self.step, self.flow_keys))

    def _refill(self, node: Mapping, entries: list[Entry], inserts: list[Insert]) -> TextEdit:
        """A block of which no key stays."""
        start, end = entries[0].start, entries[-1].end
        lines = [*self.source.comments_in(start, end), *(line for insert in inserts for line in insert.lines)]
        return TextEdit(start, end, (self.source.line_end + " " * node.column).join(lines))

    def _layers(
        self, key: Scalar, net: Items, old: list[dict[str, Any]], new: list[dict[str, Any]]
    ) -> Iterator[TextEdit]:
        partner = dict(_pairs(old, new))
        for before, after in partner.items():
            layer = net.items[before]
            if isinstance(layer, Mapping):
                yield from self.mapping(layer, old[before], new[after])
        if len(partner) == len(old) == len(new):
            return
        entries = self._items(key, net, set(partner))
        flow = [isinstance(item, Mapping) and item.flow for item in net.items]
        inserts = [
            Insert(at, self._layer(new[n], net, entries, flow[at or 0])) for n, at in _anchors(partner, len(new))
        ]
        if net.flow:
            yield from flow_edits(self.source, entries, inserts, net.start + 1)
        else:
            yield from block_edits(self.source, entries, inserts, self.source.after_line(key.end))

    def _items(self, key: Scalar, net: Items, kept: set[int]) -> list[Entry]:
        """Where the items start, in block style with their dash."""
        if net.flow:
            return [Entry(item.start, item.end, item.column, n in kept) for n, item in enumerate(net.items)]
        found, at = [], key.end
        for n, item in enumerate(net.items):
            start = self.source.dash_after(at)
            found.append(Entry(start, item.end, start - self.source.line_start(start), n in kept))
            at = item.end
        return found

    def _layer(self, layer: dict[str, Any], net: Items, entries: list[Entry], flow: bool) -> tuple[str, ...]:
        """A new layer in the style of its neighbour."""
        if net.flow:
            return (flow_text(layer, self._json(net)),)
        gap = 1
        if net.items[0].line == self.source_line(entries[0]):
            gap = net.items[0].start - entries[0].start - 1
        if flow:
            return (f"-{' ' * gap}{flow_text(layer)}",)
        lines = [line for key, value in layer.items() for line in self._block(key, value)]
        return (f"-{' ' * gap}{lines[0]}", *(" " * (gap + 1) + line for line in lines[1:]))
