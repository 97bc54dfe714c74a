"""Images that are read while they are needed: the same numbers, whoever reads them and wherever it stops."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer import worker_processes
from nhnas.trainer.batches import Batch, ordered_batches
from nhnas.trainer.dataset import Dataset, Samples, Split
from nhnas.trainer.datasets import LazyImages
from nhnas.trainer.shared_arrays import filled_arrays
from tests import tiny
from tests.stopping import check_every_batch, copied, stopped, train_one
from tests.streamed import GOOD, SPEC, check_same, draw_pictures, epoch_of, loaded, own

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of small random images in two classes."""
    return draw_pictures(tmp_path / "pictures")


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_streamed_epochs_are_those_from_memory(workers: int, pictures: Path) -> None:
    """Order, augmentation, targets, mean and deviation, bit for bit; also from a batch on, and evaluated."""
    memory, streamed = loaded(pictures, val=0.2), loaded(pictures, workers, val=0.2)
    assert isinstance(memory.train, Split)
    assert isinstance(streamed.train, LazyImages)
    for mine, other in ((memory.mean, streamed.mean), (memory.std, streamed.std)):
        assert mine is not None
        assert other is not None
        assert torch.equal(mine, other)
    check_same(epoch_of(memory), epoch_of(streamed))
    check_same(epoch_of(memory, start=2), epoch_of(streamed, start=2))
    for which, split in memory.splits.items():
        other_split = streamed.splits[which]
        check_same(evaluated(split, memory), evaluated(other_split, memory))
        assert torch.equal(split.inputs, other_split.inputs)


def evaluated(split: Samples, dataset: Dataset) -> list[Batch]:
    """A split as it is evaluated."""
    return list(ordered_batches(split, 7, dataset.mean, dataset.std, "cpu"))


def test_batches_of_many_chunks_keep_their_order() -> None:
    """More tasks than are begun ahead, of unequal duration: no chunk overwrites one that is still read."""

    def slow(position: int) -> torch.Tensor:
        time.sleep(0.0004 * (position * 7 % 5))
        return torch.full((1, 2, 3), position % 251, dtype=torch.uint8)

    images = LazyImages(slow, torch.arange(700), workers=3)
    for batch in ordered_batches(images, 100, None, None, "cpu"):
        assert (batch.targets % 251).tolist() == (batch.inputs[:, 0, 0, 0] * 255).round().int().tolist()
    shuffled = images.take(torch.arange(699, -1, -7))
    assert [p % 251 for p in range(699, -1, -7)] == shuffled.inputs[:, 0, 1, 2].tolist()


def test_a_chunk_stays_until_the_next_is_asked_for() -> None:
    """However far the workers are ahead, they do not write into what is still looked at."""

    def fill(task: int, array: NDArray[np.int64]) -> int:
        array[:] = task
        return -task

    shown = filled_arrays(fill, 24, (3,), np.int64, workers=2, ahead=2)
    for task, (array, result) in enumerate(shown):
        time.sleep(0.004)
        assert ([task] * 3, -task) == (array.tolist(), result)
    assert 23 == task


def spec_in(folder: Path, workers: int | None = None) -> Path:
    """A spec that reads `../pictures`, with so many workers."""
    key = "" if workers is None else f", workers: {workers}"
    return tiny.make(folder, SPEC.replace("../pictures", f"../pictures{key}"))


def results(files: dict[str, bytes]) -> dict[str, bytes]:
    """What a command left, but for who reads, as the spec and its copies say, and for their checksums."""
    return {
        name: re.sub(rb'"workers":\w+', b"", text)
        for name, text in files.items()
        if not name.endswith((".yaml", "MANIFEST.json"))
    }


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("workers", "batches"), [(0, range(1, 21)), (1, range(1, 21, 2)), (2, range(2, 21, 2))]
)
def test_a_streamed_epoch_cut_at_twenty_points(workers: int, batches: range, tmp_path: Path) -> None:
    """Stopped after each batch but the last, it ends as the whole one, and as the one from memory."""
    memory = spec_in(tmp_path / "memory")
    train_one(memory, tiny.Counting())
    cut = check_every_batch(train_one, spec_in(tmp_path / "start", workers), batches=batches)
    assert results(tiny.outcome(memory)) == results(cut)
    assert 5 == len(results(cut))


