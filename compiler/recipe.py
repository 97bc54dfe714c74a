"""What an edit list means for each leaf, bias and site: where every row and column comes from (DESIGN §5).

A recipe is compiled once from the edits and then applied alike to weights, norm statistics,
optimizer moments, ages and importances.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nhnas.compiler.edit_runs import runs
from nhnas.compiler.marks import (
    NEW,
    QUIET,
    RANDOM,
    IndexMap,
    chain,
    constant,
    identity_marks,
    same,
    with_new,
    without,
)
from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons, Rename, RestoreShortcut, Set
from nhnas.spec.model import Architecture
from nhnas.spec.shapes import INPUT
from nhnas.spec.structure import Leaf, NodeView, leaves, live_nodes, nodes, sites


@dataclass(frozen=True, slots=True)
class LeafRecipe:
    """One leaf: `rows` over its outputs, `columns` over the neurons it reads.

    `source` is the path it had before, None for a leaf that starts anew. `kernel`, `norm` and `span`
    (features that a neuron it reads is, several behind a flatten) are those it had there: what becomes of
    them depends on what they are in the end alone, whatever they were in between (`tensor_plan`).
    """

    source: str | None
    rows: IndexMap
    columns: IndexMap
    kernel: int
    norm: str
    span: int


@dataclass(frozen=True, slots=True)
class RowRecipe:
    """A node's bias, or the neurons of a site.

    `there` is False where the node had no bias, as `source` or, without one, at its birth.
    """

    source: str | None
    rows: IndexMap
    there: bool = True


@dataclass(frozen=True, slots=True)
class Recipe:
    """Leaves by path, biases by their node's path, sites by key; all of the new architecture.

    Nodes without a bias have a recipe of one: a later edit of the list may give it back.
    """

    leaves: dict[str, LeafRecipe]
    biases: dict[str, RowRecipe]
    sites: dict[str, RowRecipe]


def compile_recipe(old: Architecture, edits: Sequence[Edit]) -> tuple[Architecture, Recipe]:
    """The new architecture and the composed recipe of a list of edits."""
    arch, recipe = old, None
    for run, after in runs(old, edits):
        step = _of_run(arch, after, run)
        recipe = step if recipe is None else compose(recipe, step)
        arch = after
    return arch, unchanged(old) if recipe is None else recipe


def unchanged(arch: Architecture) -> Recipe:
    """The recipe of no edit."""
    return Recipe(
        {leaf.path: _kept_whole(leaf) for leaf in leaves(arch)},
        {node.path: RowRecipe(node.path, same(node.writes.neurons), node.bias) for node in live_nodes(arch)},
        {key: RowRecipe(key, same(site.neurons)) for key, site in sites(arch).items()},
    )


def from_nothing(arch: Architecture) -> Recipe:
    """The recipe of an untrained network: everything starts anew."""
    return Recipe(
        {leaf.path: _anew(leaf, quiet=False) for leaf in leaves(arch)},
        {node.path: _new_bias(node) for node in live_nodes(arch)},
        {key: RowRecipe(None, constant(site.neurons, NEW)) for key, site in sites(arch).items()},
    )


def compose(first: Recipe, second: Recipe) -> Recipe:
    """`second` after `first`, as one recipe."""
    return Recipe(
        {path: _compose_leaf(first, leaf) for path, leaf in second.leaves.items()},
        {path: _compose_rows(first.biases, rows) for path, rows in second.biases.items()},
        {key: _compose_rows(first.sites, rows) for key, rows in second.sites.items()},
    )


def _compose_leaf(first: Recipe, leaf: LeafRecipe) -> LeafRecipe:
    if leaf.source is None:
        return leaf
    before = first.leaves[leaf.source]
    rows, columns = chain(before.rows, leaf.rows), chain(before.columns, leaf.columns)
    return replace(before, rows=rows, columns=columns)


def _compose_rows(first: dict[str, RowRecipe], rows: RowRecipe) -> RowRecipe:
    if rows.source is None:
        return rows
    before = first[rows.source]
    return RowRecipe(before.source, chain(before.rows, rows.rows), before.there)


def _kept_whole(leaf: Leaf) -> LeafRecipe:
    return _of(leaf, leaf.path, same(leaf.writes.neurons), same(leaf.reads.neurons))


def _of(leaf: Leaf, source: str | None, rows: IndexMap, columns: IndexMap) -> LeafRecipe:
    return LeafRecipe(source, rows, columns, leaf.kernel, leaf.norm, leaf.reads.columns)


def unheard(arch: Architecture, recipe: Recipe) -> frozenset[str]:
    """Leaves born silent into a node that nothing else writes any more: there are no outputs to preserve.

    Where a shortcut and a residual change places the node would be silent as a whole, and under a ReLU many
    of its neurons for ever.
    """
    quiet = {path for path, leaf in recipe.leaves.items() if leaf.source is None and QUIET in leaf.rows}
    if not quiet:
        return frozenset()
    known = (n for n in live_nodes(arch) if not n.identity and recipe.biases[n.path].source is not None)
    writers = ({leaf.path for leaf in node.writers()} for node in known)
    return frozenset().union(*(paths for paths in writers if paths <= quiet))


def settled(leaf: Leaf, recipe: LeafRecipe, is_unheard: bool = False) -> LeafRecipe:
    """What a leaf is in the end: it starts anew where a neuron that it reads is not as many features.

    One that `is_unheard` is born like any other.
    """
    if is_unheard:
        born = np.where(recipe.rows == QUIET, NEW, recipe.rows)
        return _anew(leaf, quiet=False) if leaf.identity_init else replace(recipe, rows=born)
    if recipe.source is None or recipe.span == leaf.reads.columns:
        return recipe
    if leaf.identity_init:
        return _anew(leaf, quiet=False)
    rows = np.where(recipe.rows < 0, recipe.rows, NEW)
    columns = np.where(recipe.columns < 0, recipe.columns, RANDOM)
    return _of(leaf, None, rows, columns)


def _anew(leaf: Leaf, quiet: bool) -> LeafRecipe:
    """A leaf that starts anew."""
    outputs, inputs = leaf.writes.neurons, leaf.reads.neurons
    rows, columns = constant(outputs, QUIET if quiet else NEW), constant(inputs, RANDOM)
    if leaf.identity_init and not quiet:
        rows, columns = identity_marks(outputs), identity_marks(inputs)
    return _of(leaf, None, rows, columns)


def settled_bias(node: NodeView, recipe: RowRecipe) -> RowRecipe:
    """What a bias is in the end: it starts anew where its node had none, also at its birth."""
    return recipe if recipe.there else _new_bias(node)


def _new_bias(node: NodeView) -> RowRecipe:
    """A bias that starts anew; beside a leaf born as the identity it is 0, or the node were not one."""
    born_identity = node.leaf is not None and node.leaf.identity_init
    return RowRecipe(None, constant(node.writes.neurons, QUIET if born_identity else NEW), node.bias)


def _of_run(before: Architecture, after: Architecture, run: Sequence[Edit]) -> Recipe:
    """The recipe of one edit, or of several that touch different things (`nhnas.compiler.edit_runs`)."""
    edit = run[0]
    origins = _site_origins(before, after, run)
    old_leaves = {leaf.path: leaf for leaf in leaves(before)}
    old_nodes = {node.path: node for node in live_nodes(before)}
    quiet = _quiet_paths(before, after, run)
    joined = _joined(before, edit)
    return Recipe(
        {
            leaf.path: _leaf(leaf, old_leaves, origins, edit, joined, leaf.path in quiet)
            for leaf in leaves(after)
        },
        {node.path: _bias(node, old_nodes, origins, edit) for node in live_nodes(after)},
        {key: _own_neurons(origins[key]) for key in sites(after)},
    )


def _own_neurons(rows: RowRecipe) -> RowRecipe:
    """The data's site is none of ours: what leaves its stream begins with new neurons."""
    return RowRecipe(None, constant(len(rows.rows), NEW)) if rows.source == INPUT else rows


