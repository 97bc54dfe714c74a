"""Whether images fit into memory, or into that of a GPU, and how many processes read those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError
from nhnas.trainer import control_groups, memory_room
from nhnas.trainer.dataset import Split
from nhnas.trainer.datasets import LazyImages, load_dataset
from tests.streamed import TEST, TRAIN, draw_pictures, loaded


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of small random images in two classes."""
    return draw_pictures(tmp_path / "pictures")


def test_what_does_not_fit_is_streamed(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing said: memory where the pixels take at most a share of it, else a process a spare core."""
    size = (TRAIN + TEST) * 3 * 5 * 6
    monkeypatch.setattr(memory_room, "usable_cores", lambda: 3)
    for room, workers in ((size / memory_room.SHARE, None), (size / memory_room.SHARE - 3, 2)):
        monkeypatch.setattr(memory_room, "available_memory", lambda room=room: room)
        train = loaded(pictures).train
        assert workers == getattr(train, "workers", None)
        assert isinstance(train, LazyImages) == (workers is not None)
    for cores, expected in ((1, 1), (2, 1), (12, 11), (100, 16)):
        monkeypatch.setattr(memory_room, "usable_cores", lambda cores=cores: cores)
        assert expected == memory_room.spare_workers()


def test_memory_that_is_available_is_the_least_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine and of each container around; files in its cache count as free."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "cgroup").write_text("4:memory:/outer/inner\n0::/unified/job\n")
    limits = {
        "memory/outer": {"memory.limit_in_bytes": "7000000", "memory.usage_in_bytes": "1000000"},
        "memory/outer/inner": {"memory.limit_in_bytes": "8900000", "memory.usage_in_bytes": "1000"},
        "unified": {"memory.max": "max", "memory.current": "5"},
        "unified/job": {
            "memory.max": "5000000",
            "memory.current": "2000000",
            "memory.stat": "file 9\ninactive_file 500\n",
        },
    }  # fmt: skip
    monkeypatch.setattr(memory_room, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(control_groups, "PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "CGROUPS", tmp_path / "groups")
    assert 8000 * 1024 == memory_room.available_memory()
    for place, expected in (("memory/outer", 6000000), ("memory/outer/inner", 6000000), ("unified", 6000000),
                            ("unified/job", 3000500)):  # fmt: skip
        folder = tmp_path / "groups" / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in limits[place].items():
            (folder / name).write_text(f"{text}\n")
        assert expected == memory_room.available_memory()


def test_a_gpu_without_room_gets_batch_after_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split that is larger than the share of a GPU's free memory stays where it is."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 10**12))
    split = Split(torch.zeros(20, 2, 3, 4, dtype=torch.uint8), torch.arange(20))
    assert split is split.near("cuda")
    assert memory_room.fits_device(400, torch.device("cuda"))
    assert not memory_room.fits_device(401, torch.device("cuda"))


def test_workers_of_a_set_without_files_are_refused() -> None:
    """Nothing that was asked for is passed over in silence."""
    with pytest.raises(InputError) as caught:
        load_dataset(Data(dataset="spirals", workers=2), seed=0, folder=Path())
    reason = "spirals lies in memory as a whole and has no files to decode; remove data.workers"
    expected = f"data.workers: {reason}"
    assert expected == str(caught.value)
