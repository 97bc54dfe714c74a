"""Images that are read while they are needed, from files and from a function of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nhnas.spec.config import Data
from nhnas.trainer.augment import AUGMENTATIONS
from nhnas.trainer.batches import Batch, batches
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.datasets import load_dataset

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


def draw_pictures(root: Path) -> Path:
    """A folder of small random images in two classes."""
    rng = np.random.default_rng(3)
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
