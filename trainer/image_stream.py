"""Image files that are decoded again each time they are needed: one pass looks at all of them first.

Shapes: N files, 3 colours, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nhnas.compiler.files import storing
from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.image_files import Bad, Pixels, Sizes, printable, try_decode, unwarned
from nhnas.trainer.lazy_images import AHEAD, CHUNK, pixel_counts
from nhnas.trainer.shared_arrays import filled_arrays, shared_array

Shapes = list[tuple[int, ...] | str]


@dataclass(frozen=True, eq=False)
class CheckedImages:
    """Files that were all decoded once, without keeping pixels: a function of positions, for `LazyImages`.

    `histogram` [3, 256] counts the pixels of those asked for; `marks` [N, 2] are size and time of change of
    every file, by which a changed one is known; `problems` lists the bad ones, as `read_images` does.
    """

    paths: Sequence[Path]
    marks: NDArray[np.int64]
    histogram: NDArray[np.int64]
    problems: list[Bad]

    def __call__(self, position: int) -> Pixels:
        """The image [3, H, W]; raises InputError where it has changed, StorageError where it is gone."""
        path = self.paths[position]
        with unwarned():
            image = try_decode(path)
        with storing(path):
            mark = _mark(path)
        if not np.array_equal(mark, self.marks[position]):
            raise InputError(f"{printable(path)}: has changed while the command was running; start it again")
        if isinstance(image, Bad):
            raise StorageError(str(image))
        return image


def check_images(paths: Sequence[Path], counted: NDArray[np.bool_], workers: int) -> CheckedImages:
    """Decode all files, in `workers` processes; `counted` [N] says whose pixels the histogram counts."""
    marks = shared_array((len(paths), 2), np.int64)
    tasks = np.split(np.arange(len(paths)), range(CHUNK, len(paths), CHUNK))

    def look(task: int, counts: NDArray[np.int64]) -> Shapes:
        """Shapes, or what is wrong, of some files; what is numbers goes through shared memory."""
        counts[:] = 0
        return [_look(paths[i], marks[i], counts if counted[i] else None) for i in tasks[task]]

    histogram, sizes = np.zeros((3, 256), np.int64), Sizes()
    looks = filled_arrays(look, len(tasks), (3, 256), np.int64, workers=workers, ahead=AHEAD)
    for positions, (counts, shapes) in zip(tasks, looks, strict=True):
        histogram += counts
        for position, shape in zip(positions, shapes, strict=True):
            path = paths[position]
            sizes.takes(path, Bad(path, shape) if isinstance(shape, str) else shape)
    return CheckedImages(paths, marks, histogram, sizes.problems)


def _look(path: Path, mark: NDArray[np.int64], counts: NDArray[np.int64] | None) -> tuple[int, ...] | str:
    """Shape of the image or what is wrong; fills in the file's mark and adds its pixels to `counts`."""
    with unwarned():
        image = try_decode(path)
    if isinstance(image, Bad):
        return image.reason
    with storing(path):
        mark[:] = _mark(path)
    if counts is not None:
        counts += pixel_counts(image)
    return image.shape


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
