"""Class names, mean and deviation travel with the weights, and a class never changes its number unnoticed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import nhnas
from nhnas.commit import Saved
from nhnas.log import history
from nhnas.opening import here, load_data, sample_inputs
from nhnas.report import Report, Silent
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from nhnas.trainer.evaluate import spread
from nhnas.work import Context
from tests import tiny
from tests.here import Here
from tests.stopping import copied, stopped

pytestmark = pytest.mark.usefixtures("no_fsync")

TEXT = """\
format: 1
name: pictures
input: [3, 5, 5]
net:
  - {name: stem, op: conv, width: 3}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 3}
data: {dataset: image_folder, root: pictures}
train: {batch: 4, deterministic: true}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A trained spec beside its pictures of cats, dogs and owls."""
    for split in ("train", "test"):
        for number, name in enumerate(("cats", "dogs", "owls")):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for at in range(3):
                Image.new("RGB", (5, 5), (80 * number + 9 * at, 40, 200)).save(folder / f"{at}.png")
    path = tmp_path / "spec.yaml"
    path.write_text(TEXT)
    tiny.train(path, epochs=1)
    return path


def rename(spec: Path, old: str, new: str) -> None:
    """A class, in both halves."""
    for split in ("train", "test"):
        folder = spec.parent / "pictures" / split
        (folder / old).rename(folder / new)


def test_a_class_that_gets_another_number_is_refused(
    spec: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`birds` sorts before cats and dogs: eval and train say so in one line, exit code 2; --fresh is free."""
    monkeypatch.chdir(spec.parent)
    command = Here(capfd)
    rename(spec, "owls", "birds")
    before = spec.read_bytes()
    for words in (("eval", "spec.yaml"), ("train", "spec.yaml", "--epochs", "1"), ("step", "spec.yaml")):
        code, out, error = command(*words)
        assert (2, "", 1) == (code, out, error.count("\n")), error
        told = "spec.yaml: class cats is number 1 of image_folder, and was 0 when the weights were trained; "
        assert error.startswith(told)
    assert before == spec.read_bytes()
    assert 0 == command("eval", "spec.yaml", "--fresh")[0]


def stop(spec: Path, batch: int) -> None:
    """Three epochs, stopped."""
    assert stopped(three_epochs, spec, tiny.Counting(batch=batch))


def three_epochs(spec: Path, report: Report) -> list[Saved]:
    return tiny.train(spec, report, epochs=3)


@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_class_that_gets_another_number_while_a_command_is_interrupted(spec: Path, is_fresh: bool) -> None:
    """It is refused, also before anything was saved, and goes on to the same end once the name is back."""
    if is_fresh:
        spec.write_text(TEXT)
    other = copied(spec, "other")
    stop(other, 4)
    rename(other, "owls", "birds")
    told = (
        "class cats is number 1 of image_folder, and was 0 when the interrupted command began; .* --discard"
    )
    with pytest.raises(InputError, match=told):
        three_epochs(other, Silent())
    rename(other, "birds", "owls")
    three_epochs(other, Silent())
    three_epochs(spec, Silent())
    assert tiny.outcome(spec) == tiny.outcome(other)


def contents(spec: Path) -> dict[Path, bytes]:
    """The spec, its store and its slot: every file that holds something."""
    files = {path: path.read_bytes() for path in spec.parent.rglob("*") if path.is_file()}
    return {path: content for path, content in files.items() if content}


