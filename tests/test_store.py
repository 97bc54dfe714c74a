"""Snapshots: round trip, identity, every kind of damage found and named, history without torch."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from nhnas.compiler.canonical import canonical_json, parse_canonical
from nhnas.compiler.history import known_ids, lineage, load_info
from nhnas.compiler.store import Snapshot, identify, load_snapshot, save_snapshot
from nhnas.spec.errors import InputError, TrainingError
from tests.saved import forge

pytestmark = pytest.mark.usefixtures("no_fsync")

FILES = {
    "spec.yaml",
    "weights.safetensors",
    "optimizer.safetensors",
    "state.json",
    "edits.yaml",
    "metrics.jsonl",
    "MANIFEST.json",
}


def snapshot(parent: str | None = None, version: int = 1, **changes: Any) -> Snapshot:
    """A small snapshot, with its right id."""
    content: dict[str, Any] = {
        "spec_text": b"format: 1\nname: t\xc3\xa4st\n",
        "weights": {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.zeros(2)},
        "optimizer": {"exp_avg/head.weight": torch.full((2, 3), 0.1), "step": torch.tensor(7)},
        "state": {
            "architecture": {"input": [3], "net": [{"name": "head", "op": "dense", "width": 2}]},
            "exact": {"ages": {"head": [1, 2]}, "rate": 0.1},
            "info": {"seconds": 1.5},
        },
        "edits": [{"kind": "AddNeurons", "site": "köpfe.width", "at": [0]}, {"kind": "Promote", "path": "a"}],
        "metrics": [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": 1e-05}],
        **changes,
    }
    own = identify(parent, version, content["weights"], content["optimizer"], content["state"])
    return Snapshot(id=own, parent=parent, version=version, **content)


def plain(value: Snapshot) -> dict[str, Any]:
    """A snapshot that can be compared."""
    fields = dict(vars(value))
    for part in ("weights", "optimizer"):
        fields[part] = {name: (tensor.dtype, tensor.tolist()) for name, tensor in fields[part].items()}
    return fields


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_snapshot(tmp_path / ".nhnas", snapshot())


def test_round_trip(tmp_path: Path, saved: Path) -> None:
    """A loaded snapshot is what was saved; the store hides itself from git; nothing temporary is left."""
    store = tmp_path / ".nhnas"
    assert plain(snapshot()) == plain(load_snapshot(store, snapshot().id))
    assert {saved.name} == set(os.listdir(store / "snapshots"))
    assert {"snapshots", ".gitignore"} == set(os.listdir(store))
    assert set(files_of(saved)) == FILES


def test_empty_parts_round_trip(tmp_path: Path) -> None:
    """No tensors, edits or metrics are as good as many."""
    empty = snapshot(weights={}, optimizer={}, edits=[], metrics=[], spec_text=b"")
    save_snapshot(tmp_path, empty)
    assert plain(empty) == plain(load_snapshot(tmp_path, empty.id))


def test_same_state_same_bytes(tmp_path: Path, saved: Path) -> None:
    """The same snapshot saved elsewhere is the same bytes in every file."""
    assert files_of(saved) == files_of(save_snapshot(tmp_path / "other", snapshot()))


def test_saved_again_is_left_as_it_is(tmp_path: Path, saved: Path) -> None:
    """A snapshot is never rewritten, even where what is not in its id differs."""
    before = files_of(saved)
    other = snapshot(metrics=[], spec_text=b"other")
    assert saved == save_snapshot(tmp_path / ".nhnas", other)
    assert before == files_of(saved)


def test_saving_over_a_damaged_one_is_refused(tmp_path: Path, saved: Path) -> None:
    """A damaged snapshot with the same id is reported instead of taken for the new one."""
    (saved / "state.json").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"state\.json: has 2 bytes instead of"):
        save_snapshot(tmp_path / ".nhnas", snapshot())


def test_edits_are_yaml(saved: Path) -> None:
    """edits.yaml is read by any YAML parser as the records that were saved."""
    assert snapshot().edits == YAML(typ="safe", pure=True).load(saved / "edits.yaml")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_modes_follow_umask(tmp_path: Path, mask: int, mode: int) -> None:
    """Every file is as readable as the umask says, and so are the folders."""
    old = os.umask(mask)
    try:
        folder = save_snapshot(tmp_path / "store", snapshot())
    finally:
        os.umask(old)
    assert {mode} == {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert 0o777 & ~mask == stat.S_IMODE(folder.stat().st_mode)


def test_moved_store_loads_and_names_no_path(tmp_path: Path, saved: Path) -> None:
    """A copied store is as good as the first, and no file holds the path of the machine."""
    shutil.copytree(tmp_path / ".nhnas", tmp_path / "copy")
    assert plain(snapshot()) == plain(load_snapshot(tmp_path / "copy", snapshot().id))
    assert [] == [name for name, data in files_of(saved).items() if os.fsencode(tmp_path) in data]


def test_id_is_the_same_in_every_process_and_release() -> None:
    """The id of a known content is a known text: it depends on nothing else."""
    assert "s7c7eb5b4ab5d4f92" == snapshot().id


WEIGHTS = snapshot().weights
STATE = snapshot().state
INGREDIENTS: dict[str, Callable[[], Snapshot]] = {
    "parent": lambda: snapshot(parent="s0123456789abcdef"),
    "version": lambda: snapshot(version=2),
    "a weight's last bit": lambda: snapshot(
        weights={**WEIGHTS, "head.bias": torch.tensor([0.0, -0.0])},
    ),
    "a weight's name": lambda: snapshot(
        weights={"head.weight": WEIGHTS["head.weight"], "tail.bias": WEIGHTS["head.bias"]}
    ),
    "a weight's shape": lambda: snapshot(
        weights={**WEIGHTS, "head.weight": WEIGHTS["head.weight"].reshape(3, 2)}
    ),
    "a weight's type": lambda: snapshot(
        weights={**WEIGHTS, "head.bias": torch.zeros(2, dtype=torch.int32)},
    ),
    "a weight less": lambda: snapshot(weights={"head.weight": WEIGHTS["head.weight"]}),
    "an optimizer entry": lambda: snapshot(optimizer={**snapshot().optimizer, "step": torch.tensor(8)}),
    "weight turned optimizer entry": lambda: snapshot(
        weights={"head.weight": WEIGHTS["head.weight"]},
        optimizer={**snapshot().optimizer, "head.bias": WEIGHTS["head.bias"]},
    ),
    "the architecture": lambda: snapshot(state={**STATE, "architecture": {"input": [4], "net": []}}),
    "the exact state": lambda: snapshot(state={**STATE, "exact": {"ages": {"head": [1, 3]}, "rate": 0.1}}),
    "a float's last digit": lambda: snapshot(
        state={**STATE, "exact": {"ages": {"head": [1, 2]}, "rate": 0.1 + 2**-56}}
    ),
}


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_id_changes_with_every_ingredient(ingredient: str) -> None:
    """Whatever the future of a snapshot depends on changes its id."""
    assert snapshot().id != INGREDIENTS[ingredient]().id


def test_id_does_not_change_with_the_rest() -> None:
    """Order, memory format, device copies, times, settings in the file and metrics are not in the id."""
    other = snapshot(
        weights={
            "head.bias": torch.zeros(4)[::2],
            "head.weight": torch.arange(6.0).reshape(2, 3).t().contiguous().t(),
        },
        state={**STATE, "info": {"seconds": 9.0}},
        metrics=[],
        edits=[],
        spec_text=b"",
    )
    assert snapshot().id == other.id


def test_wrong_id_is_not_saved(tmp_path: Path) -> None:
    """An id that is not that of the content is our bug and never reaches the store."""
    with pytest.raises(ValueError, match="is not the id of"):
        save_snapshot(tmp_path, dataclasses.replace(snapshot(), version=9))
    assert [] == os.listdir(tmp_path / "snapshots")


def test_not_finite_is_never_saved(tmp_path: Path) -> None:
    """NaN in a tensor stops the save and names the tensor; nothing reaches the store."""
    bad = snapshot(optimizer={"exp_avg/a": torch.tensor([float("nan")])})
    with pytest.raises(TrainingError, match="tensor exp_avg/a holds NaN"):
        save_snapshot(tmp_path, bad)
    assert [] == os.listdir(tmp_path / "snapshots")


def damages(folder: Path, count: int) -> list[tuple[str, int, int | None]]:
    """`count` places over all files: (file, position, flipped bit or None for a cut there)."""
    chooser = random.Random(0)
    chosen = []
    for _ in range(count):
        name = chooser.choice(sorted(FILES))
        position = chooser.randrange((folder / name).stat().st_size)
        chosen.append((name, position, chooser.choice([None, 0, 1, 2, 3, 4, 5, 6, 7])))
    return chosen


def test_any_flipped_byte_or_cut_is_found_and_named(tmp_path: Path, saved: Path) -> None:
    """400 flips and cuts over all files: each is found, in one line that names the file."""
    for name, position, bit in damages(saved, 400):
        path = saved / name
        good = path.read_bytes()
        bad = good[:position] if bit is None else bytearray(good)
        if isinstance(bad, bytearray) and bit is not None:
            bad[position] ^= 1 << bit
        path.write_bytes(bad)
        with pytest.raises(InputError) as caught:
            load_snapshot(tmp_path / ".nhnas", snapshot().id)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).isprintable()
        path.write_bytes(good)
    assert plain(snapshot()) == plain(load_snapshot(tmp_path / ".nhnas", snapshot().id))


def test_small_files_are_verified_for_the_log_too(tmp_path: Path, saved: Path) -> None:
    """`load_info` finds damage in what it reads, and another size of what it does not."""
    for name in sorted(FILES):
        path = saved / name
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        with pytest.raises(InputError) as caught:
            load_info(tmp_path / ".nhnas", snapshot().id)
        assert str(caught.value).startswith(f"{path}: ")
        path.write_bytes(good)


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file_is_named(tmp_path: Path, saved: Path, name: str) -> None:
    """A file that is not there any more is named."""
    (saved / name).unlink()
    with pytest.raises(InputError) as caught:
        load_snapshot(tmp_path / ".nhnas", snapshot().id)
    assert str(caught.value).startswith(f"{saved / name}: is missing; restore")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_unknown_file_is_named(tmp_path: Path, saved: Path, kind: str) -> None:
    """Whatever is not in the manifest is named."""
    path = saved / "extra"
    makers: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("spec.yaml"),
        "pipe": lambda: os.mkfifo(path),
    }
    makers[kind]()
    with pytest.raises(InputError) as caught:
        load_snapshot(tmp_path / ".nhnas", snapshot().id)
    assert str(caught.value).startswith(f"{path}: is not in the manifest; ")


def test_pipe_or_link_in_place_of_a_file(tmp_path: Path, saved: Path) -> None:
    """A pipe instead of a file does not block, a link is not followed."""
    path, away = saved / "weights.safetensors", tmp_path / "away"
    path.rename(away)
    os.mkfifo(path)
    with pytest.raises(InputError, match="is not a regular file"):
        load_snapshot(tmp_path / ".nhnas", snapshot().id)
    path.unlink()
    path.symlink_to(away)
    with pytest.raises(InputError, match="is a link, not a regular file"):
        load_snapshot(tmp_path / ".nhnas", snapshot().id)


def test_weights_of_another_version_are_refused(tmp_path: Path, saved: Path) -> None:
    """A snapshot put together from two versions is found although its manifest is right."""
    other = save_snapshot(tmp_path / "other", snapshot(weights={"a": torch.ones(1)}))
    forge(saved, "weights.safetensors", (other / "weights.safetensors").read_bytes())
    with pytest.raises(InputError, match=f"its content is not that of {saved.name}"):
        load_snapshot(tmp_path / ".nhnas", saved.name)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("state.json", b"[]", "needs architecture, exact and info"),
        ("state.json", b'{"a": 1}', "not in canonical form"),
        ("state.json", b'{"a":NaN}', "not JSON"),
        ("state.json", b"[" * 100_000, "nested too deeply"),
        ("edits.yaml", b"- !!python/object:os.system {}\n", "not JSON"),
        ("edits.yaml", b"- 1\n", "each line must be a record"),
        ("metrics.jsonl", b'{"a":1,"a":1}\n', "not in canonical form"),
        ("metrics.jsonl", b"\xff\n", "not JSON"),
        ("weights.safetensors", b"", "0 bytes are no safetensors file"),
    ],
)
def test_forged_file_is_one_line(tmp_path: Path, saved: Path, name: str, data: bytes, problem: str) -> None:
    """Content that no nhnas writes is refused in one line although its hash is right."""
    forge(saved, name, data)
    with pytest.raises(InputError) as caught:
        load_snapshot(tmp_path / ".nhnas", saved.name)
    assert str(caught.value).startswith(f"{saved / name}: ")
    assert problem in str(caught.value)
    assert str(caught.value).isprintable()


def test_renamed_snapshot_is_refused(tmp_path: Path, saved: Path) -> None:
    """A folder with the name of another snapshot does not pass for it."""
    other = saved.rename(saved.with_name("s" + "0" * 16))
    with pytest.raises(InputError, match=f"holds snapshot {saved.name}"):
        load_snapshot(tmp_path / ".nhnas", other.name)


def test_missing_snapshot_tells_the_choices(tmp_path: Path) -> None:
    """A state that is not in the store names the store, what it has, and the three ways on."""
    missing = "s" + "0" * 16
    ways = "check out the commit that has it, copy .nhnas/, or start untrained with --fresh"
    with pytest.raises(InputError) as caught:
        load_snapshot(tmp_path, missing)
    assert f"state {missing} is not in {tmp_path} (known: none); {ways}" == str(caught.value)
    ids = sorted(save_snapshot(tmp_path, snapshot(version=version)).name for version in range(7))
    with pytest.raises(InputError) as caught:
        load_info(tmp_path, missing)
    assert f"(known: {', '.join(ids[:5])} and 2 more); {ways}" in str(caught.value)
    assert ids == known_ids(tmp_path)


@pytest.mark.parametrize("bad", ["", "../../etc", "s123", "S0123456789abcdef", "s0123456789abcdef\n", "/"])
def test_state_that_is_no_id_never_becomes_a_path(tmp_path: Path, bad: str) -> None:
    """Only an id is looked up; a path in the spec's `state` cannot leave the store."""
    with pytest.raises(InputError, match="is no snapshot id"):
        load_snapshot(tmp_path, bad)


