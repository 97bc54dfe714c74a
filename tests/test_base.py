"""From the file as it is to the weights it starts from: hand edits of `net` are carried over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nhnas.base import Base, load_base
from nhnas.compiler.build import build
from nhnas.compiler.store import Snapshot, load_snapshot
from nhnas.log import history
from nhnas.log_table import decisions
from nhnas.spec.document import read_document
from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.errors import InputError
from nhnas.spec.turnover import LeastImportant
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec at version 2."""
    path = tiny.make(tmp_path / "work")
    tiny.run(path, steps=2)
    return path


def base_of(spec: Path, fresh: bool = False) -> Base:
    """What a command would start from."""
    return load_base(read_document(spec), spec, fresh=fresh)


def snapshot_of(spec: Path) -> Snapshot:
    """The snapshot that the file names."""
    return load_snapshot(spec.parent / ".nhnas", read_document(spec).state or "")


def size_of(spec: Path, key: str) -> int:
    """The number behind `width:` or `hidden:` of the block."""
    return int(spec.read_text().split(f"{key}: ")[1].split()[0])


def resize(spec: Path, key: str, by: int) -> int:
    """Write another number behind `width:` or `hidden:` of the block; returns the old one."""
    old = size_of(spec, key)
    spec.write_text(spec.read_text().replace(f"{key}: {old}\n", f"{key}: {old + by}\n", 1))
    return old


def outputs(base: Base) -> torch.Tensor:
    """Outputs of the network that a command would start from, on some points."""
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        result: torch.Tensor = build(base.document.architecture, base.weights).eval()(points)
    return result


def test_an_untouched_file_starts_from_its_snapshot(spec: Path) -> None:
    """Weights, moments and counters are those of the snapshot, bit for bit."""
    base, snapshot = base_of(spec), snapshot_of(spec)
    assert (snapshot.id, 2, (), snapshot.state["exact"]) == (
        base.state,
        base.version,
        base.pending,
        base.exact,
    )
    for mine, theirs in ((base.weights, snapshot.weights), (base.optimizer, snapshot.optimizer)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("fresh", [False, True])
def test_without_a_state_all_is_untrained(fresh: bool, spec: Path) -> None:
    """A file without state, or `fresh`: weights from the seed, no moments, epoch 0, no parent."""
    if not fresh:
        spec.write_text("".join(x for x in spec.read_text().splitlines(True) if not x.startswith("state")))
    base = base_of(spec, fresh)
    assert (None, 0, (), {}) == (base.state, base.version, base.pending, base.optimizer)
    assert {"moving_average": {}, "epochs": 0} == base.exact
    expected = build(base.document.architecture, seed=0).tensors()
    assert all(torch.equal(expected[name], base.weights[name]) for name in expected)


def test_notes_comments_and_settings_are_no_edit(spec: Path) -> None:
    """What does not change the net leaves nothing to carry over."""
    tiny.edit(spec, "note: the end", "note: an end")
    tiny.edit(spec, "lr: 0.05", "lr: 0.01")
    assert () == base_of(spec).pending


def test_neurons_that_a_person_adds_change_nothing_at_first(spec: Path) -> None:
    """The old cells of weights and moments are kept bitwise, the outputs too; new ages are 0."""
    before, snapshot = outputs(base_of(spec)), snapshot_of(spec)
    hidden = resize(spec, "hidden", 3)
    base = base_of(spec)
    assert ["add_neurons"] == [edit.kind for edit in base.pending]
    assert torch.allclose(before, outputs(base), atol=1e-6)
    assert torch.equal(snapshot.weights["block.first.weight"], base.weights["block.first.weight"][:hidden])
    second = base.weights["block.second.weight"]
    assert torch.equal(snapshot.weights["block.second.weight"], second[:, :hidden])
    assert 0.0 == second[:, hidden:].abs().max().item()
    moments = base.optimizer["block.second.weight:exp_avg"]
    assert torch.equal(snapshot.optimizer["block.second.weight:exp_avg"], moments[:, :hidden])
    ages = base.optimizer["block.first.weight:age.rows"]
    assert [*snapshot.optimizer["block.first.weight:age.rows"].tolist(), 0, 0, 0] == ages.tolist()


def test_importances_and_averages_follow_their_neurons(spec: Path) -> None:
    """New neurons have no importance yet; the others and the moving averages stay with their site."""
    exact = snapshot_of(spec).state["exact"]
    resize(spec, "hidden", 2)
    resize(spec, "width", -1)
    found = base_of(spec).exact
    assert [*exact["importance"]["block.hidden"], None, None] == found["importance"]["block.hidden"]
    assert exact["importance"]["block.width"][:-1] == found["importance"]["block.width"]
    assert exact["moving_average"] == found["moving_average"]
    assert exact["epochs"] == found["epochs"]


def test_a_hand_removal_takes_the_least_important(spec: Path) -> None:
    """Where a person shrinks a site, its least important neurons by the last measurement go."""
    values = snapshot_of(spec).state["exact"]["importance"]["block.hidden"]
    resize(spec, "hidden", -2)
    least = sorted(sorted(range(len(values)), key=values.__getitem__)[:2])
    assert [RemoveNeurons(site="block.hidden", at=tuple(least))] == list(base_of(spec).pending)


def test_unmeasured_newcomers_go_before_the_least_important() -> None:
    """Without a measurement the last ones go first, and before every neuron that has one."""
    leaving = LeastImportant({"measured": [0.5, None, 0.1, None, 0.9]}).leaving
    assert [(3,), (1, 3), (1, 2, 3), (0, 1, 2, 3)] == [leaving("measured", 5, n) for n in (4, 3, 2, 1)]
    assert (3, 4) == leaving("other", 5, 3)


def test_a_renamed_layer_keeps_what_it_learned(spec: Path) -> None:
    """Another name alone: weights, moments, importances and averages go along, and the outputs stay."""
    before, snapshot = outputs(base_of(spec)), snapshot_of(spec)
    tiny.edit(spec, "name: block ", "name: other ")
    base = base_of(spec)
    assert ["rename"] == [edit.kind for edit in base.pending]
    assert torch.equal(before, outputs(base))
    for mine, theirs in (
        (base.optimizer, snapshot.optimizer),
        (base.exact["importance"], snapshot.state["exact"]["importance"]),
        (base.exact["moving_average"], snapshot.state["exact"]["moving_average"]),
    ):
        assert {name.replace("block", "other") for name in theirs} == mine.keys()
    assert snapshot.state["exact"]["importance"]["block.hidden"] == base.exact["importance"]["other.hidden"]


def test_a_layer_that_is_another_one_starts_anew(spec: Path) -> None:
    """Another name and another width at once: that is no renaming."""
    tiny.edit(spec, "name: block ", "name: other ")
    resize(spec, "width", 1)
    assert {"remove_layer", "insert_layer"} <= {edit.kind for edit in base_of(spec).pending}


def test_the_next_step_carries_a_hand_edit_over(spec: Path) -> None:
    """The version after it has the edit on record, with the change of the output that it made."""
    parent = read_document(spec).state
    resize(spec, "hidden", 3)
    resize(spec, "width", -1)
    (saved,) = tiny.step(spec)
    snapshot = snapshot_of(spec)
    assert (3, parent) == (saved.version, snapshot.parent)
    kinds = [edit["kind"] for edit in snapshot.edits if edit["stage"] == "hand"]
    assert ["add_neurons", "remove_neurons"] == sorted(kinds)
    stages = {change["stage"]: change["max_change"] for change in snapshot.state["info"]["changes"]}
    assert stages["hand"] > 1e-4  # a neuron was taken out as it was
    assert saved.max_change == max(change for stage, change in stages.items() if stage != "hand")
    assert saved.max_change < 1e-5
    record = history(spec)[-1]
    assert (stages["hand"], saved.max_change) == (record["hand_change"], record["max_change"])
    assert [None, None] == [before["hand_change"] for before in history(spec)[:-1]]
    assert f"by hand: largest |Δoutput| {stages['hand']:.1e}" in decisions(record)


def add_layer(spec: Path) -> None:
    """A layer more before the head."""
    tiny.edit(spec, "  - {name: head", "  - {name: more, op: dense, width: 3}\n  - {name: head")


def nest(spec: Path) -> None:
    """A residual with neurons inside the first residual."""
    tiny.edit(spec, "      second: ", "      first: {residual: {hidden: 2}}\n      second: ")


def drop_residual(spec: Path) -> None:
    """A linear layer again."""
    lines = spec.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith("    residual:"))
    spec.write_text("".join([*lines[:at], *lines[at + 3 :]]))


