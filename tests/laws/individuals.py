"""The slow reference of recipes: neurons are named individuals, followed through the list edit by edit.

Written from DESIGN §5 and §3 alone, without index maps: a site is a list of names, a leaf remembers for
every name what its row or column was worth when it came. What a cell holds at the end is then read off.

Legend: O outputs, I inputs (features), k kernel size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons, Rename, RestoreShortcut, Set
from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, NodeView, biases, leaves, live_nodes, nodes, sites
from tests.laws.case import Case

Label = int | str | tuple[str, int]
"""An old index; "new"; "born" (a column that was there when the leaf came); "quiet"; ("eye", i)."""
NEW, BORN, QUIET = "new", "born", "quiet"


@dataclass
class Individuals:
    """The neurons of a site. `lineage` stays the same while the site is the same; `labels`: its old
    neurons by name, with their indices in the site that was called `source`."""

    lineage: int
    names: list[int]
    source: str | None
    labels: dict[int, int]


@dataclass
class Known:
    """What is known of one leaf or bias: labels by neuron, and what it must still connect.

    `kernel`, `norm` and `span`, features a neuron, are those of the leaf `source`, or of its birth; `there`,
    whether there is a bias, likewise.
    """

    source: str | None
    ends: tuple[object, ...]
    rows: dict[int, Label]
    columns: dict[int, Label] = field(default_factory=dict)
    kernel: int = 0
    norm: str = ""
    span: int = 1
    there: bool = True


@dataclass
class World:
    """Everything alive after some of the edits."""

    sites: dict[str, Individuals]
    leaves: dict[str, Known]
    biases: dict[str, Known]
    fresh: Iterator[int]


def follow(case: Case) -> World:
    """The world after all edits of a case."""
    world = first_world(case.arch)
    for before, after, edit in zip(case.steps, case.steps[1:], case.edits, strict=False):
        world = advance(world, before, after, edit)
    for leaf in leaves(case.after):
        world.leaves[leaf.path] = _in_the_end(leaf, world.leaves[leaf.path], world)
    for leaf in _silenced(case.after, world):
        known, loud = world.leaves[leaf.path], _born(leaf, world, quiet=False)
        heard: dict[int, Label] = {n: NEW if x == QUIET else x for n, x in known.rows.items()}
        world.leaves[leaf.path] = loud if leaf.identity_init else replace(known, rows=heard)
    found = {node.path: _bias_in_the_end(node, world.biases[node.path]) for node in biases(case.after)}
    world.biases.clear()
    world.biases.update(found)
    return world


def _silenced(arch: Architecture, world: World) -> list[Leaf]:
    """What writes a node of the old network, where nobody would hear a single one of them."""
    by_path, found = {leaf.path: leaf for leaf in leaves(arch)}, dict[str, Leaf]()
    for node in live_nodes(arch):
        writers = [
            by_path[p] for p in by_path if p == node.path + ".second" * p.count(".second", len(node.path))
        ]
        known = [world.leaves[leaf.path] for leaf in writers]
        silent = all(k.source is None and QUIET in k.rows.values() for k in known)
        if world.biases[node.path].source is not None and not node.identity and silent:
            found |= {leaf.path: leaf for leaf in writers}
    return list(found.values())


def _bias_in_the_end(node: NodeView, known: Known) -> Known:
    """A node that had no bias gets one that starts anew; 0 beside what was born as the identity."""
    if known.there:
        return known
    born = QUIET if node.leaf is not None and node.leaf.identity_init else NEW
    return replace(known, source=None, rows=dict.fromkeys(known.rows, born))


def _in_the_end(leaf: Leaf, known: Known, world: World) -> Known:
    """Once all edits are done, a norm of another kind starts anew, and so does a leaf for which a neuron is
    more, or fewer, features than it was."""
    known = replace(known, norm=known.norm if known.norm == leaf.norm else "")
    if known.source is None or known.span == leaf.reads.columns:
        return known
    if leaf.identity_init:
        return _born(leaf, world, quiet=False)
    rows: dict[int, Label] = {n: NEW if isinstance(x, int) else x for n, x in known.rows.items()}
    columns: dict[int, Label] = {n: BORN if isinstance(x, int) else x for n, x in known.columns.items()}
    return replace(known, source=None, rows=rows, columns=columns)


def first_world(arch: Architecture) -> World:
    """Every index of the old network is an individual."""
    fresh = count()
    sizes = {"input": arch.input[0]} | {key: site.neurons for key, site in sites(arch).items()}
    homes = {key: _settled(key, fresh, n) for key, n in sizes.items()}
    world = World(homes, {}, {}, fresh)
    for leaf in leaves(arch):
        columns: dict[int, Label] = {**_numbered(homes[leaf.reads.site].names)}
        rows: dict[int, Label] = {**_numbered(homes[leaf.writes.site].names)}
        ends, span = _ends(world, leaf), leaf.reads.columns
        world.leaves[leaf.path] = Known(leaf.path, ends, rows, columns, leaf.kernel, leaf.norm, span)
    for node in live_nodes(arch):
        home = homes[node.writes.site]
        rows = {**_numbered(home.names)}
        world.biases[node.path] = Known(node.path, (home.lineage,), rows, there=node.bias)
    return world


def _settled(key: str, fresh: Iterator[int], neurons: int) -> Individuals:
    names = [next(fresh) for _ in range(neurons)]
    return Individuals(next(fresh), names, key, _numbered(names))


def _numbered(names: list[int]) -> dict[int, int]:
    return {name: index for index, name in enumerate(names)}


def _ends(world: World, leaf: Leaf) -> tuple[object, ...]:
    """A leaf goes on only between the same two sites, doing the same thing."""
    reads, writes = world.sites[leaf.reads.site], world.sites[leaf.writes.site]
    return (writes.lineage, reads.lineage, leaf.op)


def advance(world: World, before: Architecture, after: Architecture, edit: Edit) -> World:
    """The world after one more edit."""
    world = _joined(world, before, edit)
    result = World(_move_sites(world, before, after, edit), {}, {}, world.fresh)
    quiet = _quiet(before, edit)
    for leaf in leaves(after):
        old = world.leaves.get(_former(leaf.path, edit))
        ends = _ends(result, leaf)
        known = (
            _went_on(old, leaf, result) if old and old.ends == ends else _born(leaf, result, quiet(leaf.path))
        )
        known.ends = ends
        result.leaves[leaf.path] = known
    for node in live_nodes(after):
        old, home = world.biases.get(_former(node.path, edit)), result.sites[node.writes.site]
        eye = node.leaf is not None and node.leaf.identity_init
        labels: dict[int, Label] = dict.fromkeys(home.names, QUIET if eye else NEW)
        known = Known(None, (home.lineage,), labels, there=node.bias)
        if old and old.ends == (home.lineage,):
            known = replace(old, rows={name: old.rows.get(name, NEW) for name in home.names})
        result.biases[node.path] = known
    _part(result, after)
    return result


def _joined(world: World, before: Architecture, edit: Edit) -> World:
    """A layer becomes an identity: in all that read or wrote its neurons, the stream's take their places."""
    if not isinstance(edit, Set) or edit.new != "identity":
        return world
    node = next(node for node in nodes(before) if node.path == edit.path)
    own, stream = world.sites[node.writes.site], world.sites[node.reads.site]
    heirs = dict(zip(own.names, stream.names, strict=True))

    def inherited(known: Known) -> Known:
        writes, reads, *rest = known.ends
        rows, columns = known.rows, known.columns
        if writes == own.lineage:
            rows, writes = {heirs.get(name, name): label for name, label in rows.items()}, stream.lineage
        if reads == own.lineage:
            columns = {heirs.get(name, name): label for name, label in columns.items()}
            reads = stream.lineage
        return replace(known, ends=(writes, reads, *rest), rows=rows, columns=columns)

    leaves_now = {path: inherited(known) for path, known in world.leaves.items()}
    return World(world.sites, leaves_now, world.biases, world.fresh)


