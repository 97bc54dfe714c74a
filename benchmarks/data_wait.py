"""How much of an epoch the trainer waits for its next batch: images in memory, and files read by workers.

    python benchmarks/data_wait.py [--short] [--sides 32 96] [--batch 128] [--rounds 5] [--threads 2]

The ordinary trainer trains a small ResNet with crop and flip on JPEG files made in a temporary folder. One
epoch of every way in turn, round after round; medians are printed. Waiting is all the time in which the
trainer has no batch: choosing, augmenting and normalising it too, and what comes once an epoch, which is
shown by itself as well: the first batch, starting and ending workers. Below stands what decoding costs, in
milliseconds of a core: where that and training together are more than the cores can give, the trainer waits,
whoever decodes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nhnas.compiler.build import build
from nhnas.spec.config import Data, Train
from nhnas.spec.document import parse_document
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.engine import Engine
from nhnas.trainer.image_files import decode
from nhnas.trainer.numerics import Numerics, choose_numerics, use_numerics

SPEC = """\
format: 1
name: small
input: [3, {side}, {side}]
net:
  - {{name: stem, op: conv, width: 16, act: relu}}
  - {{name: one, op: conv, shortcut: identity, residual: {{hidden: 16}}}}
  - {{name: two, op: conv, stride: 2, width: 32, shortcut: {{kernel: 1}}, residual: {{hidden: 32}}}}
  - {{name: three, op: conv, stride: 2, width: 64, shortcut: {{kernel: 1}}, residual: {{hidden: 64}}}}
  - {{name: pool, op: global_avg_pool}}
  - {{name: head, op: dense, width: 2}}
"""
WORKERS = (None, 0, 1, 2)
"""Ways: in memory, and so many processes."""


def main() -> None:
    """Make the files, train, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--sides", type=int, nargs="+", default=[32, 96], help="pixels of a side")
    options.add_argument("--images", type=int, default=2560, help="of 32 by 32 pixels; fewer larger ones")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--short", action="store_true", help="a tenth of the images, two rounds")
    given = options.parse_args()
    rounds, images = (2, given.images // 10) if given.short else (given.rounds, given.images)
    print("| images | read | waiting, share of an epoch | of that once an epoch | epoch, from memory = 1 |")
    print("| --- | --- | --- | --- | --- |")
    for side in given.sides:
        with tempfile.TemporaryDirectory() as folder:
            count = max(4 * given.batch, images * 32 * 32 // side**2)
            files = make_folder(Path(folder), side, count)
            report(Path(folder), files, side, Train(batch=given.batch, threads=given.threads), rounds)


def make_folder(root: Path, side: int, count: int) -> list[Path]:
    """`count` smooth random JPEG files for training, a few for test; those for training are returned."""
    rng, made = np.random.default_rng(0), []
    for which, of_class in (("train", count // 2), ("test", 8)):
        for name in ("a", "b"):
            (root / which / name).mkdir(parents=True)
            for i in range(of_class):
                coarse = Image.fromarray(rng.integers(0, 256, (side // 4, side // 4, 3)).astype(np.uint8))
                coarse.resize((side, side)).save(root / which / name / f"{i:05}.jpg", quality=90)
                made.append(root / which / name / f"{i:05}.jpg")
    return made[:count]


def report(root: Path, files: list[Path], side: int, train: Train, rounds: int) -> None:
    """One row a way."""
    numerics = choose_numerics(train)
    use_numerics(numerics)
    sets = [load_dataset(Data(dataset="image_folder", root=str(root), workers=n), seed=0, folder=root)
            for n in WORKERS]  # fmt: skip
    engines = [engine_of(side, data, train, numerics) for data in sets]
    for engine in engines:
        timed(engine, 0)
    epochs = [[timed(engine, 1 + turn) for engine in engines] for turn in range(rounds)]
    for way, workers in enumerate(WORKERS):
        waited = statistics.median(row[way].waited / row[way].whole for row in epochs)
        once = statistics.median(row[way].once for row in epochs)
        ratio = statistics.median(row[way].whole / row[0].whole for row in epochs)
        who = "from memory" if workers is None else f"by {workers} workers" if workers else "by the trainer"
        print(f"| {side}×{side} | {who} | {waited:.1%} | {once:.2f} s | {ratio:.2f} |")
    memory = [row[0] for row in epochs]
    training = statistics.median(one.whole - one.waited for one in memory) / len(files) * 1000
    whole = statistics.median(one.whole for one in memory)
    print(
        f"an image: decoding {cost_of_decoding(files):.2f} ms of a core, training {training:.2f} ms; "
        f"{len(files)} images an epoch, {whole:.1f} s from memory",
        flush=True,
    )


def engine_of(side: int, data: Dataset, train: Train, numerics: Numerics) -> Engine:
    """The trainer of a fresh network."""
    network = build(parse_document(SPEC.format(side=side).encode(), Path("spec.yaml")).architecture)
    return Engine(network, data, train, ("crop", "flip"), 1, numerics)


@dataclass
class Epoch:
    """Seconds: without a batch, in all, and until the first batch and after the last one."""

    waited: float = 0.0
    whole: float = 0.0
    once: float = 0.0


def timed(engine: Engine, epoch: int) -> Epoch:
    """One epoch of training."""
    times, begin = Epoch(), time.perf_counter()
    asked = begin
    for batch in engine.batches(epoch, 0):
        wait = time.perf_counter() - asked
        times.waited += wait
        times.once += 0.0 if batch.index else wait
        engine.train_batch(batch, epoch, 1e-3)
        if engine.numerics.device == "cuda":
            torch.cuda.synchronize()
        asked = time.perf_counter()
    end = time.perf_counter()
    times.waited, times.once, times.whole = times.waited + end - asked, times.once + end - asked, end - begin
    return times


def cost_of_decoding(files: list[Path]) -> float:
    """Milliseconds of a core for one image."""
    some = files[:500]
    begin = time.process_time()
    for path in some:
        decode(path)
    return (time.process_time() - begin) / len(some) * 1000


if __name__ == "__main__":
    main()
