"""How added neurons begin: `search.newcomers`, and the gradient that gradmax makes as large as it can be.

Legend: B batch, I inputs, O outputs of the node, k kernel size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nhnas import search_step
from nhnas.base import load_base
from nhnas.compiler.build import build, grown
from nhnas.compiler.network import Network, Node
from nhnas.newcomers import SMALL, shrink_rows, start_newcomers
from nhnas.opening import begin
from nhnas.search.neuron_edits import additions
from nhnas.spec.config import Train
from nhnas.spec.document import read_document
from nhnas.spec.model import Architecture
from nhnas.spec.structure import NodeView, leaves, nodes, sites
from nhnas.trainer.gradmax import BATCHES, Sample, best_rows, fillers, first_samples, gradients, set_rows
from nhnas.work import Context, Work
from tests import tiny
from tests.laws.architectures import random_architecture
from tests.laws.exactness import without_dropout
from tests.laws.tensors import random_tensors
from tests.test_resume import check_every_batch, prepared

MODES = ("random", "small", "gradmax")
TRAIN = Train(loss="mse")
CASES = 80
"""Random architectures; each grows at about half of its open sites."""


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True)
class Growth:
    """A network before and after it grew, float64; `rows`: positions of the new neurons by site."""

    before: Network
    after: Network
    rows: Mapping[str, tuple[int, ...]]
    samples: tuple[Sample, ...]

    def begin(self, mode: str) -> int:
        """What `start_newcomers` does to the grown network."""
        if mode == "small":
            shrink_rows(self.after, self.rows, SMALL)
        return set_rows(self.after, self.samples, TRAIN, self.rows) if mode == "gradmax" else 0

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.after.tensors().items()}


def growth(arch: Architecture, counts: Mapping[str, int], seed: int) -> Growth:
    """`arch` with random weights and data, grown by so many neurons at each site."""
    weights, edits = random_tensors(arch, seed), additions(arch, counts)
    after, _, tensors = grown(arch, edits, weights, seed=seed, parent="p")
    before, draw = build(arch, weights).eval(), torch.Generator().manual_seed(seed)
    samples = []
    for size in (3, 5):
        inputs = torch.randn(size, *arch.input, generator=draw, dtype=torch.float64)
        targets = torch.randn(before(inputs).shape, generator=draw)
        samples.append((inputs, targets))
    rows = {edit.site: edit.at for edit in edits}
    return Growth(before, build(after, tensors), rows, tuple(samples))


def random_growth(seed: int) -> Growth:
    """Some neurons, up to ten a site, at half of the open sites of a random architecture."""
    rng = Random(seed)
    arch = random_architecture(rng)
    open_sites = [key for key, site in sites(arch).items() if site.open]
    return growth(arch, {key: rng.choice((1, 2, 10)) for key in open_sites if rng.random() < 0.5}, seed)


def filling(growth: Growth) -> dict[str, tuple[NodeView, tuple[int, ...]]]:
    """By the name of a weight whose rows gradmax may set: its node, and the new rows."""
    found = {}
    for node in nodes(growth.after.arch):
        if node.hidden_site in growth.rows and node.first is not None and node.first.leaf is not None:
            found[f"{node.first.path}.weight"] = node, growth.rows[node.hidden_site]
    return found


@pytest.mark.parametrize("mode", MODES)
def test_the_output_stays(mode: str) -> None:
    """On random architectures, in evaluation and, without dropout, in training."""
    grew = 0
    for seed in range(CASES):
        case = random_growth(seed)
        grew += bool(case.rows)
        case.begin(mode)
        for training in (False, True):
            old, new = (without_dropout_in(n, training) for n in (case.before, case.after))
            with torch.no_grad():
                for inputs, _ in case.samples:
                    expected, found = old(inputs), new(inputs)
                    scale = max(1.0, float(expected.abs().max()))
                    assert float((expected - found).abs().max()) <= 1e-12 * scale, seed
    assert CASES / 2 < grew


def without_dropout_in(network: Network, training: bool) -> Network:
    """The network in that mode; dropout would draw other numbers for more neurons."""
    without_dropout(network.train(training))
    return network


def test_small_scales_exactly_the_new_rows() -> None:
    """Every cell of a new neuron's rows is a tenth of what was drawn; the rest stays, in all bits."""
    scaled = 0
    for seed in range(CASES):
        case = random_growth(seed)
        expected = case.tensors()
        for leaf in leaves(case.after.arch):
            for row in case.rows.get(leaf.writes.site, ()):
                expected[f"{leaf.path}.weight"][row] *= SMALL
                scaled += 1
        case.begin("small")
        assert_same(expected, case.tensors(), seed)
    assert scaled > CASES


