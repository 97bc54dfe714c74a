"""Safetensors files after accidents and by people with bad intentions: a function of a random generator."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

HOSTILE_NAMES = (
    *("", "../../x", "/etc/x", "a/../b", "__metadata__", "a\nb", "\x1b[2J", "\x00", "\x7f", "\ud800"),
    *("n" * 60_001, "block", "block.weight", "é", "e\u0301", "\u202e", "%s", "{}", "weights.safetensors"),
)  # fmt: skip
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 1.5, 2**31, 2**63, 2**64, 10**400, "", "F32", "F8_E4M3", [], [0], [[]], {}),
    *([-4, 0], [4, 0], [0, 2**64], [0, 4, 8], [1] * 17, [2**32, 2**32], [0, 2**60], ["0", "4"], [True]),
)  # fmt: skip
NOT_FINITE = {"F64": b"\0\0\0\0\0\0\xf8\x7f", "F32": b"\0\0\x80\x7f", "BF16": b"\xc0\xff", "F16": b"\x00\x7c"}
SIZES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}

Pairs = list[tuple[str, Any]]
"""An object of JSON as a list, so that a key may come twice."""


def malformed(rng: Random) -> bytes:
    """A sound file with one to three things done to it, often but not always to its harm."""
    header, data = _sound(rng)
    for _ in range(rng.randint(1, 3)):
        header, data = rng.choice(CHANGES)(rng, header, data)
    text = _dumped(header).encode("utf-8", "surrogatepass")
    whole = struct.pack("<Q", len(text)) + text + data
    return rng.choice(ACCIDENTS)(rng, whole) if rng.random() < 0.3 else whole


def _sound(rng: Random) -> tuple[Pairs, bytes]:
    header: Pairs = [("__metadata__", {"nhnas": '{"format":1,"note":"weights"}'})]
    data = b""
    for index in range(rng.randint(1, 5)):
        dtype = rng.choice(sorted(SIZES))
        shape = [rng.randint(0, 3) for _ in range(rng.randint(0, 3))]
        size = SIZES[dtype]
        for extent in shape:
            size *= extent
        offsets = [len(data), len(data) + size]
        header.append((f"layer{index}.weight", {"dtype": dtype, "shape": shape, "data_offsets": offsets}))
        data += bytes(size)
    return header, data


def _dumped(header: Pairs) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in header) + "}"


def _replace(header: Pairs, at: int, name: str, value: Any) -> Pairs:
    return [*header[:at], (name, value), *header[at + 1 :]]


def _rename(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    at = rng.randrange(len(header))
    return _replace(header, at, rng.choice(HOSTILE_NAMES), header[at][1]), data


def _twice(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    return [*header, rng.choice(header)], data


def _set(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """A hostile value for one key of a tensor, a key too many, or one too few."""
    at = rng.randrange(len(header))
    name, entry = header[at]
    if not isinstance(entry, dict) or rng.random() < 0.1:
        return _replace(header, at, name, rng.choice(HOSTILE_VALUES)), data
    key = rng.choice([*entry, "extra"])
    changed = {**entry, key: rng.choice(HOSTILE_VALUES)}
    if rng.random() < 0.1:
        del changed[key]
    return _replace(header, at, name, changed), data


def _shift(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """Offsets a little off: holes, overlaps, beyond the end."""
    at = rng.randrange(len(header))
    name, entry = header[at]
    if not isinstance(entry, dict) or not isinstance(entry.get("data_offsets"), list):
        return header, data
    by = rng.choice((-8, -4, -1, 1, 4, 8))
    moved = [position + by if type(position) is int else position for position in entry["data_offsets"]]
    return _replace(header, at, name, {**entry, "data_offsets": moved}), data


def _swap(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """Another order of the entries alone: as good as before."""
    return rng.sample(header, len(header)), data


def _poison(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """NaN or infinity for the first number of a tensor."""
    for _, entry in rng.sample(header, len(header)):
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        bits = NOT_FINITE.get(dtype) if isinstance(dtype, str) else None
        offsets = entry.get("data_offsets") if bits else None
        if bits and isinstance(offsets, list) and offsets[:1] and type(offsets[0]) is int:
            begin = max(0, min(offsets[0], len(data)))
            return header, data[:begin] + bits + data[begin + len(bits) :]
    return header, data


def _resize(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    return header, rng.choice((data[:-1], data + b"\0", data[: len(data) // 2], b"", data * 2))


def _many(rng: Random, header: Pairs, data: bytes) -> tuple[Pairs, bytes]:
    """Hundreds of empty tensors, at a place that may not be the end."""
    place = rng.choice((0, len(data)))
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [place, place]}
    return [*header, *((f"empty{index}", empty) for index in range(300))], data


def _flip(rng: Random, whole: bytes) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ rng.randrange(1, 256)]) + whole[at + 1 :]


def _cut(rng: Random, whole: bytes) -> bytes:
    return whole[: rng.randrange(len(whole))]


def _length(rng: Random, whole: bytes) -> bytes:
    lengths = (0, 1, len(whole), len(whole) - 7, 100 << 20, 2**63, 2**64 - 1)
    return struct.pack("<Q", rng.choice(lengths)) + whole[8:]


def _splice(rng: Random, whole: bytes) -> bytes:
    """Something that is no header in the middle of it."""
    at = rng.randrange(8, len(whole) + 1)
    what = rng.choice((b"\xff\xfe", b"[" * 5_000, b"1" * 5_000, b'"', b"}", b"{}", b"\0", b"\\u0000", b"NaN"))
    text = whole[8:at] + what + whole[at:]
    size = int.from_bytes(whole[:8], "little") + len(what)
    return struct.pack("<Q", size) + text


Change = Callable[[Random, Pairs, bytes], tuple[Pairs, bytes]]
CHANGES: tuple[Change, ...] = (_rename, _twice, _set, _set, _set, _shift, _swap, _poison, _resize, _many)
ACCIDENTS: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _cut, _length, _splice)