def _old_path(path: str, edit: Edit) -> str:
    """What a path was called before a renaming."""
    if not isinstance(edit, Rename):
        return path
    name, dot, rest = path.partition(".")
    return f"{edit.old if name == edit.new else name}{dot}{rest}"


def _joined(before: Architecture, edit: Edit) -> dict[str, str]:
    """Of a layer that joins a stream: its own site → the stream's, which takes its neurons' places."""
    if not isinstance(edit, Set) or edit.key != "shortcut" or edit.new != "identity":
        return {}
    node = next(node for node in nodes(before) if node.path == edit.path)
    return {node.writes.site: node.reads.site}


def _leaf(
    leaf: Leaf,
    old: dict[str, Leaf],
    origins: dict[str, RowRecipe],
    edit: Edit,
    joined: Mapping[str, str],
    quiet: bool,
) -> LeafRecipe:
    before = old.get(_old_path(leaf.path, edit))
    rows, columns = origins[leaf.writes.site], origins[leaf.reads.site]
    if before is None or not _continues(before, leaf, rows, columns, joined):
        return _anew(leaf, quiet)
    return _of(before, before.path, rows.rows, columns.rows)


def _continues(
    before: Leaf, after: Leaf, rows: RowRecipe, columns: RowRecipe, joined: Mapping[str, str]
) -> bool:
    """True where the leaf still connects the same two sites in the same way."""
    ends = (joined.get(port.site, port.site) for port in (before.writes, before.reads))
    same_ends = tuple(ends) == (rows.source, columns.source)
    return same_ends and before.op == after.op


