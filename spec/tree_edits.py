"""From what a file says, and from two dict trees, the old and the wanted one, to edits of its text.

Both trees are minimal: keys at their defaults are absent. Where the file writes such a key all the same,
it stays. Layers are matched by name; one that stands alone at its old place under a new name is renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from nhnas.spec.emit import block_lines, flow_entry, flow_text, rank
from nhnas.spec.text_edits import Entry, Insert, Source, TextEdit, block_edits, flow_edits
from nhnas.spec.yaml_tree import Mapping, Scalar, Sequence, Tree, children

Layers = list[dict[str, Any]]

_SLOTS = ("first", "second")


def editor(text: str, tree: Tree) -> Editor:
    """The editor of one text."""
    return Editor(Source(text, tree), *_habits(tree))


@dataclass(frozen=True)
class Editor:
    """Finds edits in the style of the file: `step` is how far it indents a block.

    `flow_keys` says of a key whether the file writes its mappings in braces.
    """

    source: Source
    step: int
    flow_keys: dict[str, bool]

    def mapping(self, node: Mapping, old: dict[str, Any], new: dict[str, Any]) -> Iterator[TextEdit]:
        """Edits inside one mapping."""
        gone: set[str] = set()
        added = {key: value for key, value in new.items() if key not in node.values}
        for key, value in node.values.items():
            before, after = old.get(key), new.get(key)
            if before == after:
                continue
            if after is None and not _keeps_defaults(key, value, before):
                gone.add(key)
            elif self._in_place(value, after):
                yield from self._change(node.keys[key], value, before, after)
            else:
                gone.add(key)
                added[key] = after
        if gone or added:
            yield from self._entries(node, gone, added)

    def _in_place(self, value: Tree, after: Any) -> bool:
        """True where the value alone can be edited, its key left as it is."""
        if isinstance(value, Mapping) and (after is None or (isinstance(after, dict) and after)):
            return True
        if isinstance(value, Sequence) and isinstance(after, list) and _has_layers(after):
            return True
        if isinstance(value, Scalar):
            return value.style not in ("|", ">")
        return value.flow and not self.source.comments_in(value.start, value.end)

    def _change(self, key: Scalar, value: Tree, before: Any, after: Any) -> Iterator[TextEdit]:
        if isinstance(value, Mapping) and (after is None or isinstance(after, dict)):
            yield from self.mapping(value, before if isinstance(before, dict) else {}, after or {})
        elif isinstance(value, Sequence) and _has_layers(after):
            yield from self._layers(key, value, before, after)
        else:
            style = value.style if isinstance(value, Scalar) else ""
            blank = " " if value.start == value.end else ""
            if style == "'" and isinstance(after, str) and after.isprintable():
                text = "'" + after.replace("'", "''") + "'"
            else:
                text = flow_text(after, '"' in (key.style, style))
            yield TextEdit(value.start, value.end, blank + text)

    def _entries(self, node: Mapping, gone: set[str], added: dict[str, Any]) -> Iterator[TextEdit]:
        names = list(node.values)
        entries = [_entry(node, name, name not in gone) for name in names]
        inserts = []
        for key in sorted(added, key=rank):
            before = [n for n, name in enumerate(names) if name not in gone and rank(name) < rank(key)]
            inserts.append(Insert(before[-1] if before else None, self._lines(node, key, added[key])))
        if node.flow:
            yield from flow_edits(self.source, entries, inserts, node.start + 1)
        elif len(gone) < len(names):
            yield from block_edits(self.source, entries, inserts)
        else:
            yield self._refill(entries, inserts)

    def _refill(self, entries: list[Entry], inserts: list[Insert]) -> TextEdit:
        """A block of which no key stays."""
        start, end = entries[0].start, entries[-1].end
        lines = [*self.source.comments_in(start, end), *(line for insert in inserts for line in insert.lines)]
        return TextEdit(start, end, (self.source.line_end + " " * entries[0].column).join(lines))

    def _lines(self, node: Mapping, key: str, value: Any) -> tuple[str, ...]:
        return (flow_entry(key, value, _quotes(node)),) if node.flow else self._block(key, value)

    def _block(self, key: str, value: Any) -> tuple[str, ...]:
        return tuple(block_lines(key, value, self.step, self.flow_keys))

    def _layers(self, key: Scalar, net: Sequence, old: Layers, new: Layers) -> Iterator[TextEdit]:
        partner = _partners(old, new)
        for before, after in partner.items():
            layer = net.items[before]
            if isinstance(layer, Mapping):
                yield from self.mapping(layer, old[before], new[after])
        if len(partner) == len(old) == len(new):
            return
        entries = self._items(key, net, partner)
        added = _anchors(partner, len(new))
        inserts = [Insert(at, self._layer(new[n], net, entries[0].column, at or 0)) for n, at in added]
        if net.flow:
            yield from flow_edits(self.source, entries, inserts, net.start + 1)
        else:
            yield from block_edits(self.source, entries, inserts, self.source.after_line(key.end))

    def _items(self, key: Scalar, net: Sequence, kept: dict[int, int]) -> list[Entry]:
        """Where the items start; in block style, where their dashes stand."""
        if net.flow:
            return [Entry(item.start, item.end, item.column, n in kept) for n, item in enumerate(net.items)]
        ends = [key.end, *(item.end for item in net.items)]
        starts = [self.source.dash_after(end) for end in ends[:-1]]
        return [
            Entry(start, end, net.column, n in kept)
            for n, (start, end) in enumerate(zip(starts, ends[1:], strict=True))
        ]

    def _layer(self, layer: dict[str, Any], net: Sequence, dash: int, like: int) -> tuple[str, ...]:
        """A new layer in the style of the item `like`; `dash` is the column of the dashes."""
        neighbour = net.items[like]
        quoted = isinstance(neighbour, Mapping) and _quotes(neighbour)
        if net.flow:
            return (flow_text(layer, quoted),)
        gap = max(1, neighbour.column - dash - 1)
        if isinstance(neighbour, Mapping) and neighbour.flow:
            return (f"-{' ' * gap}{flow_text(layer, quoted)}",)
        first, *rest = (line for key, value in layer.items() for line in self._block(key, value))
        return (f"-{' ' * gap}{first}", *(" " * (gap + 1) + line for line in rest))


def _habits(tree: Tree) -> tuple[int, dict[str, bool]]:
    """How far a file indents, and which keys it writes in braces; the first of each decides."""
    step: int | None = None
    flow: dict[str, bool] = {}
    for outer, key, value in _mappings(tree):
        flow.setdefault(key, value.flow)
        if step is None and not value.flow:
            step = value.column - outer.column
    return step or 2, flow


def _mappings(tree: Tree) -> Iterator[tuple[Mapping, str, Mapping]]:
    if isinstance(tree, Mapping) and not tree.flow:
        yield from ((tree, key, value) for key, value in tree.values.items() if isinstance(value, Mapping))
    for child in children(tree):
        yield from _mappings(child)


def _keeps_defaults(key: str, value: Tree, before: Any) -> bool:
    """True for a slot in which keys remain that the file writes although they are at their defaults."""
    return key in _SLOTS and isinstance(value, Mapping) and not set(value.values) <= set(before)


def _has_layers(after: Any) -> bool:
    return isinstance(after, list) and bool(after) and isinstance(after[0], dict) and "name" in after[0]


def _quotes(node: Mapping) -> bool:
    return any(key.style == '"' for key in node.keys.values())


def _entry(node: Mapping, name: str, keep: bool) -> Entry:
    key = node.keys[name]
    return Entry(
        key.start, max(key.end, node.values[name].end), node.column if not node.flow else key.column, keep
    )


def _partners(old: Layers, new: Layers) -> dict[int, int]:
    """Index of each old layer that stays → its new index; both rise."""
    found: dict[int, int] = {}
    for kind, i, i_end, j, j_end in _matches([str(x["name"]) for x in old], [str(x["name"]) for x in new]):
        if kind == "equal":
            found.update(zip(range(i, i_end), range(j, j_end), strict=True))
        elif kind == "replace":
            renamed = _renamed(old[i:i_end], new[j:j_end])
            found |= {i + before: j + after for before, after in renamed.items()}
    return found


def _renamed(old: Layers, new: Layers) -> dict[int, int]:
    """Partners between two neighbours that stay: one by one, else those that differ in name alone."""
    if [layer["op"] for layer in old] == [layer["op"] for layer in new]:
        return {n: n for n in range(len(old))}
    bare = [[repr(layer | {"name": ""}) for layer in layers] for layers in (old, new)]
    equal = (match for match in _matches(*bare) if match[0] == "equal")
    return {before: j + before - i for _, i, i_end, j, _ in equal for before in range(i, i_end)}


def _matches(old: list[str], new: list[str]) -> list[tuple[str, int, int, int, int]]:
    return list(SequenceMatcher(None, old, new, autojunk=False).get_opcodes())


def _anchors(partner: dict[int, int], count: int) -> Iterator[tuple[int, int | None]]:
    """Each new layer without a partner, and the old layer that stays before it."""
    back = {after: before for before, after in partner.items()}
    at: int | None = None
    for n in range(count):
        at = back.get(n, at)
        if n not in back:
            yield n, at
