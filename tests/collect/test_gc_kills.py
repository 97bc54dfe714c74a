"""`nhnas gc` killed at every call, and in a store that damage or a kill left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nhnas.compiler.store import load_snapshot, save_snapshot
from nhnas.log import history
from tests.collect.collected import gc, whole
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_damaged_snapshots_stay_as_they_are(spec: Path, states: list[str], here: Here) -> None:
    """They are told, the others are collected; the parent of one could be a tip, and stays."""
    folder = spec.parent / ".nhnas" / "snapshots" / states[1]
    (folder / "MANIFEST.json").write_text("{}")
    code, out, _ = here("gc", str(spec))
    assert (0, True) == (code, "dropped 2 of 5 snapshots" in out)
    assert "left as it is: " in out
    assert states[1] in out
    assert (folder / "weights.safetensors").exists()


def test_what_a_kill_left_is_swept(spec: Path) -> None:
    """Temporary files in the store and beside the spec go, files of other programs do not."""
    names = [".tmp-1-nhnas-00", ".nhnas/.tmp-1-nhnas-01", ".nhnas/snapshots/.tmp-1-nhnas-02"]
    for name in names:
        (spec.parent / name).touch()
    (spec.parent / ".tmp-else").touch()
    gc(spec)
    assert [False] * 3 == [(spec.parent / name).exists() for name in names]
    assert (spec.parent / ".tmp-else").exists()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it, and nothing is cleaned up."""


CALLS: dict[str, Callable[..., Any]] = {
    "unlink": os.unlink,
    "rename": os.rename,
    "mkdir": os.mkdir,
    "fsync": lambda _: None,
}


def kill_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """From the n-th call that changes the disk on, none is made."""
    made = 0

    def guard(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if made >= number:
                raise Killed
            return call(*args, **kwargs)

        return guarded

    for name, call in CALLS.items():
        patch.setattr(os, name, guard(call))
    patch.setattr(shutil, "rmtree", lambda *_, **__: None)


def test_a_kill_at_every_call(spec: Path, states: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot is whole or dropped, the log works, and a second gc ends where the first would have."""
    copy, store = spec.parent.parent / "copy", spec.parent / ".nhnas"
    shutil.copytree(store, copy)
    kills, told = 0, [record["state"] for record in history(spec, branches=True)]
    while True:
        with monkeypatch.context() as patch:
            kill_at(kills + 1, patch)
            try:
                gc(spec)
            except Killed:
                kills += 1
            else:
                break
        assert set(states[4:]) <= set(whole(spec)) <= set(states)
        assert told == [record["state"] for record in history(spec, branches=True)]
        gc(spec)
        assert states[4:] == whole(spec)
        assert {"snapshots", "spec.yaml.lock", ".gitignore"} >= set(os.listdir(store)) - {"slots"}
        assert set(states) == set(os.listdir(store / "snapshots"))
        shutil.rmtree(store)
        shutil.copytree(copy, store)
    assert kills > 4 * len(CALLS)


def test_a_kill_while_weights_come_back(
    spec: Path, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving the version again: dropped or whole at every moment, and whole after the next try."""
    store = spec.parent / ".nhnas"
    snapshot = load_snapshot(store, states[1])
    kills = 0
    while True:
        gc(spec)
        assert states[4:] == whole(spec)
        with monkeypatch.context() as patch:
            kill_at(kills + 1, patch)
            try:
                save_snapshot(store, snapshot)
            except Killed:
                kills += 1
            else:
                break
        assert whole(spec) in ([states[1], states[4]], states[4:])
        save_snapshot(store, snapshot)
        assert [states[1], states[4]] == whole(spec)
        assert not (store / "snapshots" / states[1] / "DROPPED.json").exists()
    assert kills >= 7
