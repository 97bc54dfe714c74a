"""Where images live: in memory, or where they are read from by so many processes (the key `data.workers`)."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from nhnas.spec.errors import InputError
from nhnas.trainer.dataset import Dataset, Samples, Split
from nhnas.trainer.lazy_images import LazyImages
from nhnas.trainer.memory_room import fits_host, spare_workers


def streaming_workers(size: int, asked: int | None) -> int | None:
    """How many processes read images of `size` bytes in all, 0: this one; None: all are to be in memory.

    What the spec asks for, else memory where there is room, else a process for each core to spare.
    """
    if asked is not None:
        return asked
    return None if fits_host(size) else spare_workers()


def settled(dataset: Dataset, asked: int | None) -> Dataset:
    """The data set with its undecided lazy images in memory, or with workers.

    Raises InputError where `data.workers` is given for a set that is in memory as a whole.
    """
    lazy = [split for split in dataset.splits.values() if isinstance(split, LazyImages)]
    if not lazy and asked is not None:
        raise InputError(
            f"data.workers: {dataset.name} lies in memory as a whole and has no files to decode; "
            "remove data.workers"
        )
    undecided = [split for split in lazy if split.workers is None]
    workers = streaming_workers(sum(len(split) * prod(split.sample_shape) for split in undecided), asked)
    val = None if dataset.val is None else _settled(dataset.val, workers)
    return replace(
        dataset, train=_settled(dataset.train, workers), test=_settled(dataset.test, workers), val=val
    )


def _settled(split: Samples, workers: int | None) -> Samples:
    if not isinstance(split, LazyImages) or split.workers is not None:
        return split
    reading = replace(split, workers=spare_workers() if workers is None else workers)
    return reading if workers is not None else Split(reading.inputs, reading.targets)