def assert_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], seed: int) -> None:
    """All bits."""
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), (seed, name)


def test_gradmax_sets_rows_of_hidden_neurons_and_nothing_else() -> None:
    """In leaves of `first`, at the size of the random row; zero cells stay zero, and all else stays bitwise.

    Statistics, gradients, modes and torch's random numbers are as before, and no hook is left.
    """
    total = 0
    for seed in range(CASES):
        case = random_growth(seed)
        drawn, random_state = case.tensors(), torch.get_rng_state()
        count = case.begin("gradmax")
        found, expected, changed = case.tensors(), dict(drawn), 0
        for name, (_, rows) in filling(case).items():
            for old, new in zip(drawn[name][list(rows)], found[name][list(rows)], strict=True):
                changed += not torch.equal(old, new)
                assert pytest.approx(float(old.norm()), rel=1e-12) == float(new.norm())
            blank = (drawn[name][list(rows)] == 0).all(0)
            assert not found[name][list(rows)][:, blank].any()
            expected[name] = drawn[name].clone()
            expected[name][list(rows)] = found[name][list(rows)]
        assert_same(expected, found, seed)
        assert count >= changed, seed  # a row of one cell may be the best one already
        total += changed
        assert torch.equal(random_state, torch.get_rng_state())
        assert all(module.training and not module._forward_hooks for module in case.after.modules())
        assert all(parameter.grad is None for parameter in case.after.parameters())
    assert total > CASES


CONV = """{name: a, op: conv, width: 4, stride: 2, residual: {hidden: 3, first: {kernel: %s, norm: %s}}}"""
NET = {
    "conv": ([2, 5, 5], [CONV % (3, "batch")], "a.hidden"),
    "kernel 1": ([4, 5, 5], [CONV % (1, "none")], "a.hidden"),
    "kernel 5": ([2, 6, 5], [CONV % (5, "batch")], "a.hidden"),
    "nested": (
        [2, 5, 5],
        [
            "{name: a, op: conv, width: 4, stride: 2, residual: {hidden: 3, act: gelu, first: {residual: "
            "{hidden: 2}}, second: {residual: {hidden: 1}}}}"
        ],
        "a.first.hidden",
    ),
    "second": (
        [2, 4, 4],
        ["{name: a, op: conv, width: 4, residual: {hidden: 3, second: {residual: {hidden: 1}}}}"],
        "a.second.hidden",
    ),
    "first neurons": ([2, 4, 4], ["{name: a, op: conv, width: 4, residual: {hidden: 0}}"], "a.hidden"),
    "stream": (
        [2, 4, 4],
        [
            "{name: s, op: conv, width: 3}",
            "{name: a, op: conv, shortcut: identity, act: relu, residual: {hidden: 2}}",
        ],
        "a.hidden",
    ),
    "dense": ([5], ["{name: a, op: dense, width: 4, act: tanh, residual: {hidden: 3}}"], "a.hidden"),
    "flatten": (
        [2, 3, 3],
        [
            "{name: s, op: conv, width: 2}",
            "{name: f, op: flatten}",
            "{name: a, op: dense, width: 4, norm: batch, residual: {hidden: 3}}",
        ],
        "a.hidden",
    ),
}
"""By what is special: input, layers before the head, and the site that grows."""


def written(form: str, folder: Path) -> tuple[Architecture, str]:
    """One of the networks above, and its site."""
    shape, layers, site = NET[form]
    pooled = len(shape) == 3 and form != "flatten"
    last = ["{name: p, op: global_avg_pool}"] if pooled else []
    return read_net(shape, [*layers, *last, "{name: head, op: dense, width: 3}"], folder), site


def read_net(shape: list[int], layers: Sequence[str], folder: Path) -> Architecture:
    """The architecture of such a file."""
    net = "".join(f"  - {layer}\n" for layer in layers)
    path = folder / "spec.yaml"
    path.write_text(f"format: 1\nname: x\ninput: {shape}\nnet:\n{net}")
    return read_document(path).architecture


def seen(network: Network, node: Node, samples: Sequence[Sample]) -> list[tuple[Any, Any]]:
    """Inputs of the node and the gradient of its output, of the loss summed over a batch's samples."""
    found: list[tuple[Tensor, Tensor]] = []

    def note(_: Any, arguments: Any, y: Tensor) -> None:
        y.retain_grad()
        found.append((arguments[0].detach(), y))

    handle = node.register_forward_hook(note)
    network.eval()
    for inputs, targets in samples:
        error = network(inputs).float() - targets
        (len(inputs) * error.square().mean()).backward()
    handle.remove()
    network.zero_grad()
    network.train()
    return [(x.numpy(), y.grad.numpy()) for x, y in found if y.grad is not None]


