"""The laws of DESIGN §5, each a function that raises AssertionError where it does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor

from nhnas.compiler import build as build_module
from nhnas.compiler import recipe as recipe_module
from nhnas.compiler import remap as remap_module
from nhnas.compiler.network import Network
from nhnas.compiler.recipe import Recipe, compile_recipe
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.spec.apply import apply
from nhnas.spec.diff import diff
from nhnas.spec.edits import AddNeurons, invert
from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, leaves, nodes, sites
from tests.laws.architectures import random_architecture, random_input
from tests.laws.case import Case
from tests.laws.edit_lists import fits, positions
from tests.laws.individuals import NEW, QUIET, Label, World, follow
from tests.laws.reading import Drawn, Old, due, holdings
from tests.laws.tensors import is_trained, numbered_tensors, random_state, random_tensors, shapes_of

SEED, PARENT = 5, "s0123456789abcdef"


def check_inverse(case: Case) -> None:
    """`apply(apply(a, e), e.inverse) == a` for each edit and for the list."""
    for before, after, edit in zip(case.steps, case.steps[1:], case.edits, strict=False):
        assert after == apply(before, edit), edit
        assert before == apply(after, edit.inverse), edit
        assert edit == edit.inverse.inverse
        assert case.arch == apply(case.after, invert(case.edits))


def check_diff(case: Case) -> None:
    """`apply(a, diff(a, b)) == b`, its inverse leads back, and nothing is left to be done."""
    for old, new in ((case.arch, case.after), (case.after, case.arch)):
        edits = diff(old, new)
        assert new == apply(old, edits), edits
        assert old == apply(new, invert(edits)), edits
        assert () == diff(new, new)


def unrelated_case(seed: int) -> Case:
    """The way between two architectures that share nothing but input and output."""
    rng = Random(seed)
    form = (random_input(rng), rng.randint(1, 5))
    old, new = random_architecture(rng, form), random_architecture(rng, form)
    return Case(seed, old, diff(old, new))


def check_module(case: Case) -> None:
    """Remapped names and shapes are those of the compiled module, and all that is trained is there once."""
    after, recipe, tensors = remapped(case, numbered_tensors(case.arch))
    module = Network(after)
    own = module.tensors()
    assert shapes_of(after) == {name: tuple(t.shape) for name, t in own.items()}
    assert shapes_of(after) == {name: tuple(t.shape) for name, t in tensors.items()}
    trained = module.trained()
    assert sorted(map(id, module.parameters())) == sorted(map(id, trained.values()))
    assert {name for name in own if is_trained(name)} == set(trained)
    assert {plan.name for plan in tensor_plans(after, recipe).values() if plan.trained} == set(trained)
    owned = {id(t) for t in (*module.parameters(), *module.buffers())}
    assert sorted(owned) == sorted(id(t) for t in own.values())


def check_fold(case: Case) -> None:
    """The composed recipe carries every cell where following single neurons, edit by edit, finds it."""
    old = numbered_tensors(case.arch)
    _, _, tensors = remapped(case, old)
    before = {name: tensor.tolist() for name, tensor in old.items()}
    found = {name: tensor.tolist() for name, tensor in tensors.items()}
    for name, index, holding in holdings(follow(case), case.after):
        value: Any = found[name]
        for position in index:
            value = value[position]
        expected = due(holding, before, (SEED, PARENT, name))
        assert expected == value, (name, index, holding, value)
        assert not isinstance(holding, Drawn) or abs(value) <= holding.bound


def check_sites(case: Case) -> None:
    """The composed recipe says of every neuron which one it was."""
    _, recipe = compile_recipe(case.arch, case.edits)
    world = follow(case)
    assert set(recipe.sites) == set(world.sites) - {"input"}
    for key, rows in recipe.sites.items():
        home = world.sites[key]
        assert home.source == rows.source, key
        assert [home.labels.get(name, -1) for name in home.names] == rows.rows.tolist(), key


def check_composition(case: Case) -> None:
    """Composing two parts of a list gives the whole, in every index and mark."""
    _, whole = compile_recipe(case.arch, case.edits)
    for cut in {0, Random(case.seed).randint(0, len(case.edits))}:
        middle, first = compile_recipe(case.arch, case.edits[:cut])
        _, second = compile_recipe(middle, case.edits[cut:])
        assert as_lists(whole) == as_lists(recipe_module.compose(first, second)), cut


def as_lists(recipe: Recipe) -> object:
    """A recipe as plain data that `==` compares."""
    own = {
        path: (leaf.source, leaf.rows.tolist(), leaf.columns.tolist(), leaf.kernel, leaf.norm, leaf.span)
        for path, leaf in recipe.leaves.items()
    }
    both = (recipe.biases, recipe.sites)
    rows = [{k: (r.source, r.rows.tolist(), r.there) for k, r in d.items()} for d in both]
    return own, rows


def check_new_neurons(case: Case) -> None:
    """No two new neurons of a site are equal, nor equal to an old one."""
    after, _, tensors = remapped(case, random_tensors(case.arch, case.seed))
    world = follow(case)
    for key, home in world.sites.items():
        rows = incoming(after, key, tensors)
        drawn = {r for r in range(len(home.names)) if is_drawn(case, world, key, r)}
        for row in drawn - {r for r, name in enumerate(home.names) if name in home.labels}:
            for other in drawn - {row}:
                assert not torch.equal(rows[row], rows[other]), (key, row, other)


def is_drawn(case: Case, world: World, site: str, row: int) -> bool:
    """The neuron hears something: not all that it reads came in the same list."""
    for leaf in leaves(case.after):
        if leaf.writes.site == site:
            known, home = world.leaves[leaf.path], world.sites[leaf.reads.site]
            label = known.rows[world.sites[site].names[row]]
            heard = any(known.columns[name] != NEW for name in home.names)
            if heard and not (label == QUIET and leaf.norm == "none"):
                return True
    return False


def incoming(arch: Architecture, site: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """[O, …] all weights into each neuron of a site."""
    own = [tensors[f"{leaf.path}.weight"].flatten(1) for leaf in leaves(arch) if leaf.writes.site == site]
    return torch.cat(own, 1) if own else torch.empty(0)


def check_order(case: Case) -> None:
    """Additions to several sites mean the same in any order and one neuron at a time."""
    rng = Random(case.seed)
    full = [key for key, site in sites(case.arch).items() if site.neurons and site_is_live(case.arch, key)]
    chosen = rng.sample(full, min(len(full), 3))
    sizes = {key: sites(case.arch)[key].neurons + 3 for key in chosen}
    together = [AddNeurons(site=key, at=positions(rng, sizes[key], 3)) for key in chosen]
    together = [edit for edit in together if fits(case.arch, edit)]
    singly = [AddNeurons(site=edit.site, at=(at,)) for edit in together for at in edit.at]
    shuffled = sorted(singly, key=lambda edit: (edit.at, edit.site))
    old = random_tensors(case.arch, case.seed)
    expected = remapped(Case(case.seed, case.arch, tuple(together)), old)
    for edits in (together[::-1], singly, shuffled):
        found = remapped(Case(case.seed, case.arch, tuple(edits)), old)
        assert expected[0] == found[0]
        for name, tensor in expected[2].items():
            assert torch.equal(tensor, found[2][name]), name


def site_is_live(arch: Architecture, site: str) -> bool:
    """False for the hidden sites inside an empty residual."""
    return all(node.live for node in nodes(arch) if node.hidden_site == site)


def check_optimizer(case: Case) -> None:
    """Kept entries are bitwise the old ones, new ones 0; nothing of the old state is shared or dead."""
    state = random_state(case.arch, case.seed)
    after, recipe = compile_recipe(case.arch, case.edits)
    moved = remap_module.remap_optimizer(tensor_plans(after, recipe), state)
    world = follow(case)
    expected = expected_state(case, world, state)
    assert set(expected) == set(moved)
    for key, tensor in moved.items():
        assert expected[key].shape == tensor.shape, key
        assert torch.equal(expected[key].view(torch.int64), tensor.view(torch.int64)), key
    old = {tensor.data_ptr() for tensor in state.values()}
    assert not old & {tensor.data_ptr() for tensor in moved.values()}


def expected_state(case: Case, world: World, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Moments cell by cell; the age of a row or column is the age of any of its cells' index."""
    shapes = shapes_of(case.after)
    result: dict[str, Tensor] = {}
    sources = {name: source for name, source in source_names(world).items() if is_trained(name)}
    for name, source in sources.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            result[f"{name}:{moment}"] = torch.zeros(shapes[name], dtype=torch.float64)
        result[f"{name}:age.rows"] = torch.zeros(shapes[name][:1], dtype=torch.int64)
        if len(shapes[name]) > 1:
            result[f"{name}:age.columns"] = torch.zeros(shapes[name][1:2], dtype=torch.int64)
        assert f"{source}:exp_avg" in state
    for name, index, holding in holdings(world, case.after):
        if name in sources and isinstance(holding, Old):
            for moment in ("exp_avg", "exp_avg_sq"):
                result[f"{name}:{moment}"][index] = state[f"{holding.name}:{moment}"][holding.index]
    for leaf in leaves(case.after):
        _ages(world, leaf, sources, state, result)
    for name in sources:
        if name.endswith(".bias") and ".norm." not in name:
            known = world.biases[name.removesuffix(".bias")]
            home = world.sites[next(n.writes.site for n in nodes(case.after) if f"{n.path}.bias" == name)]
            labels = [known.rows[neuron] for neuron in home.names]
            _pick(result[f"{name}:age.rows"], state[f"{sources[name]}:age.rows"], labels)
    return result


