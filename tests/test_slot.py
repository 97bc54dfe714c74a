"""The slot of a running command, and commits killed or failing at every single system call."""

from __future__ import annotations

import errno
import os
import signal
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from nhnas.compiler.files import replace_text, sweep
from nhnas.compiler.lock import hold
from nhnas.compiler.slot import clear_slot, read_slot, write_slot
from nhnas.compiler.store import Snapshot, identify, load_snapshot, save_snapshot
from nhnas.spec.errors import InputError, StorageError, TrainingError

pytestmark = pytest.mark.usefixtures("no_fsync")

NAME = "spec.yaml"
CALLS = ("mkdir", "fsync", "rename", "unlink", "rmdir", "write", "fchmod")


def write(store: Path, epoch: int) -> None:
    tensors = {"weights.safetensors": {"a": torch.full((2,), float(epoch))}, "optimizer.safetensors": {}}
    write_slot(store, NAME, {"to": 9}, tensors, {"epoch": epoch})


def epoch_of(store: Path) -> int:
    """The epoch that the slot holds, the same in both of its parts; 0 without a slot."""
    slot = read_slot(store, NAME)
    if slot is None:
        return 0
    assert [slot.data["epoch"]] * 2 == slot.tensors["weights.safetensors"]["a"].tolist()
    return int(slot.data["epoch"])


def left_overs(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".tmp-*"))


def test_slot_round_trip(tmp_path: Path) -> None:
    """The slot that is read is the one written last; cleared, there is none; one is on disk at rest."""
    assert 0 == epoch_of(tmp_path)
    for epoch in (1, 2, 3):
        write(tmp_path, epoch)
        assert epoch == epoch_of(tmp_path)
        assert [f"{epoch}.slot"] == os.listdir(tmp_path / "slots" / NAME)
    slot = read_slot(tmp_path, NAME)
    assert slot is not None
    assert ({"to": 9}, {}, 3) == (slot.goal, slot.tensors["optimizer.safetensors"], slot.generation)
    clear_slot(tmp_path, NAME)
    clear_slot(tmp_path, NAME)
    assert 0 == epoch_of(tmp_path)


def test_specs_have_their_own_slots(tmp_path: Path) -> None:
    """Specs that share a store do not see each other's slots."""
    write(tmp_path, 1)
    assert read_slot(tmp_path, "other.yaml") is None


def test_damaged_slot_names_file_and_way_out(tmp_path: Path) -> None:
    """Any flipped byte and any cut names the file and --discard."""
    write(tmp_path, 1)
    path = tmp_path / "slots" / NAME / "1.slot"
    good = path.read_bytes()
    flips = [good[:i] + bytes([good[i] ^ 4]) + good[i + 1 :] for i in range(len(good))]
    for bad in [*flips, *(good[:i] for i in range(0, len(good), 7))]:
        path.write_bytes(bad)
        with pytest.raises(InputError) as caught:
            read_slot(tmp_path, NAME)
        assert str(caught.value).startswith(f"{path}: ")
        assert "--discard" in str(caught.value)
    path.write_bytes(good)
    assert 1 == epoch_of(tmp_path)


def test_slot_renamed_to_a_later_generation_is_refused(tmp_path: Path) -> None:
    """A generation under another number does not pass for it."""
    write(tmp_path, 1)
    folder = tmp_path / "slots" / NAME
    (folder / "1.slot").rename(folder / "7.slot")
    with pytest.raises(InputError, match="is not the slot that its name says"):
        read_slot(tmp_path, NAME)


def test_nothing_bad_reaches_the_slot(tmp_path: Path) -> None:
    """NaN in a tensor, NaN in the data and a name that is a path leave the old slot as it was."""
    write(tmp_path, 1)
    nan = torch.tensor(float("nan"))
    with pytest.raises(TrainingError, match="tensor b holds NaN"):
        write_slot(tmp_path, NAME, {}, {"a.safetensors": {"b": nan}}, {})
    with pytest.raises(ValueError, match=r"data\.loss"):
        write_slot(tmp_path, NAME, {}, {}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="no file name of the form"):
        write_slot(tmp_path, NAME, {}, {"../a.safetensors": {}}, {})
    assert 1 == epoch_of(tmp_path)


def example(weight: float) -> Snapshot:
    state: dict[str, Any] = {"architecture": {}, "exact": {}, "info": {}}
    weights = {"a": torch.tensor([weight])}
    own = identify(None, 1, weights, {}, state)
    return Snapshot(own, None, 1, b"spec", weights, {}, state, [], [])


def count_calls(at: int, action: Callable[[], None]) -> Callable[[], None]:
    """Wraps every write-class call of `os` so that `action` runs instead of the call number `at`."""
    left = [at]

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                action()
            return call(*args, **kwargs)

        return wrapped

    originals = {name: getattr(os, name) for name in CALLS}

    def restore() -> None:
        for name, call in originals.items():
            setattr(os, name, call)

    for name, call in originals.items():
        setattr(os, name, wrap(call))
    return restore


