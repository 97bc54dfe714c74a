"""How a network is computed is chosen by measuring, recorded, and never measured again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nhnas.compiler.build import build
from nhnas.compiler.history import load_info
from nhnas.compiler.network import Network
from nhnas.compiler.slot import read_slot
from nhnas.show import show
from nhnas.spec.config import Train
from nhnas.spec.errors import Interrupted
from nhnas.spec.model import Architecture
from nhnas.timing import computed_text
from nhnas.trainer import forms
from nhnas.trainer.forms import Timing, agree, measured, name_of
from nhnas.trainer.numerics import Numerics
from tests import tiny
from tests.form_samples import MAPS, RESIDUAL, samples

PLAIN = Numerics("cpu", "float32", 2, False)
FEATURES = Architecture.model_validate(
    {"input": (4,), "net": ({**RESIDUAL, "op": "dense"}, {"name": "h", "op": "dense", "width": 3})}
)


@pytest.fixture(autouse=True)
def threads() -> Any:
    """The number of threads is as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pretend(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], one_thread: float = 1.0) -> None:
    """Times by name of the form; `one_thread` times as long with one thread."""

    def told(trial: Any, *_: object) -> float:
        factor = one_thread if torch.get_num_threads() == 1 else 1.0
        return factor * seconds.get(name_of(trial.numerics), 1.0)

    monkeypatch.setattr(forms._Trial, "seconds", told)
    torch.set_num_threads(2)