def test_lineage_is_oldest_first(tmp_path: Path) -> None:
    """The history of a snapshot follows its parents, past branches, and ends where the store ends."""
    first = snapshot()
    second = snapshot(parent=first.id, version=2)
    branch = snapshot(parent=first.id, version=2, weights={})
    third = snapshot(parent=second.id, version=3)
    for each in (first, second, branch, third):
        save_snapshot(tmp_path, each)
    assert [first.id, second.id, third.id] == [info.id for info in lineage(tmp_path, third.id)]
    shutil.rmtree(tmp_path / "snapshots" / first.id)
    history = lineage(tmp_path, third.id)
    assert [(2, second.edits), (3, third.edits)] == [(info.version, info.edits) for info in history]
    assert first.id == history[0].parent


def test_info_is_the_snapshot_without_tensors(tmp_path: Path, saved: Path) -> None:
    """What the log reads is what was saved."""
    expected = vars(snapshot())
    info = vars(load_info(tmp_path / ".nhnas", saved.name))
    assert {key: expected[key] for key in info} == info


def test_history_and_lock_do_not_import_torch() -> None:
    """Commands that only read the history or take the lock never pay for torch."""
    code = (
        "import sys, nhnas.compiler.history, nhnas.compiler.lock, nhnas.compiler.files; "
        "print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == result.stdout


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"b": [1, 1.0, 0.1, -0.0, True, None], "a": "ä\n"},
            b'{"a":"\xc3\xa4\\n","b":[1,1.0,0.1,-0.0,true,null]}',
        ),
        ((1, (2,)), b"[1,[2]]"),
        (1e-300, b"1e-300"),
    ],
)
def test_canonical_json(value: object, expected: bytes) -> None:
    """Keys are sorted, nothing is padded, floats are written so that they come back."""
    assert expected == canonical_json(value)
    assert expected == canonical_json(parse_canonical(expected, Path("x")))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": [0.0, float("nan")]}, ValueError, r"^value\.a\[1\]: "),
        ([{"b": -float("inf")}], ValueError, r"^value\[0\]\.b: "),
        ({"a": [{1: 2}]}, TypeError, r"^value\.a\[\]: the key 1 is no text$"),
        ({"a": b"bytes"}, TypeError, "bytes"),
        ("\ud800", ValueError, "surrogates"),
    ],
)
def test_canonical_json_refuses(value: object, error: type[Exception], message: str) -> None:
    """What JSON cannot say exactly is refused, saying where."""
    with pytest.raises(error, match=message):
        canonical_json(value)
