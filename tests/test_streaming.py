"""Images that are read while they are needed: the same numbers, whoever reads them and wherever it stops."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer import control_groups, memory_room, worker_processes
from nhnas.trainer.augment import AUGMENTATIONS
from nhnas.trainer.batches import Batch, batches, ordered_batches
from nhnas.trainer.dataset import Dataset, Samples, Split
from nhnas.trainer.datasets import LazyImages, load_dataset
from nhnas.trainer.shared_arrays import filled_arrays
from tests import tiny
from tests.test_resume import check_every_batch, copied, stopped, train_one

TRAIN, TEST = 42, 10
"""Images of both classes; 21 batches of 2."""
ALL = tuple(AUGMENTATIONS)

SPEC = f"""\
format: 1
name: pictures
input: [3, 5, 6]
net:
  - {{name: stem, op: conv, width: 3, act: relu}}
  - {{name: block, op: conv, stride: 2, width: 4, residual: {{hidden: 3, dropout: 0.2}}}}
  - {{name: flat, op: flatten}}
  - {{name: head, op: dense, width: 2}}
data: {{dataset: image_folder, root: ../pictures, augment: [{", ".join(AUGMENTATIONS)}]}}
train: {{lr: 0.01, batch: 2, deterministic: true}}
search: {{add: 6, max_epochs: 1, fade_epochs: 1, settle_epochs: 0, threshold_max: 2.0}}
"""


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: no test here cuts the power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of small random images in two classes."""
    rng, root = np.random.default_rng(3), tmp_path / "pictures"
    for which, count in (("train", TRAIN), ("test", TEST)):
        for name in ("cat", "dog"):
            (root / which / name).mkdir(parents=True)
            for i in range(count // 2):
                pixels = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / which / name / f"{i:03}.png")
    return root


def loaded(root: Path, workers: int | None = None, **data: Any) -> Dataset:
    """The folder as a data set."""
    return load_dataset(
        Data(dataset="image_folder", root=str(root), workers=workers, **data), seed=5, folder=root
    )


def epoch_of(dataset: Dataset, start: int = 0, augment: tuple[str, ...] = ALL) -> list[Batch]:
    """An augmented epoch of the training split."""
    shown = batches(
        dataset.train, batch=8, seed=5, version=2, epoch=1, augment=augment, mean=dataset.mean,
        std=dataset.std, device="cpu", start=start,
    )  # fmt: skip
    return list(shown)


def check_same(expected: list[Batch], actual: list[Batch]) -> None:
    """Every bit of every batch."""
    for mine, other in zip(expected, actual, strict=True):
        assert (mine.index, mine.samples.tolist()) == (other.index, other.samples.tolist())
        assert torch.equal(mine.inputs, other.inputs)
        assert torch.equal(mine.targets, other.targets)


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
            path.unlink(missing_ok=True)
            if not gone:
                Image.new("RGB", (6, 5)).save(path)

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


def own(folder: Path, body: str, workers: int | None = 2) -> Dataset:
    """A data set of the user's own whose images come from `read`."""
    (folder / "mydata.py").write_text(
        "import os, signal\nimport numpy as np, torch\n"
        "from nhnas.trainer.datasets import Dataset, LazyImages\n"
        f"PARENT = {os.getpid()}\n{body}\n"
        "def make():\n"
        "    return Dataset('own', train=LazyImages(read, torch.arange(40) % 2),\n"
        "                   test=LazyImages(read, torch.arange(6) % 2))\n"
    )
    return load_dataset(Data(dataset="mydata:make", workers=workers), seed=0, folder=folder)


GOOD = "def read(i): return torch.full((2, 4, 3), i, dtype=torch.uint8)"


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


def test_a_worker_that_is_killed_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, no hang, no worker left."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.05,))
    body = GOOD.replace("return", "os.getpid() == PARENT or i < 35 or os.kill(os.getpid(), 9); return")
    before = children(os.getpid())
    with pytest.raises(StorageError, match=r"^data\.workers: a process that reads images was killed, "):
        own(tmp_path, body)
    assert before == children(os.getpid())


