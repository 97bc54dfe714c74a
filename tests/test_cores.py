"""Cores and threads that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nhnas.spec.config import Train
from nhnas.trainer import cores
from nhnas.trainer.numerics import choose_numerics


@pytest.mark.parametrize(
    ("quota", "asked", "expected"),
    [
        (None, None, (6, 6)),
        ("max 100000\n", "", (6, 6)),
        ("250000 100000\n", "4", (3, 3)),
        ("50000 100000\n", None, (1, 1)),
        ("900000 100000\n", "2,1", (6, 2)),
        ("garbage", "0", (6, 6)),
        (None, "64", (6, 6)),
        (None, "many", (6, 6)),
    ],
)
def test_the_least_limit_counts(
    quota: str | None,
    asked: str | None,
    expected: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Affinity and quota for cores, and OMP_NUM_THREADS for threads; what says nothing limits nothing."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert expected == (cores.usable_cores(), cores.usable_threads())


def test_training_takes_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the spec says how many."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [1, 2] == [choose_numerics(train).threads for train in (Train(), Train(threads=2))]
