"""What makes a growth cheap changes nothing: the same values, no more memory shared than is said."""

from __future__ import annotations

import copy
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nhnas.compiler.axis_moves import AxisMoves, moved, moved_vectors
from nhnas.compiler.build import build, carried, initial_weights
from nhnas.compiler.keyed_random import BATCH, Draw, key_of, uniform, uniforms
from nhnas.compiler.marks import IndexMap, same, with_new
from nhnas.compiler.norms import empty_norm
from nhnas.compiler.one_thread import one_thread
from nhnas.compiler.recipe import compile_recipe, compose, unchanged
from nhnas.spec.by_identity import SIZE, remembered
from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture
from nhnas.spec.resnet import resnet
from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer

SEEDS = st.integers(0, 10**6)
CASES = settings(max_examples=100, deadline=None, derandomize=True)
ADAM = OptimizerSettings("adam", 1e-3)


def arch() -> Architecture:
    return resnet(3, 1, 4)


def edits() -> list[Edit]:
    return [
        AddNeurons(site="stem.width", at=(0, 4)),
        AddNeurons(site="stage2_block1.hidden", at=(6, 7)),
        RemoveNeurons(site="stage3_block1.hidden", at=(2,)),
    ]


def optimizer_of(network: nn.Module, state: dict[str, torch.Tensor] | None = None) -> Optimizer:
    return make_optimizer(network.trained(), ADAM, state)  # type: ignore[operator]


def stepped(optimizer: Optimizer) -> Optimizer:
    draw = torch.Generator().manual_seed(0)
    for parameter in optimizer.parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimizer.step()
    return optimizer


def random_map(rng: Random, old: int) -> IndexMap:
    """Some old indices in a random order, with marks between them."""
    kept = rng.sample(range(old), rng.randint(0, old))
    index = sorted(kept) if rng.random() < 0.7 else kept
    for _ in range(rng.randint(0, 4)):
        index.insert(rng.randint(0, len(index)), rng.choice([-1, -2, -3]))
    return np.array(index, dtype=np.int64)


@CASES
@given(seed=SEEDS)
def test_cells_move_one_by_one(seed: int) -> None:
    """Every kept cell of a tensor is at its new place, every other one is the fill; the memory is new."""
    rng = Random(seed)
    shape = [rng.randint(1, 5) for _ in range(rng.choice([1, 2, 4]))]
    old = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    maps = tuple(random_map(rng, size) for size in shape)
    found = moved(old, AxisMoves().of(maps), 7.0)
    assert found.is_contiguous()
    assert tuple(index.size for index in maps) == found.shape
    for cell in np.ndindex(*found.shape):
        source = [int(index[i]) for index, i in zip(maps, cell, strict=True)]
        assert (7.0 if min(source) < 0 else float(old[tuple(source)])) == float(found[cell])
    assert found.untyped_storage().data_ptr() != old.untyped_storage().data_ptr()


