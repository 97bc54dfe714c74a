"""`nhnas log` and `nhnas eval`: what they tell of the versions, and that they change none."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nhnas.evaluation import evaluate_spec
from nhnas.log import edits_text, history, measure_text
from nhnas.log_table import table
from nhnas.report import Silent
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
from nhnas.trainer.forms import Timing
from nhnas.work import Context
from tests import tiny
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")

KEYS = ["version", "state", "parent", "neurons", "parameters", "macs", "depth", "test", "edits", "max_change"]
"""DESIGN §8; these names stay."""


def context(spec: Path, fresh: bool = False) -> Context:
    """What the reading commands are given."""
    return Context(spec, Silent(), fresh=fresh)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in a folder with its time of change."""
    found: Iterator[Path] = folder.rglob("*")
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size, p.stat().st_ino) for p in [folder, *found]}


def test_a_record_a_version_oldest_first(tmp_path: Path) -> None:
    """The documented keys, and in them what was saved with each version."""
    spec = tiny.make(tmp_path / "work")
    saved = tiny.run(spec, steps=3)
    records = history(spec)
    assert [1, 2, 3] == [record["version"] for record in records]
    assert [one.state for one in saved] == [record["state"] for record in records]
    assert [None, saved[0].state, saved[1].state] == [record["parent"] for record in records]
    for one, record in zip(saved, records, strict=True):
        assert [] == [key for key in KEYS if key not in record]
        assert (one.test, one.edits, one.max_change) == tuple(
            record[k] for k in ("test", "edits", "max_change")
        )
        assert {"add_neurons", "remove_neurons"} <= {edit["kind"] for edit in record["edits"]}
    totals = measure(read_document(spec).architecture).as_dict()
    assert {key: records[-1][key] for key in ("neurons", "parameters", "macs", "depth")} == {
        key: totals[key] for key in ("neurons", "parameters", "macs", "depth")
    }


def test_a_branch_has_its_own_lineage(tmp_path: Path) -> None:
    """After going on from version 1 twice, each file sees its own versions alone."""
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    old = spec.read_text()
    tiny.run(spec, steps=2)
    spec.write_text(old.replace("lr: 0.05", "lr: 0.02"))
    (branch,) = tiny.step(spec)
    assert [1, 2] == [record["version"] for record in history(spec)]
    assert branch.state == history(spec)[-1]["state"]


def test_nothing_to_tell_and_what_cannot_be_told(tmp_path: Path) -> None:
    """An untrained file has no versions; a state that is not in the store is an error with its choices."""
    spec = tiny.make(tmp_path / "work")
    assert [] == history(spec)
    assert not (spec.parent / ".nhnas").exists()
    tiny.edit(spec, "input:", "state: s0123456789abcdef\ninput:")
    with pytest.raises(InputError, match="s0123456789abcdef is not in"):
        history(spec)


@pytest.mark.parametrize(
    "text", [tiny.DENSE, tiny.CONV, tiny.REGRESSION], ids=["points", "images", "surface"]
)
def test_eval_repeats_what_log_shows_and_writes_nothing(text: str, tmp_path: Path) -> None:
    """To the last digit, for classes and for values; with a hand edit in the file it still writes nothing."""
    spec = tiny.make(tmp_path / "work", text)
    tiny.run(spec, steps=2)
    before = listing(spec.parent)
    found = evaluate_spec(spec, "test", context(spec))
    assert {"split": "test", **history(spec)[-1]["test"]} == found
    assert before == listing(spec.parent)
    assert {"split": "train"}.items() <= evaluate_spec(spec, "train", context(spec)).items()
    untrained = evaluate_spec(spec, "test", context(spec, fresh=True))
    assert untrained != found
    tiny.edit(spec, "name: head, op: dense", "name: head, act: tanh, op: dense")
    before = listing(spec.parent)
    assert found != evaluate_spec(spec, "test", context(spec))
    assert before == listing(spec.parent)