def killed(at: int, work: Callable[[], object]) -> bool:
    """Runs `work` in a child that gets SIGKILL at its call number `at`; False if it has fewer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork with threads
        child = os.fork()
    if child == 0:
        try:
            count_calls(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def failure(at: int, number: int, work: Callable[[], object]) -> str | None:
    """Runs `work` while its call number `at` fails; the error's message, None if it has fewer calls."""
    reached = []

    def fail() -> None:
        reached.append(at)
        raise OSError(number, os.strerror(number))

    restore = count_calls(at, fail)
    message = ""
    try:
        work()
    except StorageError as error:
        message = str(error)
    finally:
        restore()
    return message if reached else None


def test_slot_killed_at_every_call(tmp_path: Path) -> None:
    """Killed at its n-th call, for every n, a write leaves the old or the new slot, whole."""
    seen = []
    for at in range(1, 100):
        store = tmp_path / str(at)
        write(store, 1)
        if not killed(at, partial(write, store, 2)):
            break
        seen.append(epoch_of(store))
        with hold(store, NAME):
            assert [] == left_overs(store)
        assert len(os.listdir(store / "slots" / NAME)) <= 2
        write(store, 3)
        assert 3 == epoch_of(store)
        assert ["3.slot" if seen[-1] == 2 else "2.slot"] == os.listdir(store / "slots" / NAME)
    assert sorted(seen) == seen
    assert {1, 2} == set(seen)
    assert len(seen) >= 5


def test_clearing_killed_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it clears, the slot is there whole or gone, and an older one never comes back."""
    seen = []
    for at in range(1, 100):
        store = tmp_path / str(at)
        with monkeypatch.context() as patch:  # as after a kill before the older generation was removed
            patch.setattr("nhnas.compiler.slot._remove", lambda *_: None)
            write(store, 1)
            write(store, 2)
        if not killed(at, partial(clear_slot, store, NAME)):
            break
        seen.append(epoch_of(store))
        with hold(store, NAME):
            assert [] == left_overs(store)
    assert sorted(seen, reverse=True) == seen
    assert [2, 2] == seen
    assert 0 == epoch_of(store)


def test_snapshot_killed_at_every_call(tmp_path: Path) -> None:
    """Killed at its n-th call, for every n, a save leaves no snapshot or the whole; again, it is there."""
    seen = []
    for at in range(1, 100):
        store = tmp_path / str(at)
        if not killed(at, partial(save_snapshot, store, example(1.0))):
            break
        folder = store / "snapshots" / example(1.0).id
        seen.append(folder.exists())
        if folder.exists():
            load_snapshot(store, folder.name)
        with hold(store, NAME):
            assert [] == left_overs(store)
        assert folder == save_snapshot(store, example(1.0))
        assert 1.0 == load_snapshot(store, folder.name).weights["a"].item()
    assert sorted(seen) == seen
    assert {False, True} == set(seen)


def test_spec_killed_at_every_call(tmp_path: Path) -> None:
    """Killed at its n-th call, for every n, replacing a spec leaves the old or the new text."""
    seen = []
    path = tmp_path / NAME
    for at in range(1, 100):
        path.write_bytes(b"old")
        if not killed(at, lambda: replace_text(path, b"old", b"new")):
            break
        seen.append(path.read_bytes())
        sweep(tmp_path)
        assert [NAME] == os.listdir(tmp_path)
    assert sorted(seen, reverse=True) == seen
    assert {b"old", b"new"} == set(seen)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_every_call_failing_once(tmp_path: Path, number: int) -> None:
    """Each call failing once is one line with the reason, and the old or the new state is there, whole."""
    failures = 0
    for at in range(1, 100):
        store = tmp_path / str(at)
        write(store, 1)
        (store / NAME).write_bytes(b"old")

        def work(store: Path = store) -> None:
            save_snapshot(store, example(1.0))
            replace_text(store / NAME, b"old", b"new")
            write(store, 2)

        message = failure(at, number, work)
        if message is None:
            break
        failures += 1
        assert message.startswith(f"{store}/")
        assert message.endswith(f": {os.strerror(number)}")
        assert message.isprintable()
        assert epoch_of(store) in (1, 2)
        spec = (store / NAME).read_bytes()
        assert spec in (b"old", b"new")
        if spec == b"new":
            assert 1.0 == load_snapshot(store, example(1.0).id).weights["a"].item()
        with hold(store, NAME):
            sweep(store)
        assert [] == left_overs(store)
        write(store, 3)
        assert 3 == epoch_of(store)
    assert failures > 20
