"""How added neurons begin: `search.newcomers`, on random architectures and in whole steps."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal

import pytest
import torch

from nhnas import search_step
from nhnas.base import load_base
from nhnas.compiler.build import build
from nhnas.compiler.network import Network
from nhnas.newcomers import SMALL, shrink_rows, start_newcomers
from nhnas.opening import begin
from nhnas.search.neuron_edits import additions
from nhnas.spec.document import read_document
from nhnas.spec.model import Architecture, Conv
from nhnas.spec.structure import leaves, live_nodes, sites
from nhnas.trainer.gradmax import BATCHES, first_samples
from nhnas.work import Context, Work
from tests import tiny
from tests.grown_networks import CASES, assert_same, random_growth
from tests.laws.exactness import without_dropout
from tests.stopping import check_every_batch, prepared

pytestmark = pytest.mark.usefixtures("no_fsync")

MODES = ("random", "small", "gradmax")


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
    """Rows of a new neuron, or the weights of their norms, and its biases are a tenth; the rest stays."""
    scaled = [0, 0]
    for seed in range(CASES):
        case = random_growth(seed)
        expected = case.tensors()
        for leaf in leaves(case.after.arch):
            for row in case.rows.get(leaf.writes.site, ()):
                name = f"{leaf.path}.weight" if leaf.norm == "none" else f"{leaf.path}.norm.weight"
                expected[name][row] *= SMALL
                scaled[leaf.norm == "none"] += 1
        for node in live_nodes(case.after.arch):
            for row in case.rows.get(node.writes.site, ()) if node.bias else ():
                expected[f"{node.path}.bias"][row] *= SMALL
        case.begin("small")
        assert_same(expected, case.tensors(), seed)
    assert min(scaled) > CASES / 2


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_tenth_is_heard_of_small_newcomers(norm: Literal["batch", "none"]) -> None:
    """In training, too, where a norm would undo what its input is multiplied with."""
    stem = Conv(name="stem", width=3, norm=norm)
    network = build(Architecture.model_construct(input=(2, 5, 5), net=(stem,)), seed=3).train()
    images = torch.randn(8, 2, 5, 5, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = network(images)
        shrink_rows(network, {"stem.width": (1,)}, SMALL)
        after = network(images)
    expected = before * torch.tensor([1.0, SMALL, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(after, expected)


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