@pytest.mark.usefixtures("pictures")
def test_a_streamed_step_stopped_is_that_from_memory(tmp_path: Path) -> None:
    """Growth, fit, fading and removal, with the outputs' changes over test images."""
    memory = spec_in(tmp_path / "memory")
    tiny.step(memory)
    cut = check_every_batch(tiny.step, spec_in(tmp_path / "start", 2), batches=(5, 30))
    assert results(tiny.outcome(memory)) == results(cut)


@pytest.mark.usefixtures("pictures")
def test_begun_with_workers_it_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file says when the command goes on counts: no process is started then."""
    spec = spec_in(tmp_path / "start", 2)
    whole = copied(spec, "whole")
    train_one(whole, tiny.Counting())
    assert stopped(train_one, spec, tiny.Counting(batch=7))
    tiny.edit(spec, "workers: 2", "workers: 0")
    monkeypatch.setattr(worker_processes, "_start", None)
    train_one(spec, tiny.Counting())
    assert results(tiny.outcome(whole)) == results(tiny.outcome(spec))
    assert "workers: 0" in spec.read_text()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["train/cat/000.png", "test/dog/001.png"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_changes_under_a_command(
    workers: int, name: str, gone: bool, pictures: Path, tmp_path: Path
) -> None:
    """One line names the image that vanished (input/output) or changed (input), as soon as it is needed."""

    class Meddling(tiny.Counting):
        def batch(self, *_: Any, **__: Any) -> None:
            path = pictures / name
            if gone:
                path.unlink(missing_ok=True)
            else:  # at once: a worker must not look while there is none
                Image.new("RGB", (6, 5)).save(tmp_path / "other.png")
                (tmp_path / "other.png").replace(path)

    spec = spec_in(tmp_path / "start", workers)
    with pytest.raises(StorageError if gone else InputError) as caught:
        tiny.train(spec, Meddling(), epochs=2)
    reason = "No such file or directory"
    if not gone:
        reason = "has changed while the command was running; start it again"
    assert f"{spec.parent / '../pictures' / name}: {reason}" == str(caught.value)


def test_all_bad_files_are_listed_as_in_memory(pictures: Path) -> None:
    """Each with its reason, in one pass, whoever decodes."""
    (pictures / "train/cat/cut.png").write_bytes((pictures / "train/cat/001.png").read_bytes()[:-30])
    (pictures / "train/dog/none.png").write_bytes(b"")
    (pictures / "test/cat/text.jpg").write_text("no image")
    Image.new("RGB", (8, 4)).save(pictures / "test/dog/wide.png")
    (pictures / "test/dog/zz.png").symlink_to("zz.png")
    told = []
    for workers in (None, 0, 2):
        with pytest.raises(InputError) as caught:
            loaded(pictures, workers)
        told.append(str(caught.value))
    assert told[0] == told[1] == told[2]
    assert 5 == len(told[0].splitlines())


def test_a_set_of_ones_own_streams_or_fits(tmp_path: Path) -> None:
    """A function from positions to images is all it takes; nothing said, they go into memory."""
    streamed, memory = own(tmp_path, GOOD), own(tmp_path, GOOD, None)
    assert (LazyImages, Split) == (type(streamed.train), type(memory.train))
    check_same(epoch_of(memory, augment=("flip",)), epoch_of(streamed, augment=("flip",)))
    assert list(range(6)) == memory.test.inputs[:, 1, 3, 2].tolist()
    assert memory.mean is not None
    assert [19.5 / 255] * 2 == pytest.approx(memory.mean.tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("def read(i): return [[1.5]]", "image 0 is float64 [1,1]; expected uint8 [C,H,W]"),
        ("def read(i): return 1 / 0", "image 0 cannot be read: ZeroDivisionError: division by zero"),
        (
            "def read(i): return np.zeros((1, 2, 3 + (i == 30)), np.uint8)",
            "image 30 is uint8 [1,2,4], the first one uint8 [1,2,3]",
        ),
        (
            "def read(i): return np.zeros((1, 2, 100 // (39 - i)), np.uint8)[:, :, :1]",
            "image 39 cannot be read: ZeroDivisionError: integer division or modulo by zero",
        ),
    ],
)
@pytest.mark.parametrize("workers", [None, 0, 2])
def test_what_a_function_of_ones_own_does_wrong(
    body: str, line: str, workers: int | None, tmp_path: Path
) -> None:
    """One line, with the image's position, from a worker as from this process."""
    with pytest.raises(InputError) as caught:
        own(tmp_path, body, workers)
    where = " (--debug with data.workers: 0 shows where)" if "Error" in line else ""
    assert f"data.dataset: {line}{where}" == str(caught.value)
