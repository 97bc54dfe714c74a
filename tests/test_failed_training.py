"""Training that fails saves nothing, and can be tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from nhnas.spec.document import read_document
from nhnas.spec.errors import TrainingError
from tests import tiny
from tests.at_batch import AtBatch

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_training_that_fails_leaves_the_version_and_can_be_tried_again(spec: Path) -> None:
    """A loss that is not finite: exit code 4, nothing saved; with another rate the same command works."""
    tiny.step(spec)
    before = tiny.outcome(spec)
    tiny.edit(spec, "lr: 0.05", "lr: 1.0e30")
    broken = spec.read_bytes()
    with pytest.raises(
        TrainingError, match=r"the loss is .* at epoch 1, batch 2 after 3 rollbacks, .*; nothing was saved"
    ) as caught:
        tiny.step(spec)
    assert 4 == caught.value.exit_code
    assert {**before, "spec.yaml": broken} == tiny.outcome(spec)
    tiny.edit(spec, "lr: 1.0e30", "lr: 0.05")
    assert [2] == [saved.version for saved in tiny.step(spec)]


def test_a_run_that_fails_knows_how_far_it_was_to_go(spec: Path) -> None:
    """Failed in its second version, `run --steps 3` does the two that are left."""
    report = AtBatch(2, lambda: tiny.edit(spec, "lr: 0.05", "lr: 1.0e30"))
    with pytest.raises(TrainingError):
        tiny.run(spec, report, steps=3)
    assert 1 == read_document(spec).version
    tiny.edit(spec, "lr: 1.0e30", "lr: 0.05")
    assert [2, 3] == [saved.version for saved in tiny.run(spec, steps=3)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_that_the_last_batch_spoils_is_not_saved(optimizer: str, tmp_path: Path) -> None:
    """No loss comes after the last batch: the test loss tells."""
    text = tiny.DENSE.replace(
        "lr: 0.05, batch: 8", f"lr: 1.0e18, batch: 24, warmup: 0, optimizer: {optimizer}"
    )
    epochs = "max_epochs: 2, fade_epochs: 1, settle_epochs: 1"
    spec = tiny.make(
        tmp_path / "work", text.replace(epochs, "max_epochs: 1, fade_epochs: 0, settle_epochs: 0")
    )
    before = spec.read_bytes()
    with pytest.raises(TrainingError, match=r"nothing was saved; lower train\.lr"):
        tiny.step(spec)
    assert before == spec.read_bytes()
    assert not (spec.parent / ".nhnas" / "snapshots").exists()
