"""Gradmax: new rows for which the gradient of the outgoing weights is as large as it can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nhnas.spec.document import read_document
from nhnas.spec.model import Architecture
from nhnas.spec.structure import NodeView, nodes
from nhnas.trainer.gradmax import best_rows, fillers, gradients, set_rows
from tests.grown_networks import CASES, TRAIN, Growth, assert_same, growth, random_growth
from tests.reference_gradmax import slow_matrix


def filling(growth: Growth) -> dict[str, tuple[NodeView, tuple[int, ...]]]:
    """By the name of a weight whose rows gradmax may set: its node, and the new rows."""
    found = {}
    for node in nodes(growth.after.arch):
        if node.hidden_site in growth.rows and node.first is not None and node.first.leaf is not None:
            found[f"{node.first.path}.weight"] = node, growth.rows[node.hidden_site]
    return found


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