def test_deterministic_runs_measure_nothing() -> None:
    """Their form is given."""
    given = Numerics("cpu", "float32", 1, True)
    assert (given, None) == measured(given, build(MAPS), samples(MAPS), Train())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({}, "float32 contiguous plain"),
        ({"float32 contiguous fused": 0.99}, "float32 contiguous plain"),
        ({"float32 contiguous fused": 0.9}, "float32 contiguous fused"),
        (
            {"float32 channels_last plain": 0.8, "float32 contiguous fused": 0.9},
            "float32 channels_last plain",
        ),
        ({"bfloat16 channels_last fused": 0.7}, "bfloat16 channels_last fused"),
        (
            {"bfloat16 channels_last fused": 0.7, "bfloat16 contiguous plain": 0.6},
            "bfloat16 contiguous plain",
        ),
    ],
)
def test_the_fastest_form_is_taken(
    seconds: dict[str, float], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless a simpler one is as fast, but for 3%."""
    pretend(monkeypatch, seconds)
    monkeypatch.setattr(forms, "agree", lambda *_: True)
    chosen, timing = measured(PLAIN, build(MAPS), samples(MAPS), Train())
    assert expected == name_of(chosen)
    assert timing is not None
    assert {name: 1e3 * seconds.get(name, 1.0) for name in timing.forms} == timing.forms


def test_bfloat16_of_another_loss_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is."""
    pretend(monkeypatch, {"bfloat16 channels_last fused": 0.1})
    monkeypatch.setattr(forms, "agree", lambda *_: False)
    assert "float32 contiguous plain" == name_of(measured(PLAIN, build(MAPS), samples(MAPS), Train())[0])


def test_a_faster_precision_of_another_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its time, which would else be a contradiction."""
    pretend(monkeypatch, {"bfloat16 channels_last fused": 0.1})
    monkeypatch.setattr(forms, "agree", lambda *_: False)
    timing = measured(PLAIN, build(MAPS), samples(MAPS), Train())[1]
    assert timing is not None
    assert (("bfloat16",), ["bfloat16"]) == (timing.refused, timing.as_dict()["refused"])


@pytest.mark.parametrize("before", [None, "float32 contiguous fused", "bfloat16 contiguous plain"])
def test_the_form_of_before_stays_among_equals(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are as fast, but for 2%, nothing changes from version to version."""
    pretend(monkeypatch, {"float32 channels_last plain": 0.98, "bfloat16 channels_last fused": 1.02})
    monkeypatch.setattr(forms, "agree", lambda *_: True)
    chosen = measured(PLAIN, build(MAPS), samples(MAPS), Train(), before)[0]
    assert (before or "float32 contiguous plain") == name_of(chosen)


@pytest.mark.parametrize("disturbed", [1, 2])
def test_one_disturbed_pass_decides_nothing(disturbed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest form is taken also where one of its passes took ten times as long, on a slow network."""
    calls: dict[str, int] = {}

    def told(trial: Any, *_: object) -> float:
        name = name_of(trial.numerics)
        calls[name] = calls.get(name, -1) + 1
        fast = name == "float32 contiguous fused"
        return 10.0 if fast and calls[name] == disturbed else 0.5 if fast else 1.0

    monkeypatch.setattr(forms._Trial, "seconds", told)
    monkeypatch.setattr(forms, "SECONDS", 0.0)
    chosen = measured(PLAIN, build(MAPS), samples(MAPS), Train(precision="float32"))[0]
    assert "float32 contiguous fused" == name_of(chosen)


def test_a_nearly_linear_network_is_measured_when_it_has_grown(tmp_path: Path) -> None:
    """Before, it has no leaves to run as one."""
    text = tiny.CONV.replace("hidden: 3", "hidden: 0").replace("deterministic: true", "threads: 1")
    text = text.replace("      first:\n        residual: {hidden: 2}\n", "")
    spec = tiny.make(tmp_path, text)
    (saved,) = tiny.step(spec)
    timing = load_info(spec.parent / ".nhnas", saved.state).state["info"]["facts"]["timing"]
    assert any(name.endswith("fused") for name in timing["forms"])


@pytest.mark.parametrize(
    ("arch", "train", "expected"),
    [
        (MAPS, Train(), {"float32", "bfloat16"}),
        (MAPS, Train(precision="float32"), {"float32"}),
        (MAPS, Train(loss="mse"), {"float32"}),
        (FEATURES, Train(), {"float32"}),
    ],
    ids=["maps", "asked for", "values", "features"],
)
def test_where_bfloat16_is_tried(arch: Architecture, train: Train, expected: set[str]) -> None:
    """Only for classes of maps, and not where a person chose; really measured here."""
    batches = samples(arch, train.loss == "cross_entropy")
    chosen, timing = measured(PLAIN, build(arch), batches, train)
    assert timing is not None
    assert expected == {name.split()[0] for name in timing.forms}
    assert name_of(chosen) in timing.forms
    assert all(milliseconds > 0 for milliseconds in timing.forms.values())
    assert 8 == timing.samples
    assert torch.get_num_threads() == chosen.threads


def test_a_person_chose_bfloat16() -> None:
    """Then every form that is tried has it."""
    given = replace(PLAIN, precision="bfloat16")
    timing = measured(given, build(MAPS), samples(MAPS), Train(precision="bfloat16"))[1]
    assert timing is not None
    assert {"bfloat16"} == {name.split()[0] for name in timing.forms}


@pytest.mark.parametrize(
    ("train", "one_thread", "expected"), [(Train(), 0.9, 1), (Train(), 1.2, 2), (Train(threads=2), 0.9, 2)]
)
def test_threads(train: Train, one_thread: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One where it is as fast as two, unless a person chose."""
    pretend(monkeypatch, {"float32 contiguous plain": 0.001, "float32 contiguous fused": 0.001}, one_thread)
    assert expected == measured(PLAIN, build(FEATURES), samples(FEATURES), train)[0].threads


def test_the_network_stays_as_it_is() -> None:
    """Weights, statistics, gradients, dropout, form."""
    network = build(MAPS).train()
    before = {name: tensor.clone() for name, tensor in network.tensors().items()}
    measured(PLAIN, network, samples(MAPS), Train())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.tensors().items())
    assert all(parameter.grad is None for parameter in network.trained().values())
    assert not network.probe.fused
    assert network.training


def shifted(network: Network, offset: float) -> Network:
    """All outputs higher by the same: the loss is what it was, if there are enough digits."""
    with torch.no_grad():
        network.tensors()["h.bias"].add_(offset)
    return network


@pytest.mark.parametrize(("offset", "expected"), [(0.0, True), (3000.0, False)])
def test_whether_bfloat16_agrees(offset: float, expected: bool) -> None:
    """Over the first batches, whatever dropout draws; outputs of 3,000 leave no digits for differences."""
    network = shifted(build(MAPS), offset)
    fast = replace(PLAIN, precision="bfloat16")
    assert expected is agree(PLAIN, fast, network, samples(MAPS, batch=64), Train())


def test_a_choice_is_recorded_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In slot and snapshot; who goes on measures nothing; `show --timing` tells it."""
    spec = tiny.make(tmp_path, tiny.CONV.replace("deterministic: true", "threads: 1"))
    report = tiny.Counting(batch=2)
    with pytest.raises(Interrupted):
        tiny.step(spec, report)
    slot = read_slot(spec.parent / ".nhnas", "spec.yaml")
    assert slot is not None
    said = f"{computed_text(slot.data['numerics'])}: the fastest as measured now (show --timing)"
    assert said in report.lines
    assert said.startswith("computed on cpu with 1 thread, ")
    monkeypatch.setattr("nhnas.measuring.measured", None)
    (saved,) = tiny.step(spec, report := tiny.Counting())
    assert said not in report.lines
    state = load_info(spec.parent / ".nhnas", saved.state).state
    assert slot.data["numerics"] == state["exact"]["numerics"]
    timing = state["info"]["facts"]["timing"]
    assert slot.data["facts"]["timing"] == timing
    assert min(timing["forms"].values()) > 0
    capsys.readouterr()
    show([spec], as_json=True, timing=True)
    assert {"numerics": state["exact"]["numerics"], "timing": timing} == json.loads(capsys.readouterr().out)[
        "timing"
    ]
    show([spec], timing=True)
    told = capsys.readouterr().out
    assert 1 == told.count("  chosen\n")
    assert "forward and back over" in told


def test_a_choice_is_told_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the next version only where another one was measured to be faster; of a deterministic one never."""
    spec = tiny.make(tmp_path / "work", tiny.CONV.replace("deterministic: true", "threads: 1"))
    choices = iter(["contiguous", "contiguous", "channels_last"])

    def choose(numerics: Numerics, *_: object) -> tuple[Numerics, Timing]:
        return replace(numerics, memory_format=next(choices)), Timing(8, {}, {})  # type: ignore[arg-type]

    monkeypatch.setattr("nhnas.measuring.measured", choose)
    told = []
    for _ in range(3):
        report = tiny.Counting()
        tiny.step(spec, report)
        told.append([line.split()[-9] for line in report.lines if line.startswith("computed on")])
    assert [["contiguous"], [], ["channels_last"]] == told
    monkeypatch.setattr("nhnas.measuring.measured", measured)
    tiny.step(tiny.make(tmp_path / "other"), report := tiny.Counting())
    assert not any(line.startswith("computed on") for line in report.lines)


@pytest.mark.parametrize(("steps", "expected"), [(0, "untrained"), (1, "not measured (train.deterministic)")])
def test_what_was_not_measured_is_said(
    steps: int, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An untrained file, and a deterministic one."""
    spec = tiny.make(tmp_path)
    for _ in range(steps):
        tiny.step(spec)
    capsys.readouterr()
    show([spec], timing=True)
    assert expected in capsys.readouterr().out


def test_dropout_does_not_decide_whether_forms_agree() -> None:
    """They are compared without it: else large weights behind it would tell a form from itself."""
    network = build(MAPS)
    with torch.no_grad():
        network.tensors()["h.weight"].mul_(100.0)
    assert agree(PLAIN, replace(PLAIN, fused=False), network, samples(MAPS, batch=64), Train())
