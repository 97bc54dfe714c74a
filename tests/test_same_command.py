"""An interrupted command goes on with the same command and the same version of the file alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nhnas.spec.errors import InputError, Interrupted
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_another_command_is_refused_while_one_waits(spec: Path) -> None:
    """Every one that does other work, or begins untrained; --discard goes."""
    with pytest.raises(Interrupted):
        tiny.run(spec, tiny.Counting(batch=3), steps=2)
    before = tiny.outcome(spec)
    others: list[Callable[..., object]] = [
        tiny.train,
        lambda s: tiny.run(s, steps=2, fresh=True),
        lambda s: tiny.step(s, fresh=True),
    ]
    for other in others:
        with pytest.raises(InputError) as caught:
            other(spec)
        message = (
            f"{spec}: `nhnas run --steps 2` was interrupted; go on with the same command, or --discard it"
        )
        assert message == str(caught.value)
    assert before == tiny.outcome(spec)
    (saved,) = tiny.step(spec, discard=True)
    assert 1 == saved.version
    assert [2, 3] == [s.version for s in tiny.run(spec, steps=2)]


@pytest.mark.parametrize(("first", "second"), [(None, 1), (1, None)])
def test_a_step_may_name_its_version_or_not(first: int | None, second: int | None, spec: Path) -> None:
    """`step` and `step --to 1` continue each other."""
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3), to=first)
    assert [1] == [saved.version for saved in tiny.step(spec, to=second)]


def test_fresh_is_part_of_the_command(spec: Path) -> None:
    """An interrupted step is not continued by `step --fresh`, nor the other way round."""
    tiny.step(spec)
    for first, second in ((False, True), (True, False)):
        with pytest.raises(Interrupted):
            tiny.step(spec, tiny.Counting(batch=3), fresh=first)
        words = "`nhnas step --fresh`" if first else "`nhnas step`"
        with pytest.raises(InputError, match=words):
            tiny.step(spec, fresh=second)
        assert [1 if first else 2] == [saved.version for saved in tiny.step(spec, fresh=first)]


def test_a_file_of_another_version_is_not_continued(spec: Path) -> None:
    """A step that was interrupted at version 2 does not end in a file that names version 1."""
    tiny.step(spec)
    old = spec.read_bytes()
    tiny.step(spec)
    new = spec.read_bytes()
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    spec.write_bytes(old)
    with pytest.raises(InputError, match=r"started from state s\w+, the file now names s\w+;.*--discard"):
        tiny.step(spec)
    spec.write_bytes(new)
    assert [3] == [saved.version for saved in tiny.step(spec)]


def test_the_file_of_an_interrupted_first_step_changed(spec: Path) -> None:
    """No state is told in words, whichever of the two has none."""
    untrained = spec.read_bytes()
    tiny.step(spec)
    trained = spec.read_bytes()
    spec.write_bytes(untrained)
    with pytest.raises(Interrupted):
        tiny.step(spec, tiny.Counting(batch=3))
    spec.write_bytes(trained)
    with pytest.raises(InputError, match=r"started from an untrained file, the file now names s\w+;"):
        tiny.step(spec)