@pytest.mark.parametrize(
    "change",
    [
        add_layer,
        nest,
        drop_residual,
        lambda spec: resize(spec, "hidden", -2),
        lambda spec: tiny.edit(spec, "op: dense\n", "op: dense\n    act: tanh\n"),
        lambda spec: tiny.edit(spec, "op: dense\n", "op: dense\n    norm: batch\n"),
        lambda spec: tiny.edit(spec, "name: head, ", "name: end, "),
        lambda spec: tiny.edit(spec, "residual:\n", "shortcut: false\n    residual:\n"),
        lambda spec: tiny.edit(spec, "optimizer: adam, ", "optimizer: sgd, "),
    ],
)
def test_every_kind_of_hand_edit_trains_on(change: Callable[[Path], object], tmp_path: Path) -> None:
    """After each of them a step runs to its end, and its own edits are exact."""
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("train: {", "train: {optimizer: adam, "))
    tiny.step(spec)
    change(spec)
    (saved,) = tiny.step(spec)
    assert (2, 0, True) == (saved.version, saved.changed, saved.max_change < 1e-5)


def test_a_head_with_another_number_of_classes(spec: Path) -> None:
    """Data with a class more: the rest of the network is kept, and there is no output to compare with."""
    first = snapshot_of(spec).weights["block.weight"]
    (spec.parent / "mydata.py").write_text(tiny.DATA.format(classes=3))
    tiny.edit(spec, "op: dense, width: 2", "op: dense, width: 3")
    assert torch.equal(first, base_of(spec).weights["block.weight"])
    (saved,) = tiny.step(spec)
    assert 3 == saved.version
    assert {"grow", "remove"} >= {c["stage"] for c in snapshot_of(spec).state["info"]["changes"]}


def test_another_input_is_refused(spec: Path) -> None:
    """The weights are for another input: the message says which, and what to do."""
    tiny.edit(spec, "input: [2]", "input: [3]")
    with pytest.raises(InputError) as caught:
        base_of(spec)
    theirs = f"the weights of {read_document(spec).state} are for [2]"
    advice = "put it back, or start untrained with --fresh"
    assert f"{spec}: input is [3], but {theirs}; {advice}" == str(caught.value)
    assert base_of(spec, fresh=True).state is None
