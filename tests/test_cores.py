"""Cores and threads that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nhnas.spec.config import Train
from nhnas.trainer import control_groups, cores
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
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "CGROUPS", tmp_path)
    (tmp_path / "cgroup").write_text("0::/\n")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert expected == (cores.usable_cores(), cores.usable_threads())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"job/cpu.max": "max 100000", "cpu.max": "200000 100000"}, 2),
        ({"job/cpu.max": "100000 100000", "cpu.max": "300000 100000"}, 1),
        ({"cpu/old/cpu.cfs_quota_us": "250000", "cpu/old/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/old/cpu.cfs_quota_us": "-1", "cpu/old/cpu.cfs_period_us": "100000"}, 6),
    ],
)
def test_every_group_around_has_its_say(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quota of a slice holds for the jobs in it; version 1 writes two files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "CGROUPS", tmp_path)
    (tmp_path / "cgroup").write_text("3:cpu,cpuacct:/old\n0::/job\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert expected == cores.usable_cores()


def test_training_takes_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the spec says how many."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [1, 2] == [choose_numerics(train).threads for train in (Train(), Train(threads=2))]
