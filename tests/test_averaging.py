"""`train.average`: the version that `nhnas train` saves is the mean of its last weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nhnas.compiler.build import build
from nhnas.compiler.tensors_file import load_tensors
from nhnas.spec.config import Train
from nhnas.spec.model import Architecture
from nhnas.trainer.averaging import WeightAverage
from nhnas.trainer.phases import AVERAGED, Follow
from nhnas.work import Work
from tests import tiny


def weights_of(spec: Path) -> dict[str, Tensor]:
    """What the one snapshot beside the spec holds."""
    (file,) = spec.parent.glob(".nhnas/snapshots/*/weights.safetensors")
    return load_tensors(file)


def test_it_is_the_mean_of_all_that_was_taken_in() -> None:
    """Against a sum in float64; whole numbers, as of counters, stay the last ones."""
    draw = torch.Generator().manual_seed(0)
    tensors = {"w": torch.zeros(3, 2), "n": torch.tensor(0)}
    average, total = WeightAverage(tensors), torch.zeros(3, 2, dtype=torch.float64)
    for turn in range(1, 8):
        tensors["w"].copy_(torch.randn(3, 2, generator=draw))
        tensors["n"].fill_(turn)
        total += tensors["w"].double()
        average.add()
    average.finish()
    torch.testing.assert_close(total / 7, tensors["w"].double(), rtol=1e-6, atol=1e-6)
    assert 7 == int(tensors["n"])


def test_nothing_taken_in_changes_nothing() -> None:
    """A mean of nothing is not put in the network's place."""
    tensors = {"w": torch.ones(2)}
    WeightAverage(tensors).finish()
    assert [1.0, 1.0] == tensors["w"].tolist()


@pytest.mark.parametrize(("average", "last"), [(0.0, 1), (0.17, 1), (0.5, 3), (1.0, 6)])
def test_a_training_saves_the_mean_of_its_last_batches(
    average: float, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of three batches: the weights after each are recorded beside, and averaged slowly."""
    spec = tiny.make(tmp_path / "a", tiny.DENSE.replace("train: {", f"train: {{average: {average}, "))
    seen = list[dict[str, Tensor]]()
    works = list[Work]()
    original = Work.run

    def run(work: Work, phase: object) -> None:
        works.append(work)
        original(work, phase)  # type: ignore[arg-type]

    class Recording(tiny.Counting):
        def batch(self, *_: object, **__: object) -> None:
            tensors = works[-1].engine.network.tensors()
            seen.append({name: t.detach().double().clone() for name, t in tensors.items()})

    monkeypatch.setattr(Work, "run", run)
    tiny.train(spec, Recording(), epochs=2)
    assert 6 == len(seen)
    found = weights_of(spec)
    assert seen[-1].keys() == found.keys()
    for name, value in found.items():
        mean = torch.stack([tensors[name] for tensors in seen[-last:]]).mean(0)
        torch.testing.assert_close(mean, value.double(), rtol=1e-5, atol=1e-6)


def test_the_share_of_the_batches_is_rounded() -> None:
    """0.3 of six batches are two."""
    net = [{"name": "head", "op": "dense", "width": 2}]
    arch = Architecture.model_validate({"input": (2,), "net": net})
    phase = Follow(build(arch), Train(average=0.3), 6, 0.0)
    for done in range(1, 7):
        phase.after_batch(1.0, done)
    assert 2 == phase.state()[0][AVERAGED]
