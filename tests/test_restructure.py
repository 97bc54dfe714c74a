"""Which layers become non-linear or linear again, against a flat loop written from DESIGN §6."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from nhnas.search.restructure import Rule, restructure
from nhnas.spec.apply import apply
from nhnas.spec.edits import Collapse, Promote
from nhnas.spec.model import Architecture, Node, Residual
from nhnas.spec.paths import node_at
from nhnas.spec.structure import structure
from nhnas.spec.verify import verify

CASES = 400
Found = list[tuple[str, str, Residual]]


def of(net: list[dict[str, Any]], shape: tuple[int, ...] = (3,)) -> Architecture:
    """A sound architecture from plain data."""
    return verify(Architecture.model_validate({"input": shape, "net": net}))


def dense(name: str, width: int, hidden: int | None = None, **slots: Any) -> dict[str, Any]:
    """A dense layer, with a residual where `hidden` is given."""
    layer = {"name": name, "op": "dense", "width": width}
    return layer if hidden is None else layer | {"residual": {"hidden": hidden, **slots}}


def random_chain(rng: Random) -> Architecture:
    """Convolutions, then matrices; hidden sizes lie around the threshold, and many residuals are empty."""
    size = rng.choice([2, 3, 5])
    net: list[dict[str, Any]] = []
    for n in range(rng.randint(1, 3)):
        stride = rng.choice([1, 1, 2])
        net.append(random_layer(rng, "conv", f"c{n}") | {"stride": stride})
        if rng.random() < 0.4:
            net.append(random_layer(rng, "conv", f"i{n}") | {"shortcut": "identity"})
            del net[-1]["width"]
    net.append({"name": "end", "op": rng.choice(["flatten", "flatten", "global_avg_pool"])})
    net += [random_layer(rng, "dense", f"d{n}") for n in range(rng.randint(1, 2))]
    return of(net, (rng.randint(1, 3), size, size))


def random_layer(rng: Random, op: str, name: str) -> dict[str, Any]:
    return {"name": name, "op": op, "width": rng.randint(1, 6), **random_node(rng, 3, False)}


def random_node(rng: Random, depth: int, empty: bool) -> dict[str, Any]:
    if depth == 0 or rng.random() < 0.3:
        return {}
    hidden = 0 if empty or rng.random() < 0.3 else rng.choice([*range(1, 9), 12, 16, 27])
    residual: dict[str, Any] = {"hidden": hidden}
    residual |= {"act": "gelu"} if rng.random() < 0.2 else {}
    residual |= {"dropout": 0.5} if rng.random() < 0.2 else {}
    residual |= {"fixed": True} if rng.random() < 0.1 else {}
    for slot in ("first", "second"):
        residual[slot] = random_node(rng, depth - 1, hidden == 0)
    return {"residual": residual}


def ends_of_layers(arch: Architecture) -> Iterator[tuple[str, int, int]]:
    """Name, inputs and outputs of each chain node; behind a flatten a channel is as many inputs as pixels."""
    pixels = 1
    for view in structure(arch):
        if view.node is not None:
            yield view.layer.name, view.reads.neurons * pixels, view.writes.neurons
            pixels = 1
        elif view.layer.op == "flatten" and view.reads.map is not None:
            pixels = view.reads.map[0] * view.reads.map[1]


def paths_below(arch: Architecture, path: str) -> Iterator[str]:
    """`path`, then all paths inside it, parents first."""
    yield path
    if node_at(arch, path).residual is not None:
        for slot in ("first", "second"):
            yield from paths_below(arch, f"{path}.{slot}")


def holds_nothing(node: Node) -> bool:
    """No neuron in the residual or in any residual below."""
    r = node.residual
    return r is None or (r.hidden == 0 and holds_nothing(r.first) and holds_nothing(r.second))


def is_wide(hidden: int, inputs: int, outputs: int, rule: Rule) -> bool:
    """H > (I·O²)^(1/3), or the authors' form, in whole numbers."""
    if rule == "authors":
        low, high = sorted((inputs, outputs))
        return hidden > 1 and (hidden - 1) ** 3 > high * low * low
    return hidden**3 > inputs * outputs * outputs


def expected(arch: Architecture, rule: Rule) -> Found:
    """All nested paths in file order; each looks at its parent alone."""
    found: Found = []
    ends: dict[str, tuple[int, int]] = {}
    gone: list[str] = []
    for layer, inputs, outputs in ends_of_layers(arch):
        for path in paths_below(arch, layer):
            parent, _, slot = path.rpartition(".")
            if not parent:
                ends[path] = (inputs, outputs)
                continue
            around = node_at(arch, parent).residual
            assert around is not None
            ends[path] = (
                (ends[parent][0], around.hidden) if slot == "first" else (around.hidden, ends[parent][1])
            )
            wide, here = is_wide(around.hidden, *ends[parent], rule), node_at(arch, path)
            if any(path.startswith(f"{taken}.") for taken in gone):
                continue
            if here.residual is None and wide and not around.fixed:
                opened = Residual(hidden=0, act=around.act, dropout=around.dropout)
                found.append(("promote", path, opened))
            if here.residual is not None and not wide and holds_nothing(here) and not here.residual.fixed:
                gone.append(path)
                found.append(("collapse", path, here.residual))
    return found