def slow_gradient(x: Any, g: Any, kernel: int, stride: int) -> Any:
    """Σ g·patchᵀ, pixel by pixel: [O, I, k, k] from x [B, I, H, W] and g [B, O, …], [O, I] from features."""
    if x.ndim == 2:
        return sum(np.outer(g[b], x[b]) for b in range(len(x)))
    total = np.zeros((g.shape[1], x.shape[1], kernel, kernel))
    for b, o, i, row, column in product(*map(range, (len(x), g.shape[1], x.shape[1], *g.shape[2:]))):
        for down, right in product(range(kernel), repeat=2):
            at = row * stride + down - kernel // 2, column * stride + right - kernel // 2
            if all(0 <= place < size for place, size in zip(at, x.shape[2:], strict=True)):
                total[o, i, down, right] += g[b, o, row, column] * x[b, i, at[0], at[1]]
    return total


def slow_matrix(case: Growth, site: str) -> Any:
    """M of a site [O, I·k·k] by loops."""
    node = next(node for node in fillers(case.after) if node.site == site)
    view = next(view for view in nodes(case.after.arch) if view.hidden_site == site)
    assert view.first is not None
    assert view.first.leaf is not None
    leaf = view.first.leaf
    parts = seen(case.after, node, case.samples)
    return sum(slow_gradient(x, g, leaf.kernel, leaf.stride) for x, g in parts)


@pytest.mark.parametrize("form", NET)
def test_the_matrix_is_that_of_the_loops(form: str, tmp_path: Path) -> None:
    """The gradient of the imaginary leaf beside the node, against sums over samples, pixels and cells."""
    arch, site = written(form, tmp_path)
    case = growth(arch, {site: 4}, 3)
    expected = slow_matrix(case, site)
    chosen = {node.site: node for node in fillers(case.after) if node.site == site}
    found = gradients(case.after, case.samples, TRAIN, chosen)[site].numpy()
    assert expected.shape == found.shape
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("form", NET)
def test_no_other_direction_has_a_larger_gradient(form: str, tmp_path: Path) -> None:
    """‖M w‖² is at least that of 200 random rows of the same size, and of those that were replaced.

    Two rows have orthogonal gradients, together at least as large as those of 200 random orthogonal pairs.
    """
    arch, site = written(form, tmp_path)
    case = growth(arch, {site: 2}, 3)
    matrix = slow_matrix(case, site).reshape(-1, case.after.tensors()[weight_of(site)][0].numel())
    at = list(case.rows[site])
    drawn = case.tensors()[weight_of(site)][at].flatten(1).numpy()
    assert 2 == case.begin("gradmax")
    rows = case.tensors()[weight_of(site)][at].flatten(1).numpy()
    gained = matrix @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T
    squares = (gained**2).sum(0)
    assert abs(float(gained[:, 0] @ gained[:, 1])) < 1e-6 * squares[0]
    others = np.random.default_rng(1).normal(size=(200, matrix.shape[1]))
    others = np.concatenate([others, drawn])
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    theirs = ((matrix @ others.T) ** 2).sum(0)
    assert squares[0] >= theirs.max()
    pairs = np.linalg.qr(np.random.default_rng(2).normal(size=(200, matrix.shape[1], 2)))[0]
    assert squares.sum() >= ((matrix @ pairs) ** 2).sum((1, 2)).max()


def weight_of(site: str) -> str:
    """The weight whose rows fill a hidden site."""
    return f"{site.removesuffix('hidden')}first.weight"


PLAIN = {
    "dense": ([5], ["{name: a, op: dense, width: 4, residual: {hidden: 3, act: tanh}}"]),
    "conv": (
        [2, 4, 4],
        [
            "{name: a, op: conv, width: 4, stride: 2, norm: none, residual: {hidden: 3, act: tanh, "
            "second: {kernel: 1}}}",
            "{name: p, op: global_avg_pool}",
        ],
    ),
}
"""Without norms, and nearly linear where hidden neurons are near zero."""


