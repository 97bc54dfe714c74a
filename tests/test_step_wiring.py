"""A step does as the spec says: rates while fading, the rule of promotion, costs, shares of positives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from nhnas.search.choose import choose
from nhnas.search.cost import neuron_costs
from nhnas.spec.apply import apply
from nhnas.spec.document import read_document
from nhnas.spec.edits import edit_from_dict
from nhnas.trainer.importance import importance
from tests import tiny
from tests.saved import snapshot_of

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_fit_and_fading_warm_up_alike(tmp_path: Path) -> None:
    """Over two epochs of three batches: a quarter of the rate at the end of the first, then all of it."""
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("batch: 8", "batch: 8, warmup: 2.0"))
    tiny.step(spec)
    found = [(record["phase"], record["lr"]) for record in snapshot_of(spec).metrics]
    assert ["fit", "fit", "fade", "fade"] == [phase for phase, _ in found]
    assert pytest.approx([0.0125, 0.05, 0.0125, 0.05]) == [rate for _, rate in found]


@pytest.mark.parametrize(("rule", "expected"), [("auto", ["block.first", "block.second"]), ("authors", [])])
def test_the_rule_of_promotion_is_that_of_the_spec(rule: str, expected: list[str], tmp_path: Path) -> None:
    """Three neurons between two and two are more than 2, but not more than the authors' 3."""
    still = f"add: 0, add_fraction: 0.0, threshold_min: 0.0, promote: {rule}"
    text = tiny.DENSE.replace("width: 4", "width: 2").replace("hidden: 3", "hidden: 3\n      act: tanh")
    text = text.replace("add: 8", still).replace("threshold_max: 2.0", "threshold_max: 0.0")
    (saved,) = tiny.step(tiny.make(tmp_path / "work", text))
    assert expected == [edit["path"] for edit in saved.edits if edit["kind"] == "promote"]


@pytest.mark.parametrize("unit", ["none", "params", "macs"])
def test_the_choice_knows_what_neurons_cost(
    unit: Literal["none", "params", "macs"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parameters or MACs of the grown network, as `search.cost` says."""
    spec = tiny.make(tmp_path / "work", tiny.CONV.replace("add: 8", f"add: 8, cost: {unit}"))
    before, seen = read_document(spec).architecture, list[Any]()

    def spy(*given: Any, **named: Any) -> Any:
        seen.append(named["cost"])
        return choose(*given, **named)

    monkeypatch.setattr("nhnas.search_step.choose", spy)
    (saved,) = tiny.step(spec)
    edits = [{k: v for k, v in e.items() if k != "stage"} for e in saved.edits if e["stage"] == "grow"]
    grown = apply(before, [edit_from_dict(edit) for edit in edits])
    assert [None if unit == "none" else neuron_costs(grown, unit)] == seen


def test_how_often_neurons_are_on_counts_in_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of positive activations reach the importance of every site behind a ReLU."""
    shares = list[float]()

    def spy(sensitivity: Any, positive: Any) -> Any:
        shares.append(float(positive.max()))
        return importance(sensitivity, positive)

    monkeypatch.setattr("nhnas.search_step.importance", spy)
    tiny.step(tiny.make(tmp_path / "work", tiny.DENSE.replace("width: 4", "width: 4\n    act: relu")))
    assert 2 == len(shares)
    assert all(0.0 < share <= 1.0 for share in shares)