def source_names(world: World) -> dict[str, str]:
    """New tensor name → old tensor name, where the tensor goes on."""
    result = {}
    for path, known in world.leaves.items():
        if known.source is not None:
            result[f"{path}.weight"] = f"{known.source}.weight"
            if known.norm == "batch":
                result |= {f"{path}.norm.{e}": f"{known.source}.norm.{e}" for e in ("weight", "bias")}
    for path, known in world.biases.items():
        if known.source is not None:
            result[f"{path}.bias"] = f"{known.source}.bias"
    return result


def _ages(
    world: World,
    leaf: Leaf,
    sources: Mapping[str, str],
    state: Mapping[str, Tensor],
    result: dict[str, Tensor],
) -> None:
    known = world.leaves[leaf.path]
    rows = [known.rows[name] for name in world.sites[leaf.writes.site].names]
    for name in (f"{leaf.path}.weight", f"{leaf.path}.norm.weight", f"{leaf.path}.norm.bias"):
        if name in sources:
            _pick(result[f"{name}:age.rows"], state[f"{sources[name]}:age.rows"], rows)
    name = f"{leaf.path}.weight"
    if name in sources:
        per = leaf.reads.columns
        columns: list[Label] = []
        for neuron in world.sites[leaf.reads.site].names:
            label = known.columns[neuron]
            columns += [label * per + i if isinstance(label, int) else label for i in range(per)]
        _pick(result[f"{name}:age.columns"], state[f"{sources[name]}:age.columns"], columns)


def _pick(target: Tensor, source: Tensor, labels: Sequence[Label]) -> None:
    for index, label in enumerate(labels):
        if isinstance(label, int):
            target[index] = source[label]


def remapped(case: Case, old: Mapping[str, Tensor]) -> tuple[Architecture, Recipe, dict[str, Tensor]]:
    """All edits at once, through the function that everybody uses."""
    return build_module.grown(case.arch, case.edits, old, seed=SEED, parent=PARENT)
