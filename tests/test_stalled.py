"""`nhnas run --until` with a size that comes no nearer: the run ends, with a line and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nhnas.command import Options
from nhnas.command import run as run_command
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import read_slot
from nhnas.log import history
from nhnas.report import Report
from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError, Interrupted
from nhnas.stalled import STEPS, _advice, stalled
from nhnas.until import Until
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")

GROWING = tiny.DENSE.replace("add: 8", "add: 8, add_to_remove: 4.0")
REASON = (
    r"spec.yaml: not reached: params<=9 \([0-9,]+ params\); 5 steps came no nearer, so the run ends "
    r"\(search.add_to_remove below 1 shrinks\)$"
)


def run_until(spec: Path, *until: str, steps: int | None = None, report: Report | None = None) -> int:
    """The versions that `nhnas run --until …` saves."""
    return len(run_command(spec, steps, None, Options(), report, until))


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A spec that has grown for six steps: five, seen from its first version."""
    spec = tiny.make(tmp_path / "work", GROWING)
    tiny.run(spec, steps=STEPS + 1)
    return spec


def reason(spec: Path, text: str | None = None, **goal: Any) -> str | None:
    """Why a run that began at version 0 has stalled, by the file or by another text of it."""
    document = read_document(spec) if text is None else parse_document(text.encode(), spec)
    return stalled({"from": 0, "to": None, "until": ["params<=9"], **goal}, STEPS + 1, document)


def test_a_run_that_goes_away_from_its_goal_ends(tmp_path: Path) -> None:
    """Five steps after its first version, wherever it was interrupted; all versions stay."""
    spec = tiny.make(tmp_path / "work", GROWING)
    with pytest.raises(Interrupted):
        run_until(spec, "params<=9", report=tiny.Counting(batch=40))
    with pytest.raises(InputError, match=REASON):
        run_until(spec, "params<=9")
    assert [1, 2, 3, 4, 5, 6] == [record["version"] for record in history(spec)]
    assert read_slot(store_folder(spec), spec_key(spec)) is None


def test_the_advice_is_one_that_the_file_does_not_follow_yet(grown: Path) -> None:
    """What a policy keeps is said by its target; who shrinks already is not told to."""
    text = grown.read_text()
    told = "search.target says which size the policy keeps"
    auto = parse_document(text.replace("add: 8", "policy: auto, target: {params: 900}").encode(), grown)
    assert f" ({told})" == _advice(Until("params", "<=", 9.0), auto)
    shrinking = parse_document(text.replace("add_to_remove: 4.0", "add_to_remove: 0.5").encode(), grown)
    assert "" == _advice(Until("params", "<=", 9.0), shrinking)
    assert " (search.add_to_remove above 1 grows)" == _advice(Until("params", ">=", 9.0), shrinking)
    assert "" == _advice(Until("params", ">=", 9.0), read_document(grown))


def test_a_bound_is_kept(tmp_path: Path) -> None:
    """Who says how many steps at most gets them."""
    assert STEPS + 1 == run_until(tiny.make(tmp_path / "work", GROWING), "params<=9", steps=STEPS + 1)


def test_what_may_still_come_nearer_goes_on(grown: Path) -> None:
    """Fewer than five steps, one of them nearer, an accuracy or epochs beside the size, a bound."""
    assert reason(grown) is not None
    sizes = [record["parameters"] for record in history(grown)]
    assert reason(grown, until=[f"params<={sizes[0] - 1}"]) is not None
    assert reason(grown, until=[f"params>={sizes[-1] + 1}"]) is None
    assert reason(grown, until=["params<=9", f"params>={sizes[-1] + 1}"]) is None
    assert reason(grown, until=["params<=9", "accuracy>=1"]) is None
    assert reason(grown, until=["params<=9", "epochs>=900"]) is None
    assert reason(grown, to=90) is None
    assert stalled({"from": 2, "to": None, "until": ["params<=9"]}, STEPS + 1, read_document(grown)) is None
    assert reason(grown, until=[]) is None


@pytest.mark.parametrize(("turn", "ends"), [(1, True), (6, False)])
def test_a_schedule_that_has_just_turned_begins_the_count_anew(turn: int, ends: bool, tmp_path: Path) -> None:
    """Steps away from the goal under the entry before say nothing of the settings that hold now."""
    brief = GROWING.replace(
        "max_epochs: 2, fade_epochs: 1, settle_epochs: 1", "max_epochs: 1, fade_epochs: 0"
    )
    turning = f"settle_epochs: 0, schedule: [{{until: {turn}, add: 9}}], add: 8"
    spec = tiny.make(tmp_path / "work", brief.replace("add: 8", turning))
    tiny.run(spec, steps=STEPS + 1)
    assert 6 == history(spec)[-1]["epochs"]
    assert ends == (reason(spec) is not None)


def test_fresh_needs_no_store(tmp_path: Path) -> None:
    """A clone without `.nhnas` grows anew to a size; the version that the file names is not asked for."""
    spec = tiny.make(tmp_path / "work", GROWING)
    tiny.step(spec)
    clone = tiny.make(tmp_path / "clone", spec.read_text())
    wanted = history(spec)[-1]["parameters"] + 1
    saved = run_command(clone, None, None, Options(fresh=True), None, [f"params>={wanted}"])
    assert saved[-1].totals["parameters"] >= wanted


def test_what_a_person_or_the_file_changes_begins_the_count_anew(grown: Path) -> None:
    """Settings of the last step or since, an edit of the net, a schedule with entries to come."""
    text = grown.read_text()
    assert reason(grown, text.replace("add_to_remove: 4.0", "add_to_remove: 0.5")) is None
    later = "schedule: [{until: 2, add: 4}, {until: %d, add: 3}]"
    assert reason(grown, text.replace("add: 8", f"add: 8, {later % 900}")) is None
    target = "policy: auto, target: {params: 900, accuracy: 0.9}"
    assert reason(grown, text.replace("add: 8", target)) is None
    tiny.edit(grown, "add_to_remove: 4.0", "add_to_remove: 3.0")
    tiny.step(grown)
    assert stalled({"from": 0, "to": None, "until": ["params<=9"]}, STEPS + 2, read_document(grown)) is None
