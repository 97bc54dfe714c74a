"""A spec from somebody else can be looked at: it runs no code, and names no place outside its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import tiny
from tests.here import Here

READING = {
    "check": ("check", "spec.yaml"),
    "show": ("show", "spec.yaml", "--json"),
    "diff": ("diff", "old.yaml", "spec.yaml"),
    "plan": ("plan", "spec.yaml"),
    "render": ("render", "spec.yaml", "-o", "net.svg"),
    "log": ("log", "spec.yaml"),
    "gc": ("gc", "--dry-run"),
}

BOMB = "from pathlib import Path\nPath('ran').touch()\nraise SystemExit('boom')\n"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained spec, edited since; what it was is beside it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    (spec.parent / "old.yaml").write_bytes(spec.read_bytes())
    tiny.edit(spec, "op: dense, width: 2, note", "op: dense, act: relu, width: 2, note")
    monkeypatch.chdir(spec.parent)
    return spec


@pytest.mark.parametrize("form", [("bomb.py", "bomb:make"), ("bomb/__init__.py", "bomb.inner:make")])
@pytest.mark.parametrize("verb", READING)
def test_a_data_set_of_ones_own_is_not_imported_to_look_at_a_spec(
    verb: str, form: tuple[str, str], spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wherever its code would lie, it is not run."""
    file, dotted = form
    (spec.parent / file).parent.mkdir(exist_ok=True)
    (spec.parent / file).write_text(BOMB)
    tiny.edit(spec, '"mydata:points"', f'"{dotted}"')
    code, out, err = Here(capfd)(*READING[verb])
    assert (0, "") == (code, err), out
    assert not (spec.parent / "ran").exists()
    assert [] == [path for path in spec.parent.rglob("*.pyc") if "bomb" in path.name]


def test_the_bomb_goes_off_where_the_data_are_needed(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """So the test above would have seen it; one line, exit code 2."""
    (spec.parent / "bomb.py").write_text(BOMB)
    tiny.edit(spec, '"mydata:points"', '"bomb:make"')
    code, _, err = Here(capfd)("eval", "spec.yaml")
    assert (2, 1) == (code, err.count("\n"))
    assert (spec.parent / "ran").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mydata:points"', '"../mydata:points"'),
        ('"mydata:points"', '"..mydata:points"'),
        ('"mydata:points"', '"/tmp/mydata:points"'),
        ('"mydata:points"', '"os:getcwd"'),
        ("name: block", "name: ../block"),
        ("name: block", "name: /block"),
        ("state: ", "state: ../"),
        ("state: s", "state: /s"),
    ],
)
def test_no_path_leads_out_of_the_folder(
    old: str, new: str, spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Data sets, layers and states are names: what looks like a path is refused, exit code 2."""
    tiny.edit(spec, old, new)
    code, _, err = Here(capfd)("step", "spec.yaml")
    assert (2, "") == (code, err.partition("Traceback")[1]), err


def test_a_spec_named_like_a_path_writes_in_its_folder(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`name` goes into titles alone; no command makes a file of it."""
    tiny.edit(spec, "name: points", "name: ../../points")
    here, outside = Here(capfd), spec.parent.parent
    before = sorted(path for path in outside.iterdir())
    for words in (("render", "spec.yaml", "-o", "x.svg"), ("plot", "spec.yaml"), ("step", "spec.yaml")):
        assert (0, "") == here(*words)[::2]
    assert before == sorted(path for path in outside.iterdir())
    assert [] == [path.name for path in spec.parent.rglob("*points*")]