@pytest.mark.parametrize("form", PLAIN)
def test_outgoing_weights_see_the_gradient_that_was_promised(form: str, tmp_path: Path) -> None:
    """Of neurons that are as good as linear, backward gives M w, larger than for each of 200 random rows."""
    shape, layers = PLAIN[form]
    arch = read_net(shape, [*layers, "{name: head, op: dense, width: 3}"], tmp_path)
    case = growth(arch, {"a.hidden": 1}, 4)
    matrix = slow_matrix(case, "a.hidden").reshape(4, -1)
    case.begin("gradmax")
    tensors, (row,) = case.after.tensors(), case.rows["a.hidden"]
    size, draw = float(tensors["a.first.weight"][row].detach().norm()), torch.Generator().manual_seed(2)
    squares = []
    for number in range(201):
        with torch.no_grad():
            tensors["a.first.bias"][row] = 0.0
            weight = tensors["a.first.weight"][row]
            if number:
                weight.copy_(torch.randn(weight.shape, generator=draw))
            weight *= 1e-3 * size / weight.norm()
        found = outgoing_gradient(case, "a.second.weight", row)
        expected = matrix @ tensors["a.first.weight"][row].detach().flatten().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        squares.append(float((found**2).sum()))
    assert squares[0] >= max(squares[1:])


def outgoing_gradient(case: Growth, name: str, column: int) -> Any:
    """The gradient of a column, summed over samples."""
    case.after.zero_grad()
    for inputs, targets in case.samples:
        loss = (case.after.eval()(inputs) - targets).square().mean()
        (len(inputs) * loss).backward()
    gradient = case.after.tensors()[name].grad
    assert gradient is not None
    return gradient[:, column].reshape(len(gradient), -1).sum(1).numpy()


def test_more_newcomers_than_directions() -> None:
    """Each direction with both signs, the first with that of the random row; then the random rows stay."""
    draw = torch.Generator().manual_seed(1)
    gradient = torch.randn(2, 6, generator=draw, dtype=torch.float64)
    old = torch.randn(7, 6, generator=draw, dtype=torch.float64)
    rows, count = best_rows(gradient, old)
    assert 4 == count
    assert torch.equal(old[4:], rows[4:])
    units = rows[:4] / rows[:4].norm(dim=1, keepdim=True)
    torch.testing.assert_close(units[2:], -units[:2])
    torch.testing.assert_close(rows.norm(dim=1), old.norm(dim=1))
    assert ((units[:2] * old[:2]).sum(1) > 0).all()
    values = torch.linalg.svdvals(gradient)
    torch.testing.assert_close((gradient @ units[:2].T).norm(dim=0), values)


def test_columns_of_other_newcomers_stay_zero() -> None:
    """They are left out before the best direction is sought, not cut from it afterwards."""
    draw = torch.Generator().manual_seed(1)
    gradient = torch.randn(3, 5, 3, 3, generator=draw, dtype=torch.float64)
    old = torch.randn(2, 5, 3, 3, generator=draw, dtype=torch.float64)
    gradient[:, 4], old[:, 4] = 100.0, 0.0
    rows, count = best_rows(gradient, old)
    expected, _ = best_rows(gradient[:, :4], old[:, :4])
    assert 2 == count
    assert not rows[:, 4].any()
    torch.testing.assert_close(expected, rows[:, :4])


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_rows_stay_random_without_a_gradient(value: float) -> None:
    """Where M is zero or has an entry that is not finite."""
    gradient, old = torch.full((2, 3), value, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)
    gradient[0, 0] = max(value, 0.0) if value == value else 1.0
    rows, count = best_rows(gradient, old)
    assert 0 == count
    assert torch.equal(old, rows)


def test_rounding_is_no_direction() -> None:
    """A singular value a millionth of the largest is what float32 leaves of zero."""
    gradient = torch.diag(torch.tensor([1.0, 1e-2, 1e-6], dtype=torch.float64))
    assert 4 == best_rows(gradient, torch.ones(6, 3, dtype=torch.float64))[1]


def test_a_lost_loss_leaves_the_rows_random(tmp_path: Path) -> None:
    """Targets that are no numbers give gradients that are none; nothing is set, and nothing raised."""
    case = growth(written("dense", tmp_path)[0], {"a.hidden": 2}, 1)
    before, samples = case.tensors(), [(x, y * float("nan")) for x, y in case.samples]
    assert 0 == set_rows(case.after, samples, TRAIN, case.rows)
    assert_same(before, case.tensors(), 0)


def of_mode(text: str, mode: str) -> str:
    """A spec of tests/tiny.py whose newcomers begin like that."""
    return text.replace("search: {", f"search: {{newcomers: {mode}, ")