def test_eval_is_the_same_whatever_the_training_ran_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained in channels_last, the saved figures are still those of `eval`."""
    monkeypatch.setattr(
        "nhnas.measuring.measured",
        lambda n, *_: (replace(n, memory_format="channels_last"), Timing(1, {}, {})),
    )
    text = tiny.CONV.replace("deterministic: true", "threads: 1").replace("width: 3, act", "width: 16, act")
    spec = tiny.make(tmp_path / "work", text)
    for _ in range(2):
        (saved,) = tiny.step(spec)
        assert {"split": "test", **saved.test} == evaluate_spec(spec, "test", context(spec))


def test_eval_of_a_split_that_is_not_there(tmp_path: Path) -> None:
    """The message names the splits there are; with `data.val` there is one more."""
    spec = tiny.make(tmp_path / "work")
    with pytest.raises(InputError, match=r"no split 'val', only train, test; data\.val holds samples out"):
        evaluate_spec(spec, "val", context(spec))
    tiny.edit(spec, "data: {", "data: {val: 0.25, ")
    found = evaluate_spec(spec, "val", context(spec))
    assert 0.0 == math.fmod(found["accuracy"] * 6, 1.0)


def test_the_table() -> None:
    """Aligned columns, one line a version."""
    record = {"version": 9, "state": "s0123456789abcdef", "neurons": 1200, "parameters": 31000, "macs": 5}
    record |= {"depth": 3, "epochs": 12, "test": {"accuracy": 0.98312}, "max_change": 2.5e-7, "edits": []}
    first, second = record | {"parent": None}, record | {"parent": record["state"], "state": "s" + 16 * "1"}
    lines = table([first, second | {"version": 10, "parameters": 1234567}]).splitlines()
    words = [
        "version",
        "state",
        "neurons",
        "parameters",
        "MACs",
        "depth",
        "epochs",
        "test",
        "|Δoutput|",
        "edits",
    ]
    cells = ["9", "s0123456789abcdef", "1,200", "31,000", "5", "3", "12", "98.31%", "2.5e-07", "none"]
    assert [words, cells] == [line.split() for line in lines[:2]]
    assert [line.rindex("98.31%") for line in lines[1:]] == [lines[0].index("test") - 2] * 2
    assert 3 == len(lines)


def test_texts_of_edits_and_measures() -> None:
    """Neurons are summed by site; other edits stand one by one."""
    edits: list[dict[str, Any]] = [
        {"kind": "add_neurons", "site": "a.hidden", "at": [1, 2, 3]},
        {"kind": "promote", "path": "a.first", "residual": {"hidden": 0}},
        {"kind": "remove_neurons", "site": "a.hidden", "at": [0]},
        {"kind": "add_neurons", "site": "a.width", "at": [4]},
        {"kind": "rename", "old": "b", "new": "c"},
        {"kind": "remove_layer", "index": 1, "layer": {"name": "d", "op": "dense", "width": 3}},
        {"kind": "set", "path": "a", "key": "act", "old": None, "new": "relu"},
    ]
    told = "a.hidden +3-1, a.width +1, promote a.first, rename b → c, remove_layer d, set a.act"
    assert told == edits_text(edits)
    assert "none" == edits_text([])
    assert ["98.31%", "mse 0.000421"] == [
        measure_text({"accuracy": 0.98312}),
        measure_text({"mse": 0.00042101}),
    ]


def test_a_store_that_lacks_a_beginning_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The log and the picture say from where on they show; a whole store says nothing."""
    spec = tiny.make(tmp_path / "work")
    tiny.run(spec, steps=3)
    here = Here(capfd)
    assert "not in the store" not in here("log", str(spec))[1]
    first, second = (record["state"] for record in history(spec)[:2])
    shutil.rmtree(spec.parent / ".nhnas" / "snapshots" / first)
    told = f"version 2 came from {first}, which is not in the store: nothing before it is shown\n"
    code, out, error = here("log", str(spec))
    assert (0, "", True) == (code, error, out.endswith(told))
    assert second in out
    assert (0, f"{spec.with_name('spec.depth.png')}\n{told}", "") == here(
        "plot", str(spec), "--figure", "depth"
    )
    assert told not in here("plot", str(spec), "--figure", "architecture")[1]
