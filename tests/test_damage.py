"""Any flipped byte and any cut file of a snapshot is found before anything is trained, by every command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from nhnas.compiler.store import identify, load_snapshot, save_snapshot
from nhnas.spec.document import read_document
from tests import tiny
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")


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
    with capfd.disabled():
        print("\ndamaged snapshots: 2000 of 2000 flips and cuts found, the file named, exit code 2")


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


@pytest.mark.parametrize("part", ["weights", "optimizer"])
def test_tensors_of_another_version_are_refused_although_all_hashes_are_right(
    part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Put together by somebody, id and manifest included: the first mismatch is told with both shapes."""
    spec, here = tiny.make(tmp_path / "work", tiny.CONV), Here(capfd)
    tiny.run(spec, steps=2)
    store, own = spec.parent / ".nhnas", read_document(spec).state or ""
    mine = load_snapshot(store, own)
    mixed = replace(mine, **{part: getattr(load_snapshot(store, mine.parent or ""), part)})
    mixed = replace(
        mixed, id=identify(mine.parent, mine.version, mixed.weights, mixed.optimizer, mixed.state)
    )
    save_snapshot(store, mixed)
    tiny.edit(spec, own, mixed.id)
    before = tiny.outcome(spec)
    for words in (("step",), ("train", "--epochs", "1")):
        code, _, err = here(words[0], str(spec), *words[1:])
        assert (2, 1) == (code, err.count("\n")), err
        assert re.search(r"\[\d[\d, ]*\].*\[\d[\d, ]*\]", err), err
        assert part in err
    assert before == tiny.outcome(spec)


def test_the_log_finds_what_it_reads_damaged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of an ancestor, too: any of the small files changed, any file cut short or gone."""
    spec, here = tiny.make(tmp_path / "work"), Here(capfd)
    tiny.run(spec, steps=2)
    own = read_document(spec).state
    (folder,) = [path for path in (spec.parent / ".nhnas" / "snapshots").iterdir() if path.name != own]
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        bad = [whole[:-1], b""]
        if path.suffix != ".safetensors":
            bad += [bytes([whole[0] ^ 1]) + whole[1:], whole[:-2] + bytes([whole[-2] ^ 4]) + whole[-1:]]
        for content in bad:
            path.write_bytes(content)
            code, _, err = here("log", str(spec))
            assert (2, 1, True) == (code, err.count("\n"), str(path) in err), (path.name, err)
        path.unlink()
        code, _, err = here("log", str(spec))
        assert (2, True) == (code, str(path) in err), err
        path.write_bytes(whole)
    assert 0 == here("log", str(spec))[0]
