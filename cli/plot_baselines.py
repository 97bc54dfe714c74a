"""What a run is compared with: other specs' runs, or a CSV of networks from elsewhere."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.files import read_file
from nhnas.plot_track import Track, read_track
from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown

LARGEST = 16 << 20
"""Bytes of a CSV."""
MOST = 200
"""Names in one picture."""


@dataclass(frozen=True)
class Point:
    """One network; `value` is its test accuracy, a fraction, or its mse."""

    parameters: int
    macs: int | None
    value: float


@dataclass(frozen=True)
class Baseline:
    """Networks under one name, in the order of their file or of their versions."""

    name: str
    points: tuple[Point, ...]


def read_baselines(paths: Sequence[Path], track: Track) -> list[Baseline]:
    """All networks of the files, in their order. Raises InputError: another measure, too many names."""
    found = [one for path in paths for one in _baselines(path, track.measure)]
    if len(found) > MOST:
        raise InputError(f"--baseline: {len(found)} names; at most {MOST} can be told apart in one picture")
    named = {track.name: 1}
    for index, one in enumerate(found):
        named[one.name] = named.get(one.name, 0) + 1
        if named[one.name] > 1:
            found[index] = Baseline(f"{one.name} ({named[one.name]})", one.points)
    return found


def _baselines(path: Path, measure: str) -> Iterator[Baseline]:
    if path.suffix.lower() == ".csv":
        yield from _of_csv(path, measure)
        return
    track = read_track(path)
    if track.measure != measure:
        raise InputError(f"{path}: its networks have {track.measure}, those of the run {measure}")
    yield Baseline(
        track.name,
        tuple(
            Point(v.counts["parameters"], v.counts["macs"], v.test[measure])
            for v in track.versions
            if measure in v.test
        ),
    )


def _of_csv(path: Path, measure: str) -> Iterator[Baseline]:
    """Rows of one name are one baseline. Columns: name, params, accuracy (or mse), macs where known."""
    rows = _rows(path, measure)
    points: dict[str, list[Point]] = {}
    for where, row in rows:
        macs = row.get("macs") or None
        point = Point(
            _count(row["params"], f"{where}: params"),
            None if macs is None else _count(macs, f"{where}: macs"),
            _value(row[measure], measure, where),
        )
        points.setdefault(row["name"], []).append(point)
    for name, found in points.items():
        yield Baseline(name, tuple(found))


def _rows(path: Path, measure: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row with where it is; all wanted cells are there and are text."""
    wanted = ("name", "params", measure)
    try:
        text = read_file(path.resolve(), limit=LARGEST).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        if missing := [key for key in wanted if key not in columns]:
            raise InputError(
                f"{path}:1: no column {' and '.join(missing)}; expected {','.join(wanted)}[,macs]"
            )
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or any(row[key] is None for key in wanted):
                raise InputError(f"{where}: expected {len(columns)} cells, as many as the first line has")
            yield where, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV in UTF-8: {error}") from None


def _count(text: str, where: str) -> int:
    try:
        count = int(text.strip())
    except ValueError:
        count = 0
    if not 0 < count < 1 << 60:
        raise InputError(f"{where}: expected a whole number above 0, not '{shown(text)}'")
    return count


def _value(text: str, measure: str, where: str) -> float:
    """A fraction or a percentage (`92.6%`) of accuracy, or an mse."""
    plain = text.strip()
    try:
        value = float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value <= (1 if measure == "accuracy" else math.inf):
        words = "a fraction in [0, 1], or a percentage as in 92.6%" if measure == "accuracy" else "a number"
        raise InputError(f"{where}: {measure}: expected {words}, not '{shown(text)}'")
    return value