def _bias(node: NodeView, old: dict[str, NodeView], origins: dict[str, RowRecipe], edit: Edit) -> RowRecipe:
    before, rows = old.get(_old_path(node.path, edit)), origins[node.writes.site]
    if before is None or before.writes.site != rows.source:
        return _new_bias(node)
    return RowRecipe(before.path, rows.rows, before.bias)


def _quiet_paths(before: Architecture, after: Architecture, run: Sequence[Edit]) -> frozenset[str]:
    """Leaves that must not be heard at first: what writes a node's output from its first neurons."""
    if isinstance(run[0], RestoreShortcut):
        return frozenset({run[0].path})
    old = sites(before)
    added = (edit.site for edit in run if isinstance(edit, AddNeurons) and edit.site.endswith(".hidden"))
    first = {site for site in added if site not in old or old[site].neurons == 0}
    if not first:
        return frozenset()
    opened = (node for node in nodes(after) if node.hidden_site in first)
    return frozenset(leaf.path for node in opened if node.second for leaf in node.second.writers())


def _site_origins(before: Architecture, after: Architecture, run: Sequence[Edit]) -> dict[str, RowRecipe]:
    """For every site of `after`, where its neurons were in `before`."""
    old, edit = sites(before), run[0]
    resized = {e.site: e for e in run if isinstance(e, AddNeurons | RemoveNeurons)}
    origins = {
        key: _origin(key, site.neurons, old, edit, resized.get(key)) for key, site in sites(after).items()
    }
    if isinstance(edit, Set) and edit.key == "shortcut" and "identity" in (edit.old, edit.new):
        origins |= _stream_origins(before, edit, origins)
    return {INPUT: RowRecipe(INPUT, same(after.input[0])), **origins}


def _origin(
    key: str, neurons: int, old: Container[str], edit: Edit, resized: AddNeurons | RemoveNeurons | None
) -> RowRecipe:
    source = _old_path(key, edit)
    if source not in old:
        return RowRecipe(None, constant(neurons, NEW))
    if resized is None:
        return RowRecipe(source, same(neurons))
    if isinstance(resized, AddNeurons):
        return RowRecipe(key, with_new(neurons, resized.at))
    return RowRecipe(key, without(neurons + len(resized.at), resized.at))


def _stream_origins(before: Architecture, edit: Set, origins: dict[str, RowRecipe]) -> dict[str, RowRecipe]:
    """A layer that leaves a stream takes its neurons along, and those of the identities behind it."""
    own = f"{edit.path}.width"
    if edit.old != "identity":
        return {}
    stream = next(node.writes.site for node in nodes(before) if node.path == edit.path)
    return {own: replace(origins[own], source=stream, rows=same(len(origins[own].rows)))}
