"""Files that a person edits while a step runs or waits: nothing that either of them wrote is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from nhnas.compiler.files import replace_text
from nhnas.spec.document import read_document
from nhnas.spec.errors import Interrupted
from tests import tiny
from tests.at_batch import AtBatch
from tests.saved import rate_of

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_a_net_edited_meanwhile_stays(spec: Path) -> None:
    """The result of the step lies beside the person's file, complete, and the person's text is untouched."""
    tiny.step(spec)
    report = AtBatch(4, lambda: tiny.edit(spec, "name: head, ", "name: head, act: tanh, "))
    (saved,) = tiny.step(spec, report)
    beside = spec.with_name("spec.v2.yaml")
    assert saved.path == beside
    assert "act: tanh" in spec.read_text()
    assert 1 == read_document(spec).version
    assert (2, saved.state) == (read_document(beside).version, read_document(beside).state)
    assert any("spec.v2.yaml" in line for line in report.lines)
    assert not list((spec.parent / ".nhnas" / "slots").rglob("*.slot"))
    assert 3 == tiny.step(beside)[0].version


def test_nothing_is_overwritten_beside_the_file(spec: Path) -> None:
    """Where spec.v1.yaml is there already, the result has its state in its name, too."""
    beside = spec.with_name("spec.v1.yaml")
    beside.write_text("the person's own")
    (saved,) = tiny.step(spec, AtBatch(4, lambda: tiny.edit(spec, "width: 4", "width: 5")))
    assert spec.with_name(f"spec.v1-{saved.state}.yaml") == saved.path
    assert "the person's own" == beside.read_text()


def test_a_file_saved_in_the_very_last_moment(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that a person saves while the file is replaced are kept; a net sends the result beside."""

    def racing(old: str, new: str) -> None:
        raced: list[bool] = []

        def late(path: Path, expected: bytes | None, text: bytes) -> bool:
            if not raced:
                raced.append(True)
                tiny.edit(spec, old, new)
            return replace_text(path, expected, text)

        monkeypatch.setattr("nhnas.commit.replace_text", late)

    racing("lr: 0.05", "lr: 0.04")
    assert [spec] == [saved.path for saved in tiny.step(spec)]
    assert (1, 0.04) == (read_document(spec).version, read_document(spec).train.lr)
    monkeypatch.undo()
    racing("note: the end", "act: tanh")
    assert [spec.with_name("spec.v2.yaml")] == [saved.path for saved in tiny.step(spec)]
    assert "act: tanh" in spec.read_text()


def test_a_run_ends_where_the_net_was_edited(spec: Path) -> None:
    """The person decides from which of the two files it goes on."""
    report = AtBatch(1, lambda: tiny.edit(spec, "width: 4", "width: 5"))
    assert [spec.with_name("spec.v1.yaml")] == [saved.path for saved in tiny.run(spec, report, steps=3)]


def test_a_file_that_cannot_be_read_any_more_stays(spec: Path) -> None:
    """Broken or gone at the end of a step: the version lies beside it, and the step is no error."""
    (saved,) = tiny.step(spec, AtBatch(2, lambda: spec.write_text("net: [")))
    assert "net: [" == spec.read_text()
    assert (spec.with_name("spec.v1.yaml"), 1) == (saved.path, read_document(saved.path).version)


def test_settings_edited_meanwhile_stay_and_the_version_goes_into_the_file(spec: Path) -> None:
    """Comments, notes and settings that change during a step are in the file that the version is in."""

    def edit() -> None:
        tiny.edit(spec, "# the plane", "# my plane")
        tiny.edit(spec, "lr: 0.05", "lr: 0.04")
        tiny.edit(spec, "note: the end", "note: the very end")

    (saved,) = tiny.step(spec, AtBatch(5, edit))
    assert spec == saved.path
    document = read_document(spec)
    assert (1, saved.state, 0.04) == (document.version, document.state, document.train.lr)
    assert spec.read_text().startswith("# my plane\n")
    assert "note: the very end" in spec.read_text()
    assert 0.05 == rate_of(spec, 0)
    assert ["spec.yaml"] == [path.name for path in spec.parent.glob("*.yaml")]


def test_a_net_edited_while_the_step_was_stopped_stays(spec: Path) -> None:
    """The interrupted step ends as it began, and its result lies beside."""
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    tiny.edit(spec, "width: 4", "width: 6")
    (saved,) = tiny.step(spec)
    assert (spec.with_name("spec.v1.yaml"), True) == (saved.path, "width: 6" in spec.read_text())
