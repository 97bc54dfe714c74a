"""Versions whose weights `nhnas gc` dropped: what they say, and how the weights come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nhnas.compiler.store import load_snapshot, save_snapshot
from nhnas.spec.errors import InputError
from tests import tiny
from tests.collect.collected import gc, whole, write
from tests.here import Here
from tests.repository import start

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_training_again_brings_the_weights_back(spec: Path, states: list[str]) -> None:
    """The same step from the same version gives the same snapshot, whole, and no small file changed."""
    before = tiny.outcome(spec)
    write(spec, 3, states)
    start(spec.parent)
    assert [*states[:2], *states[3:]] == gc(spec)
    tiny.step(spec)
    assert states[2:4] == whole(spec)
    again = {name: data for name, data in tiny.outcome(spec).items() if states[3] in name}
    assert again == {name: data for name, data in before.items() if states[3] in name}


def test_weights_from_a_copy_of_the_store(spec: Path, states: list[str], tmp_path: Path) -> None:
    """Copied back over a dropped snapshot they count again, and can be dropped again."""
    shutil.copytree(spec.parent / ".nhnas", tmp_path / "copy")
    gc(spec)
    shutil.copytree(tmp_path / "copy", spec.parent / ".nhnas", dirs_exist_ok=True)
    assert states == whole(spec)
    assert states[:4] == gc(spec)
    assert states[4:] == whole(spec)


def test_what_a_dropped_version_says(spec: Path, states: list[str], here: Here) -> None:
    """`eval` and `step` give one line with the choices; `log` and `show` work, and so does --fresh."""
    gc(spec)
    write(spec, 2, states)
    for verb in ("eval", "step"):
        code, out, err = here(verb, str(spec))
        assert (2, "") == (code, out)
        assert f"state {states[1]} (version 2): its weights were dropped by nhnas gc" in err
        assert "restore" in err
        assert "--fresh" in err
        assert 1 == err.count("\n")
    code, out, _ = here("log", str(spec))
    assert (0, 4) == (code, out.count("(weights dropped)"))
    assert 0 == here("show", str(spec))[0]
    assert 0 == here("step", str(spec), "--fresh")[0]


def test_other_tensors_do_not_come_back(spec: Path, states: list[str]) -> None:
    """Files that are not those of the manifest are refused with a way out: the snapshot stays dropped."""
    store = spec.parent / ".nhnas"
    snapshot = load_snapshot(store, states[1])
    gc(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nhnas.compiler.store.encode_chunks", lambda *_, **__: [b"another form"])
        with pytest.raises(InputError, match="would not come back as it was"):
            save_snapshot(store, snapshot)
    assert states[4:] == whole(spec)


def test_a_forged_marker(spec: Path, states: list[str]) -> None:
    """It permits no file to be missing but those it names, and must be what gc writes."""
    folder = spec.parent / ".nhnas" / "snapshots" / states[1]
    gc(spec)
    (folder / "state.json").unlink()
    with pytest.raises(InputError, match=r"state\.json: is missing"):
        load_snapshot(spec.parent / ".nhnas", states[1])
    for text in ("[]", '{"dropped":[1]}', '{"dropped": []}', ""):
        (folder / "DROPPED.json").write_text(text)
        with pytest.raises(InputError, match=r"DROPPED\.json: "):
            load_snapshot(spec.parent / ".nhnas", states[1])
