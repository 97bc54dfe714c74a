"""Versions: the one that a command starts from, and the one that it leads to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from tests import tiny
from tests.saved import snapshot_of

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_a_run_is_as_many_steps(tmp_path: Path) -> None:
    """`run --steps 3` leaves the same bytes as three times `step`, and `run --to 3` does too."""
    one, two, three = (tiny.make(tmp_path / name) for name in ("steps", "run", "to"))
    states = [tiny.step(one)[0].state for _ in range(3)]
    assert states == [saved.state for saved in tiny.run(two, steps=3)]
    assert states[:1] == [saved.state for saved in tiny.run(three, to=1)]
    assert states[1:] == [saved.state for saved in tiny.run(three, to=3)]
    assert tiny.outcome(one) == tiny.outcome(two) == tiny.outcome(three)


def test_nothing_happens_at_the_version_that_is_there(spec: Path) -> None:
    """`step --to 1` and `run --to 1` at version 1 change no file."""
    (saved,) = tiny.step(spec, to=1)
    before, times = tiny.outcome(spec), {p: p.stat().st_mtime_ns for p in spec.parent.glob("*.yaml")}
    assert [] == tiny.step(spec, to=1)
    assert [] == tiny.run(spec, to=1)
    assert before == tiny.outcome(spec)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert 1 == saved.version


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda spec: tiny.step(spec, to=4), "is at version 1: one step leads to 2, not to 4"),
        (lambda spec: tiny.step(spec, to=0), "is at version 1: one step leads to 2, not to 0"),
        (lambda spec: tiny.run(spec, to=0), "is at version 1 already, beyond 0"),
        (lambda spec: tiny.run(spec), "run needs either --steps N or --to VERSION"),
        (lambda spec: tiny.run(spec, steps=1, to=2), "run needs either --steps N or --to VERSION"),
    ],
)
def test_goals_that_cannot_be(call: Callable[[Path], object], message: str, spec: Path) -> None:
    """A version that one step does not reach, one that is past, none or two goals."""
    tiny.step(spec)
    before = tiny.outcome(spec)
    with pytest.raises(InputError, match=message):
        call(spec)
    assert before == tiny.outcome(spec)


def test_what_a_person_writes_at_version_changes_nothing(spec: Path) -> None:
    """The next version is one more than the snapshot's."""
    tiny.step(spec)
    tiny.edit(spec, "version: 1", "version: 40")
    assert [2] == [saved.version for saved in tiny.step(spec)]
    assert 2 == read_document(spec).version


def test_an_older_file_goes_on_from_its_own_snapshot(spec: Path) -> None:
    """An earlier text put back: the same settings give the same version 2 again, others a branch of 1."""
    (first,) = tiny.step(spec)
    old = spec.read_bytes()
    (second,) = tiny.step(spec)
    spec.write_bytes(old)
    assert second.state == tiny.step(spec)[0].state
    spec.write_bytes(old.replace(b"lr: 0.05", b"lr: 0.03"))
    (branch,) = tiny.step(spec)
    assert (2, first.state) == (branch.version, snapshot_of(spec).parent)
    assert branch.state not in (first.state, second.state)


def test_a_missing_state_says_what_to_do(spec: Path) -> None:
    """The message has the choices, and `--fresh` is one of them for each command."""
    tiny.step(spec)
    tiny.edit(spec, f"state: {read_document(spec).state}", "state: s0123456789abcdef")
    for command in (tiny.step, lambda s: tiny.run(s, steps=1), tiny.train):
        with pytest.raises(InputError, match=r"state s0123456789abcdef is not in .*--fresh") as caught:
            command(spec)
        assert "\n" not in str(caught.value)
    text = spec.read_bytes()
    for fresh in (
        tiny.step,
        lambda s, **o: tiny.run(s, steps=2, **o),
        lambda s, **o: tiny.step(s, to=1, **o),
    ):
        spec.write_bytes(text)
        assert 1 == fresh(spec, fresh=True)[0].version


def test_fresh_starts_untrained(tmp_path: Path) -> None:
    """`--fresh` at version 3 gives the version 1 that the same file without a state gives."""
    spec = tiny.make(tmp_path / "work")
    tiny.run(spec, steps=3)
    plain = tiny.make(tmp_path / "plain")
    plain.write_text(
        "".join(x for x in spec.read_text().splitlines(True) if not x.startswith(("version", "state")))
    )
    (expected,) = tiny.step(plain)
    for goal in (None, 1):
        before = spec.read_bytes()
        (saved,) = tiny.step(spec, to=goal, fresh=True)
        assert (1, expected.state) == (saved.version, saved.state)
        assert snapshot_of(spec).parent is None
        spec.write_bytes(before)