def test_a_slot_of_an_older_version_goes_on_unchecked(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not tell what the data were."""
    with monkeypatch.context() as older:
        older.setattr("nhnas.work.data_facts", lambda _: None)
        stop(spec, 4)
    rename(spec, "cats", "cat")
    (spec.parent / "pictures" / "test" / "cat" / "0.png").unlink()
    assert 2 == three_epochs(spec, Silent())[0].version


def test_test_samples_may_come_and_go_meanwhile(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They decide nothing, also where the slot tells how many they were, as those of one build do."""
    facts = {"samples": {"train": 9, "test": 9}, "classes": ["cats", "dogs", "owls"]}
    with monkeypatch.context() as older:
        older.setattr("nhnas.work.data_facts", lambda _: facts)
        stop(spec, 4)
    (spec.parent / "pictures" / "test" / "cats" / "0.png").unlink()
    assert 2 == three_epochs(spec, Silent())[0].version


def test_samples_that_are_held_out_meanwhile(tmp_path: Path) -> None:
    """A function that gives a part of its own for validation, since: it is refused."""
    spec = tiny.make(tmp_path / "spec")
    stop(spec, 4)
    module = spec.parent / "mydata.py"
    module.write_text(module.read_text().replace("test=split(40)", "test=split(40), val=split(5)", 1))
    told = "began with 0 samples in the val split of points, and there are 5 now; .* --discard"
    with pytest.raises(InputError, match=told):
        three_epochs(spec, Silent())


def test_samples_that_go_while_a_command_is_interrupted(spec: Path) -> None:
    """Its place is counted in batches of what there was: it is refused until they are back."""
    stop(spec, 4)
    gone = spec.parent / "pictures" / "train" / "cats" / "0.png"
    content = gone.read_bytes()
    gone.unlink()
    before = contents(spec)
    told = "began with 9 samples in the train split of image_folder, and there are 8 now; .* --discard"
    with pytest.raises(InputError, match=told):
        three_epochs(spec, Silent())
    assert before == contents(spec)
    gone.write_bytes(content)
    assert 2 == three_epochs(spec, Silent())[0].version


def test_a_picture_more_draws_anew_what_is_held_out_and_it_is_told(
    spec: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same number of them nothing is said; without `data.val` nothing either."""
    monkeypatch.chdir(spec.parent)
    command, told = Here(capfd), "other samples are held out from now on"
    folder = spec.parent / "pictures" / "train" / "cats"

    def is_told() -> bool:
        code, out, _ = command("train", "spec.yaml", "--epochs", "1")
        assert 0 == code
        return told in out

    for share, expected in (("0.3", True), ("0", False)):
        text = re.sub("root: pictures[^}]*", f"root: pictures, val: {share}", spec.read_text())
        spec.write_text(text)
        is_told()
        shutil.copy(folder / "0.png", folder / f"more{share}.png")
        assert [expected, False] == [is_told(), is_told()]


def test_a_class_that_keeps_its_number_may_be_renamed(spec: Path) -> None:
    """The weights do not care what a class is called; the new version tells its new name."""
    rename(spec, "cats", "cat")
    assert 2 == tiny.train(spec, epochs=1)[0].version
    assert ["cat", "dogs", "owls"] == nhnas.trained_on(spec)["classes"]


def test_a_class_may_be_added_at_the_end(spec: Path) -> None:
    """The others keep their numbers, and their rows of the last layer."""
    for split in ("train", "test"):
        folder = spec.parent / "pictures" / split / "rats"
        folder.mkdir()
        Image.new("RGB", (5, 5), (9, 240, 9)).save(folder / "0.png")
    tiny.edit(spec, "op: dense, width: 3", "op: dense, width: 4")
    assert 2 == tiny.train(spec, epochs=1)[0].version


def test_a_model_sees_what_it_was_trained_on(spec: Path) -> None:
    """Pixels from 0 to 1, less the mean, by the deviation: the outputs from which eval takes its loss."""
    facts = nhnas.trained_on(spec)
    assert ["cats", "dogs", "owls"] == facts["classes"]
    dataset = load_data(here(read_document(spec)), Context(spec, Silent()))
    pixels = dataset.test.inputs.float() / 255
    mean, std = (torch.tensor(facts[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    outputs = nhnas.load_model(spec)((pixels - mean) / std)
    loss = torch.nn.functional.cross_entropy(outputs.double(), dataset.test.targets).item()
    assert pytest.approx(history(spec)[-1]["test"]["loss"], rel=1e-5) == loss


def test_an_untrained_file_was_trained_on_nothing(tmp_path: Path) -> None:
    """One line."""
    spec = tiny.make(tmp_path / "spec")
    with pytest.raises(InputError, match=r"is untrained; nhnas step trains it"):
        nhnas.trained_on(spec)
    tiny.train(spec, epochs=1)
    assert {"samples": 24, "classes": None, "mean": None, "std": None} == nhnas.trained_on(spec)


def test_samples_to_compare_over_are_of_every_class(spec: Path) -> None:
    """A folder is sorted by class: the first of it would be all cats. Evenly spaced, each once."""
    document = read_document(spec)
    assert [0, 1, 2] == sample_inputs(document, spec, 3)[1].tolist()
    assert [0, 0, 0, 1, 1, 1, 2, 2, 2] == sample_inputs(document, spec, 256)[1].tolist()
    assert [0, 2, 5, 7] == spread(4, 10).tolist()
    assert list(range(7)) == spread(9, 7).tolist()