@CASES
@given(seed=SEEDS)
def test_vectors_move_together_as_they_would_alone(seed: int) -> None:
    """One gather over vectors of several types gives each what it would get by itself."""
    rng = Random(seed)
    sizes = [rng.randint(0, 6) for _ in range(rng.randint(0, 5))]
    olds = [torch.arange(n).to(rng.choice([torch.float32, torch.float64, torch.int64])) for n in sizes]
    maps = [random_map(rng, size) for size in sizes]
    ones = [rng.random() < 0.5 for _ in sizes]
    found = moved_vectors(olds, maps, ones)
    for old, index, one, tensor in zip(olds, maps, ones, found, strict=True):
        expected = moved(old, AxisMoves().of((index,)), float(one))
        assert expected.dtype == tensor.dtype
        assert expected.tolist() == tensor.tolist()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_numbers_drawn_together_are_those_drawn_alone(seed: int) -> None:
    """Sharing passes over memory changes no bit of any number, wherever a batch ends."""
    rng = Random(seed)
    draws = [
        Draw(
            key_of(seed, at),
            np.array(sorted(rng.sample(range(99), rng.randint(0, 9))), dtype=np.int64),
            rng.choice([0, 1, 2, 300, BATCH // 16]),
        )
        for at in range(rng.randint(0, 12))
    ]
    found = list(uniforms(draws))
    assert len(draws) == len(found)
    for draw, values in zip(draws, found, strict=True):
        expected = uniform(draw.key, draw.rows, np.arange(draw.columns))
        assert expected.shape == values.shape
        assert expected.tobytes() == values.tobytes()


def test_numbers_drawn_are_what_they_always_were() -> None:
    """Snapshots of earlier releases grow to the same weights: three numbers, written down once."""
    (values,) = uniforms([Draw(key_of(1, "s0", "a.weight"), np.array([3], dtype=np.int64), 3)])
    assert EXPECTED == [float(value) for value in values[0]]


EXPECTED = [-0.4461509483597055, -0.4280573824911851, 0.8089819255352733]


def test_carrying_shares_no_memory_with_what_was_there() -> None:
    """The old network and optimizer may go on: no tensor of theirs is handed out, touched or not."""
    network = build(arch())
    optimizer = stepped(optimizer_of(network))
    old = network.tensors() | optimizer.entries()
    before = {key: tensor.detach().clone() for key, tensor in old.items()}
    after = carried(arch(), edits(), network.tensors(), optimizer.entries(), seed=1, parent="p")
    new = [*after.weights.values(), *after.optimizer.values()]
    assert not storages(old.values()) & storages(new)
    for tensor in new:
        tensor.detach().fill_(1)
    assert all(torch.equal(before[key], tensor) for key, tensor in old.items())


def test_carrying_leaves_the_number_of_threads() -> None:
    """It copies on one thread and gives the others back, also after an error."""
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    try:
        carried(arch(), edits(), build(arch()).tensors(), {}, seed=1, parent="p")
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError):
            carried(arch(), edits(), {}, {}, seed=1, parent="p")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def storages(tensors: object) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in tensors if t.numel()}  # type: ignore[attr-defined]


def test_the_recipe_of_one_run_is_the_composed_one() -> None:
    """What is not composed with the recipe of no edit is the same as if it had been."""
    _, found = compile_recipe(arch(), edits())
    composed = compose(unchanged(arch()), found)
    for path, leaf in composed.leaves.items():
        own = found.leaves[path]
        assert (leaf.source, leaf.kernel, leaf.norm, leaf.span) == (
            own.source,
            own.kernel,
            own.norm,
            own.span,
        )
        for part in ("rows", "columns"):
            assert getattr(leaf, part).tolist() == getattr(own, part).tolist()
    for rows in ("biases", "sites"):
        for key, row in getattr(composed, rows).items():
            own_row = getattr(found, rows)[key]
            assert (row.source, row.there) == (own_row.source, own_row.there)
            assert row.rows.tolist() == own_row.rows.tolist()


def test_an_adopting_module_copies_no_weight() -> None:
    """With `adopt` matrices are the module's own; without, and for vectors, the given ones stay apart."""
    given_tensors = initial_weights(arch(), 3)
    own = build(arch(), given_tensors, adopt=True).tensors()
    for name, tensor in given_tensors.items():
        assert torch.equal(tensor, own[name])
        assert (tensor.dim() > 1) == (tensor.data_ptr() == own[name].data_ptr()), name
    apart = build(arch(), given_tensors).tensors()
    assert not storages(given_tensors.values()) & storages(apart.values())


def test_an_adopting_module_converts_where_it_must() -> None:
    """Weights of another type, or not contiguous, are copied into what the module needs."""
    tensors = initial_weights(arch(), 3)
    name = "stage1_block1.first.weight"
    tensors[name] = tensors[name].to(memory_format=torch.channels_last)
    network = build(arch(), tensors, dtype=torch.float64, adopt=True)
    assert {torch.float64} == {p.dtype for p in network.parameters()}
    assert torch.equal(tensors[name].double(), network.tensors()[name])
    assert build(arch(), tensors, adopt=True).tensors()[name].is_contiguous()