def _part(world: World, arch: Architecture) -> None:
    """A site that has left its stream is another one from now on."""
    lineages = [home.lineage for home in world.sites.values()]
    for home in world.sites.values():
        if lineages.count(home.lineage) == 2:
            home.lineage = next(world.fresh)
            break
    for leaf in leaves(arch):
        world.leaves[leaf.path].ends = _ends(world, leaf)
    for node in live_nodes(arch):
        world.biases[node.path].ends = (world.sites[node.writes.site].lineage,)


def _former(path: str, edit: Edit) -> str:
    if isinstance(edit, Rename) and path.split(".")[0] == edit.new:
        return edit.old + path[len(edit.new) :]
    return path


def _quiet(before: Architecture, edit: Edit) -> Callable[[str], bool]:
    """Which leaves are born silent: a restored shortcut, and what writes a residual's first neurons' sum."""
    silent = ""
    if isinstance(edit, RestoreShortcut):
        return lambda path: path == edit.path
    if isinstance(edit, AddNeurons) and edit.site.endswith(".hidden"):
        node = next(node for node in nodes(before) if node.hidden_site == edit.site)
        silent = node.path if node.hidden == 0 else ""
    return lambda path: silent != "" and _only_seconds(path, silent)


def _only_seconds(path: str, node: str) -> bool:
    """`path` is `node.second`, `node.second.second`, …: what writes the node's output."""
    rest = path.removeprefix(f"{node}.").split(".")
    return path.startswith(f"{node}.") and set(rest) == {"second"}