def children(process: int) -> set[int]:
    """Numbers of the running children."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == process and state != "Z":
                found.add(int(path.parent.name))
    return found


def test_workers_leave_no_trace_in_the_process(pictures: Path) -> None:
    """Random numbers, signal handlers and masks, open files and processes are as before."""

    def trace() -> tuple[Any, ...]:
        handlers = [signal.getsignal(n) for n in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        files = len(os.listdir("/proc/self/fd"))
        return torch.get_rng_state().tolist(), handlers, mask, files, children(os.getpid())

    dataset = loaded(pictures, 2)
    gc.collect()  # files that other tests left behind
    before = trace()
    epoch_of(dataset)
    shown = iter(ordered_batches(dataset.train, 4, None, None, "cpu"))
    next(shown)
    assert 2 == len(children(os.getpid()) - before[-1])
    del shown
    wait_for(lambda: before == trace())  # threads of the queues close their files
    assert before == trace()


SLOW = """
import time, numpy as np, torch
from nhnas.trainer.datasets import Dataset, LazyImages

def read(position):
    time.sleep(0.002)
    return np.full((3, 5, 6), position, np.uint8)

def make():
    train, test = (LazyImages(read, torch.arange(count) % 2) for count in (42, 10))
    return Dataset("slow", train=train, test=test)
"""


def slow_spec(folder: Path) -> Path:
    """A spec whose images take their time, read by two workers."""
    text = SPEC.replace("dataset: image_folder, root: ../pictures", 'dataset: "mydata:make", workers: 2')
    spec = tiny.make(folder, text)
    spec.with_name("mydata.py").write_text(SLOW)
    return spec


@contextmanager
def training(spec: Path, epochs: int) -> Iterator[subprocess.Popen[str]]:
    """The command line, in a session of its own."""
    words = [sys.executable, "-m", "nhnas", "train", spec.name, "--epochs", str(epochs)]
    with subprocess.Popen(
        words, cwd=spec.parent, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        yield process


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """Its two workers, as soon as they are there."""
    while len(found := children(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    return found


def are_gone(processes: set[int]) -> bool:
    """Whether they end soon."""
    return wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in processes))


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within three seconds."""
    end = time.monotonic() + 3
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_kill_9_leaves_no_worker_and_loses_nothing(tmp_path: Path) -> None:
    """Killed in the first pass and in the midst of training; then the same command ends in the same bytes."""
    spec = slow_spec(tmp_path / "start")
    whole = copied(spec, "whole")
    tiny.train(whole, epochs=3)
    for wait in ("", "epoch 1"):
        with training(spec, 3) as process:
            assert process.stdout is not None
            while wait and wait not in process.stdout.readline():
                pass
            workers = workers_of(process)
            process.kill()
            assert are_gone(workers)
    tiny.train(spec, epochs=3)
    assert tiny.outcome(whole) == tiny.outcome(spec)


@pytest.mark.parametrize(("number", "wait"), [(signal.SIGINT, "epoch"), (signal.SIGTERM, "epoch"),
                                              (signal.SIGINT, ""), (signal.SIGTERM, "")])  # fmt: skip
def test_a_signal_to_all_processes_stops_the_command_alone(
    number: signal.Signals, wait: str, tmp_path: Path
) -> None:
    """Ctrl-C, or a batch system's SIGTERM: one line, its own code, nothing printed by workers, none left."""
    spec = slow_spec(tmp_path / "start")
    with training(spec, 50) as process:
        assert process.stdout is not None
        while wait and wait not in process.stdout.readline():
            pass
        workers = workers_of(process)
        os.killpg(process.pid, number)
        error = process.communicate()[1]
    assert 128 + number == process.returncode
    expected = "stopped; all is saved, and the same command goes on from here" if wait else "nhnas: stopped"
    assert f"{expected}\n" == error
    assert are_gone(workers)