def actual(arch: Architecture, rule: Rule) -> Found:
    """What the program does, in the same form."""
    edits = restructure(arch, rule)
    assert all(isinstance(edit, Promote | Collapse) for edit in edits)
    return [(edit.kind, edit.path, edit.residual) for edit in edits if isinstance(edit, Promote | Collapse)]


@pytest.mark.parametrize("rule", ["auto", "authors"])
def test_random_chains(rule: Rule) -> None:
    """400 random architectures: the same edits as the loop, and once applied there is nothing left to do."""
    kinds = []
    for seed in range(CASES):
        arch = random_chain(Random(seed))
        assert expected(arch, rule) == actual(arch, rule), f"seed {seed}"
        kinds += [kind for kind, _, _ in actual(arch, rule)]
        assert () == restructure(apply(arch, restructure(arch, rule)), rule), f"seed {seed}"
    assert CASES / 4 < kinds.count("promote")
    assert CASES / 4 < kinds.count("collapse")


@pytest.mark.parametrize(
    ("inputs", "outputs", "first_wide", "first_wide_authors"),
    [
        (2, 2, 3, 4),  # (2·4)^(1/3) is exactly 2, and 2 is not more than 2
        (3, 3, 4, 5),
        (6, 6, 7, 8),
        (8, 8, 9, 10),
        (100, 100, 101, 102),
        (1, 8, 5, 4),  # (1·64)^(1/3) = 4; the authors: (8·1)^(1/3) + 1 = 3
        (8, 1, 3, 4),  # (8·1)^(1/3) = 2; the authors: 3
        (2, 3, 3, 4),  # 18^(1/3) = 2.62; the authors: 12^(1/3) + 1 = 3.29
        (784, 10, 43, 44),  # 78400^(1/3) = 42.8
    ],
)
def test_the_threshold(inputs: int, outputs: int, first_wide: int, first_wide_authors: int) -> None:
    """The smallest hidden size that promotes, by hand; one neuron less does nothing."""
    rules: tuple[tuple[Rule, int], ...] = (("auto", first_wide), ("authors", first_wide_authors))
    for rule, least in rules:
        for hidden, count in ((least - 1, 0), (least, 2)):
            arch = of([dense("a", outputs, hidden)], (inputs,))
            assert count == len(restructure(arch, rule)), (rule, hidden)


def test_whole_numbers_decide() -> None:
    """Where I = O, every size up to 300 promotes exactly above I, as no cube root of a float does."""
    for size in range(1, 301):
        wide = [bool(restructure(of([dense("a", size, hidden)], (size,)))) for hidden in (size, size + 1)]
        assert [False, True] == wide, size


def test_columns_behind_a_flatten_are_inputs() -> None:
    """Behind a flatten of 2 channels of 3×3, I is 18 and not 2: (18·4)^(1/3) = 4.16."""
    stem = {"name": "stem", "op": "conv", "width": 2}
    flat = {"name": "flat", "op": "flatten"}
    for hidden, paths in ((4, []), (5, ["head.first", "head.second"])):
        arch = of([stem, flat, dense("head", 2, hidden)], (1, 3, 3))
        assert paths == [path for _, path, _ in actual(arch, "auto")]


def test_an_opened_node_works_like_the_one_around_it() -> None:
    """The new residual is empty and has the activation and the dropout of its parent."""
    arch = of([dense("a", 2, 9, act="tanh", dropout=0.25, first={"residual": {"hidden": 1}})])
    opened = Residual(hidden=0, act="tanh", dropout=0.25)
    assert [("promote", "a.second", opened)] == actual(arch, "auto")


def test_a_nested_node_stays_open_only_while_its_parent_is_wide() -> None:
    """An empty nested residual goes when its parent is narrow; with a neuron in it, it stays."""
    empty, taken = {"residual": {"hidden": 0}}, {"residual": {"hidden": 1}}
    wide = of([dense("a", 2, 9, first=empty, second=taken)])
    narrow = of([dense("a", 2, 2, first=empty, second=taken)])
    assert [] == actual(wide, "auto")
    assert [("collapse", "a.first", Residual(hidden=0))] == actual(narrow, "auto")


def test_a_fixed_residual_stays_as_it_is() -> None:
    """However wide, nothing opens in it, so that a network of fixed layers trains only."""
    assert [] == actual(of([dense("a", 2, 9, fixed=True)]), "auto")
    assert 2 == len(actual(of([dense("a", 2, 9)]), "auto"))


def test_a_chain_layer_keeps_what_its_author_wrote() -> None:
    """An empty residual of a chain layer stays; what is nested in it goes, as a whole."""
    inner = {"residual": {"hidden": 0, "first": {"residual": {"hidden": 0}}}}
    arch = of([dense("a", 2, 0, second=inner), dense("b", 2, 0), dense("c", 2)])
    found = actual(arch, "auto")
    assert [("collapse", "a.second")] == [(kind, path) for kind, path, _ in found]
    after = apply(arch, restructure(arch))
    assert of([dense("a", 2, 0), dense("b", 2, 0), dense("c", 2)]) == after
