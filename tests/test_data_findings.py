"""`nhnas check` against what the training commands refuse: the data set, and what it demands of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nhnas.opening import load_data
from nhnas.report import Silent
from nhnas.spec.config import Data
from nhnas.spec.data_findings import BUILT_IN, IMAGE_FOLDER, Facts, data_findings
from nhnas.spec.document import parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.explain import report
from nhnas.trainer.datasets import IMAGES, TOYS, load_dataset
from nhnas.work import Context
from tests.here import Here

TEXT = """\
format: 1
name: t
input: [2]
net:
  - {name: body, op: dense, width: 4}
  - {name: head, op: dense, width: 2}
data: {dataset: spirals}
"""


def findings(text: str, folder: Facts | None = None) -> list[str]:
    """The lines that `check` prints."""
    document = parse_document(text.encode(), Path("spec.yaml"))
    return report("spec.yaml", document.tree, data_findings(document, folder))


def test_the_facts_are_those_of_the_data_sets(tmp_path: Path) -> None:
    """All built-in names are known here, and the shapes are what the sets give that need no file."""
    assert {*TOYS, *IMAGES} == {*BUILT_IN, IMAGE_FOLDER}
    for name in TOYS:
        dataset = load_dataset(Data(dataset=name), seed=0, folder=tmp_path)
        loss = "cross_entropy" if dataset.is_classification else "mse"
        assert BUILT_IN[name] == Facts(dataset.input_shape, dataset.outputs, loss)  # type: ignore[arg-type]
    for name in IMAGES.keys() - {IMAGE_FOLDER}:
        assert 3 == len(BUILT_IN[name].shape)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("spirals", "spiral", "7:17: data.dataset: unknown; did you mean spirals? built in are spirals, "),
        ("spirals", "./pictures", "7:17: data.dataset: unknown; built in are spirals, regression2d, mnist, "),
        ("[2]", "[3]", "3:8: input: spirals gives [2]; write input: [2]"),
        ("width: 2", "width: 3", "6:36: head.width: the output has 3 features, spirals 2 classes; the last "),
        (
            "spirals}",
            "spirals}\ntrain: {loss: mse}",
            "8:15: train.loss: spirals has 2 classes; write loss: ",
        ),
        (
            "spirals}",
            "spirals, augment: [flip]}",
            "7:35: data.augment: needs images, and spirals has none",
        ),
    ],
)
def test_what_a_training_command_refuses_is_found(old: str, new: str, expected: str, tmp_path: Path) -> None:
    """One line with its place; the command refuses the same file, and takes the one it came from."""
    text = TEXT.replace(old, new)
    (line,) = findings(text)
    assert line.startswith(f"spec.yaml:{expected}"), line
    context = Context(tmp_path / "spec.yaml", Silent())
    load_data(parse_document(TEXT.encode()), context)
    with pytest.raises(InputError):
        load_data(parse_document(text.encode()), context)


def test_maps_at_the_end_are_found_whatever_the_data() -> None:
    """No data set has maps as targets."""
    text = TEXT.replace("[2]", "[3, 4, 4]").replace("op: dense", "op: conv")
    (line,) = findings(text.replace("spirals", '"mine:make"'))
    assert "spec.yaml:6:5: head: the last layer writes maps [2, 4, 4]; add global_avg_pool or" in line


def test_an_architecture_without_data_fits_any() -> None:
    """Nothing is demanded of a file that names no data set."""
    text = TEXT.replace("data: {dataset: spirals}\n", "").replace("[2]", "[7]")
    assert [] == findings(text)
    assert [] == findings(text + "data: {val: 0.1}\n")


def test_an_image_folder_demands_its_size_and_its_classes() -> None:
    """Where it has been looked through."""
    text = TEXT.replace("spirals", IMAGE_FOLDER)
    assert [] == findings(text)
    lines = findings(text, Facts((3, 8, 6), 5))
    assert [
        "spec.yaml:3:8: input: image_folder gives [3, 8, 6]; write input: [3, 8, 6]",
        "spec.yaml:6:36: head.width: the output has 2 features, image_folder 5 classes; the last layer needs "
        "width: 5",
    ] == lines


def test_check_prints_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All at once, exit code 2."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(TEXT.replace("[2]", "[3]").replace("width: 2", "width: 3"))
    code, out, error = Here(capfd)("check", str(spec))
    assert (2, "", 2) == (code, out, error.count("\n"))