def fresh_work(spec: Path) -> Work:
    """The work on the next version, before it grows."""
    document = read_document(spec)
    base = load_base(document, spec)
    return begin(Context(spec, tiny.Counting()), base, {}, base.version + 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", [tiny.DENSE, tiny.CONV], ids=["dense", "conv"])
def test_a_growth_changes_no_prediction(mode: str, text: str, tmp_path: Path) -> None:
    """Neither the growth that is recorded, with its rows set, nor the steps around it."""
    spec = tiny.make(tmp_path / "work", of_mode(text, mode))
    for _ in range(2):
        (saved,) = tiny.step(spec)
        assert (0, True) == (saved.changed, saved.max_change < 1e-5)
    work = fresh_work(spec)
    added = additions(work.arch, {key: 5 for key, site in sites(work.arch).items() if site.open})
    before = work.probe()
    work.edit(added, "grow", then=lambda: start_newcomers(work, added))
    (change,) = work.changes
    assert ("grow", 0, True) == (change["stage"], change["changed"], change["max_change"] < 1e-6)
    torch.testing.assert_close(work.probe(), before, rtol=0.0, atol=1e-6)


def test_the_same_neurons_come_in_every_mode(tmp_path: Path) -> None:
    """The modes differ in weights, not in what is added; `random` is what a file without the key gets."""
    states, edits = [], []
    for mode in (*MODES, ""):
        text = of_mode(tiny.DENSE, mode) if mode else tiny.DENSE
        (saved,) = tiny.step(tiny.make(tmp_path / f"mode {mode}", text))
        states.append(saved.state)
        edits.append([edit for edit in saved.edits if edit["kind"] == "add_neurons"])
    assert 3 == len(set(states))
    assert states[0] == states[3]
    assert [edits[0]] * 4 == edits


def test_the_recorded_change_covers_what_became_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If newcomers were heard at once, the version would say so."""

    def spoil(work: Work, _: object) -> None:
        work.engine.network.tensors()["head.weight"].detach().neg_()

    monkeypatch.setattr(search_step, "start_newcomers", spoil)
    (saved,) = tiny.step(tiny.make(tmp_path / "work"))
    assert saved.max_change > 1e-3


def test_the_samples_are_the_first_of_the_version(tmp_path: Path) -> None:
    """Four batches, not augmented, the same each time, and others for the next version."""
    text = tiny.CONV.replace("batch: 10", "batch: 3")
    spec = tiny.make(tmp_path / "work", text)
    engine = fresh_work(spec).engine
    found, again = list(first_samples(engine)), list(first_samples(engine))
    assert BATCHES == len(found) < engine.batch_count
    assert all(
        torch.equal(x, y) for pair in zip(found, again, strict=True) for x, y in zip(*pair, strict=True)
    )
    drawn = [batch.samples for batch in islice(engine.batches(0, 0), BATCHES)]
    split, mean, std = engine.dataset.train, engine.dataset.mean, engine.dataset.std
    assert mean is not None
    assert std is not None
    for (inputs, targets), samples in zip(found, drawn, strict=True):
        plain = split.inputs[samples].float() / 255
        torch.testing.assert_close((plain - mean[:, None, None]) / std[:, None, None], inputs)
        assert torch.equal(split.targets[samples], targets)
    tiny.step(spec)
    other = next(first_samples(fresh_work(spec).engine))[1]
    assert not torch.equal(found[0][1], other)


@pytest.mark.parametrize(("text", "every"), [(tiny.DENSE, 2), (tiny.CONV, 3)], ids=["dense", "conv"])
def test_a_gradmax_step_stopped_anywhere(text: str, every: int, tmp_path: Path) -> None:
    """Continued, it ends in the same bytes as the step that was never stopped."""
    check_every_batch(tiny.step, prepared(tmp_path, of_mode(text, "gradmax"), 1), every=every)


def test_a_step_killed_right_behind_gradmax(tmp_path: Path) -> None:
    """Before the first batch was saved: the same directions are found again."""
    spec = tiny.make(tmp_path / "start", of_mode(tiny.CONV, "gradmax"))
    other = tiny.make(tmp_path / "other", of_mode(tiny.CONV, "gradmax"))
    expected = tiny.step(spec)[0].state
    lines = tiny.Counting()

    def dying(text: str) -> None:
        lines.lines.append(text)
        if text.startswith("newcomers"):
            raise KeyboardInterrupt

    lines.say = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        tiny.step(other, lines)
    assert "by gradmax" in lines.lines[-1]
    assert expected == tiny.step(other)[0].state
    assert tiny.outcome(spec) == tiny.outcome(other)
