"""An epoch with everything, against the same network trained as tutorials do.

    python benchmarks/pipeline.py [--images 5000] [--rounds 3] [--batch 128] [--params 46082]

Ours: the trainer in the form that it measures to be fastest, images in memory, crop and flip on whole
batches. The other: the same network with torch.optim.Adam, float32, a DataLoader with two workers, and
torchvision's transforms on PIL images (RandomCrop with padding 4, RandomHorizontalFlip, ToTensor,
Normalize). Both see the same images: CIFAR-10 where `$NHNAS_DATA` has it, random ones otherwise (the time
does not depend on what they show).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from authors_networks import authors_networks
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from training_step import ratio

from nhnas.compiler.build import build
from nhnas.spec.config import Data, Train
from nhnas.spec.errors import NhnasError
from nhnas.trainer.batches import batches
from nhnas.trainer.dataset import Dataset, Split, with_moments
from nhnas.trainer.datasets import load_dataset
from nhnas.trainer.engine import Engine
from nhnas.trainer.forms import measured, name_of
from nhnas.trainer.numerics import choose_numerics, use_numerics


def images(count: int) -> Dataset:
    """The first images of CIFAR-10, or as many random ones."""
    try:
        found = load_dataset(
            Data(dataset="cifar10", root=os.environ.get("NHNAS_DATA")), seed=0, folder=Path()
        )
        train = found.train.take(torch.arange(count))
        print("CIFAR-10")
    except NhnasError:
        train = Split(torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (count,)))
        print("random images: no CIFAR-10 there")
    return with_moments(Dataset("images", train, train, classes=tuple("abcdefghij")))


class PilImages(TorchDataset[tuple[Any, int]]):
    """One image at a time, as a tutorial reads it."""

    def __init__(self, dataset: Dataset) -> None:
        self._pixels = dataset.train.inputs.permute(0, 2, 3, 1).numpy()
        self._classes = dataset.train.targets.tolist()
        assert dataset.mean is not None
        assert dataset.std is not None
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean.tolist(), dataset.std.tolist()),
            ]
        )

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return self._transform(Image.fromarray(self._pixels[at])), self._classes[at]


def our_trainer(arch: Any, dataset: Dataset, batch: int) -> tuple[Engine, str]:
    """Ours, as a command begins."""
    train, network = Train(batch=batch), build(arch)
    numerics = choose_numerics(train)
    use_numerics(numerics)
    drawn = batches(
        dataset.train,
        batch=batch,
        seed=0,
        version=1,
        epoch=0,
        augment=(),
        mean=dataset.mean,
        std=dataset.std,
        device="cpu",
    )
    one = next(iter(drawn))
    numerics, _ = measured(numerics, network, [(one.inputs, one.targets)], train)
    return Engine(network, dataset, train, ("crop", "flip"), 1, numerics), name_of(numerics)


def our_epoch(engine: Engine, epoch: int) -> float:
    """Seconds."""
    begun = time.perf_counter()
    for batch in engine.batches(epoch, 0):
        engine.train_batch(batch, epoch, 1e-3)
    return time.perf_counter() - begun


def their_epoch(
    network: Any, optimizer: torch.optim.Optimizer, loader: DataLoader[Any], device: str
) -> float:
    """Seconds."""
    begun = time.perf_counter()
    inputs: Tensor
    for inputs, targets in loader:
        loss = F.cross_entropy(network(inputs.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()
    return time.perf_counter() - begun


def main() -> None:
    """Print both medians and the median of the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--params", type=int, default=46082, choices=list(authors_networks()))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arch, dataset = authors_networks()[options.params], images(options.images)
    engine, form = our_trainer(arch, dataset, options.batch)
    network: Any = build(arch).to(device).train()
    optimizer = torch.optim.Adam(network.parameters())
    loader = DataLoader(
        PilImages(dataset), options.batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    ours: list[float] = []
    theirs: list[float] = []
    for epoch in range(options.rounds + 1):
        ours.append(our_epoch(engine, epoch))
        theirs.append(their_epoch(network, optimizer, loader, device))
    print(f"{options.params:,} parameters, {options.images:,} images, batch {options.batch}; ours: {form}")
    print(
        f"ours {min(ours[1:]):.2f} s, theirs {min(theirs[1:]):.2f} s, ratio {ratio(theirs[1:], ours[1:]):.2f}"
    )


if __name__ == "__main__":
    main()