def _move_sites(
    world: World, before: Architecture, after: Architecture, edit: Edit
) -> dict[str, Individuals]:
    moved = {"input": world.sites["input"]}
    for key, site in sites(after).items():
        home = world.sites.get(_former(key, edit))
        if home is None and isinstance(edit, Set) and edit.old == "identity" and key == f"{edit.path}.width":
            stream = next(node.writes.site for node in nodes(before) if node.path == edit.path)
            home = world.sites[stream]
            if stream == "input":  # the data's neurons were never ours
                home = replace(home, source=None, labels={})
        if home is None:
            names = [next(world.fresh) for _ in range(site.neurons)]
            home = Individuals(next(world.fresh), names, None, {})
        moved[key] = replace(home, names=list(home.names))
    if isinstance(edit, AddNeurons):
        for at in edit.at:
            moved[edit.site].names.insert(at, next(world.fresh))
    if isinstance(edit, RemoveNeurons):
        for at in reversed(edit.at):
            del moved[edit.site].names[at]
    return moved


def _went_on(old: Known, leaf: Leaf, world: World) -> Known:
    rows = {name: old.rows.get(name, NEW) for name in world.sites[leaf.writes.site].names}
    columns = {name: old.columns.get(name, NEW) for name in world.sites[leaf.reads.site].names}
    return replace(old, rows=rows, columns=columns)


def _born(leaf: Leaf, world: World, quiet: bool) -> Known:
    outputs, inputs = world.sites[leaf.writes.site].names, world.sites[leaf.reads.site].names
    rows: dict[int, Label] = dict.fromkeys(outputs, QUIET if quiet else NEW)
    columns: dict[int, Label] = dict.fromkeys(inputs, BORN)
    if leaf.identity_init and not quiet:
        rows = {name: ("eye", index) for name, index in _numbered(outputs).items()}
        columns = {name: ("eye", index) for name, index in _numbered(inputs).items()}
    return Known(None, (), rows, columns, leaf.kernel, leaf.norm, leaf.reads.columns)
