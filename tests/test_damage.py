"""Any flipped byte and any cut file of a snapshot is found before anything is trained, by every command."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from nhnas.spec.document import read_document
from tests import tiny
from tests.here import Here


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def damaged(spec: Path, here: Here, tries: int, seed: int) -> None:
    """Flip a bit or cut a file, so many times; each command says which file, and leaves with 2."""
    rng = Random(seed)
    folder = spec.parent / ".nhnas" / "snapshots" / (read_document(spec).state or "")
    files = sorted(folder.iterdir())
    for _ in range(tries):
        path = rng.choice(files)
        whole = path.read_bytes()
        if rng.random() < 0.2:
            path.write_bytes(whole[: rng.randrange(len(whole))])
        else:
            at = rng.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        words = rng.choice((("step",), ("eval",), ("plan",), ("train", "--epochs", "1")))
        code, _, err = here(words[0], str(spec), *words[1:])
        assert (2, 1) == (code, err.count("\n")), (path.name, words, err)
        assert str(path) in err, err
        path.write_bytes(whole)


def test_damage_is_found_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """120 tries over every file, the manifest included; then the step runs as if nothing had been."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    tiny.step(spec)
    tiny.edit(spec, "op: dense, width: 3", "op: dense, width: 3, note: x")
    before = tiny.outcome(spec)
    damaged(spec, Here(capfd), 120, seed=0)
    assert before == tiny.outcome(spec)
    assert 2 == tiny.step(spec)[0].version


@pytest.mark.crash
def test_damage_is_found_and_named_2000_times(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The long form."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    tiny.step(spec)
    damaged(spec, Here(capfd), 2_000, seed=1)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "spec.yaml", "state.json"])
def test_files_of_another_version_are_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Weights, optimizer, spec and counters of different versions never come together."""
    spec = tiny.make(tmp_path / "work")
    tiny.run(spec, steps=2)
    store = spec.parent / ".nhnas" / "snapshots"
    mine = store / (read_document(spec).state or "")
    other = next(path for path in store.iterdir() if path != mine)
    (mine / name).write_bytes((other / name).read_bytes())
    code, _, err = Here(capfd)("step", str(spec))
    assert (2, 1) == (code, err.count("\n"))
    assert str(mine / name) in err