def test_an_optimizer_takes_entries_over_without_a_copy() -> None:
    """The entries of `state` are the optimizer's own; what has none begins afresh, what is unknown stays."""
    network = build(arch())
    state = stepped(optimizer_of(network)).state()
    missing = {key: state.pop(key) for key in list(state) if key.startswith("head.weight")}
    found = optimizer_of(network, {**state, "gone:exp_avg": torch.ones(2)}).entries()
    assert {*state, *missing} == found.keys()
    assert all(found[key].data_ptr() == tensor.data_ptr() for key, tensor in state.items())
    assert not any(found[key].any() for key in missing)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "head.weight:exp_avg",
            torch.zeros(4, 3),
            r"head\.weight:exp_avg: expected float32 \[4, 12\], found",
        ),
        ("head.weight:age.rows", torch.zeros(4), r"age\.rows: expected int64 \[4\], found float32 \[4\]"),
        ("head.bias:age.rows", torch.tensor([1, -1, 0, 0]), r"head\.bias:age\.rows: .* found a negative one"),
    ],
)
def test_an_optimizer_takes_nothing_over_that_does_not_fit(
    key: str, value: torch.Tensor, message: str
) -> None:
    """An entry of another shape or type, or a negative age, is an InputError that names it."""
    with pytest.raises(InputError, match=message):
        optimizer_of(build(arch()), {key: value})


@pytest.mark.parametrize("maps", [True, False])
def test_an_empty_norm_is_torchs_own(maps: bool) -> None:
    """But for the values of its vectors it has all that torch's constructor gives, and nothing shared."""
    expected = (nn.BatchNorm2d if maps else nn.BatchNorm1d)(5)
    norms = [empty_norm(maps, 5), empty_norm(maps, 5)]
    assert type(expected) is type(norms[0])
    plain = {key: value for key, value in vars(expected).items() if key not in ("_parameters", "_buffers")}
    assert plain == {key: vars(norms[0])[key] for key in plain}
    assert vars(expected).keys() == vars(norms[0]).keys()
    shared = {id(v) for v in vars(norms[0]).values() if isinstance(v, dict | set)}
    assert not shared & {id(v) for v in vars(norms[1]).values() if isinstance(v, dict | set)}
    for entries in ("_parameters", "_buffers"):
        ours, theirs = vars(norms[0])[entries], vars(expected)[entries]
        assert [(k, type(t), t.shape, t.dtype) for k, t in theirs.items()] == [
            (k, type(t), t.shape, t.dtype) for k, t in ours.items()
        ]
    norms[0].load_state_dict(expected.state_dict())
    x = torch.randn(4, 5, 2, 2) if maps else torch.randn(4, 5)
    assert torch.equal(expected(x), norms[0](x))


def test_tensors_are_found_where_they_are_now() -> None:
    """A replaced parameter or buffer, and those of a moved or copied module, are what `tensors` gives."""
    network = build(arch())
    first = network.tensors()
    twin = copy.deepcopy(network)
    network.double()
    assert {torch.float64} == {t.dtype for t in network.tensors().values() if t.is_floating_point()}
    assert {torch.float32} == {t.dtype for t in twin.tensors().values() if t.is_floating_point()}
    assert list(first) == list(network.tensors()) == list(twin.tensors())
    own = {id(t) for t in [*twin.parameters(), *twin.buffers()]}
    assert own == {id(t) for t in twin.tensors().values()}


def test_results_are_remembered_by_object_and_by_value() -> None:
    """The same object is not even hashed, an equal one not computed again; old results give way."""
    calls: list[int] = []

    class Key:
        def __init__(self, value: int) -> None:
            self.value, self.hashed = value, 0

        def __hash__(self) -> int:
            self.hashed += 1
            return hash(self.value)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and other.value == self.value

    @remembered
    def double(key: Key) -> int:
        calls.append(key.value)
        return 2 * key.value

    first = Key(1)
    assert [2, 2, 2] == [double(first), double(first), double(Key(1))]
    assert [1] == calls
    hashed = first.hashed
    assert 2 == double(first)
    assert hashed == first.hashed
    kept = [Key(n) for n in range(2, SIZE + 3)]
    assert [2 * key.value for key in kept] == [double(key) for key in kept]
    assert 2 == double(Key(1))
    assert 2 == calls.count(1)


def test_one_map_is_looked_at_once() -> None:
    """Tensors that share a map share its move; maps that are equal but not the same are no mistake."""
    moves, index = AxisMoves(), with_new(4, (1,))
    assert moves.one(index) is moves.of((index, same(3)))[0]
    assert moves.one(with_new(4, (1,))) is not moves.one(index)
