"""Tensors in safetensors files: the same tensors are always the same bytes, and a bad file one line.

The library writes and reads; what it accepts and we must not (duplicate names, control characters,
NaN, holes, hundreds of thousands of tensors) is refused before it sees the file. Files are read into
memory, never mapped: cutting a mapped file short kills the process that reads it.

Layout (https://github.com/huggingface/safetensors, "Format"): 8 bytes N, little-endian; N bytes of
JSON, name → {dtype, shape, data_offsets: [begin, end]}; the tensors' bytes without a hole.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from nhnas.compiler.files import one_line, read_file, write_file
from nhnas.compiler.tensor_chunks import WIDE_FIRST, Chunk, tensor_chunks
from nhnas.compiler.tensor_kinds import by_kind
from nhnas.spec.errors import InputError, TrainingError

MAX_HEADER = 64 << 20
"""Bytes of header that are read."""
MAX_TENSORS = 200_000
"""Tensors in one file."""
MAX_NAME = 60_000
"""Characters in one tensor's name."""
SMALL = 4096
"""Elements of a tensor that is looked at together with others."""
_CONTROL = re.compile("[\\x00-\\x1f\\x7f\\ud800-\\udfff]")
_MAX_DIMENSIONS = 16
_MAX_ELEMENTS = 1 << 48

DTYPES = {name: dtype for dtype, name in WIDE_FIRST.items()}


def dtype_name(tensor: Tensor) -> str:
    """The tensor's type as safetensors calls it; ValueError for one that we do not store."""
    if tensor.dtype not in WIDE_FIRST:
        raise ValueError(f"tensors of {tensor.dtype} are not stored; known: {', '.join(DTYPES)}")
    return WIDE_FIRST[tensor.dtype]


def encode_tensors(tensors: Mapping[str, Tensor], note: str, *, finite: bool = True) -> bytes:
    """The file's bytes, a function of names, types, shapes, values and `note` alone.

    Raises TrainingError for NaN or infinity (unless not `finite`), ValueError for a name or type that
    could not be loaded again: nothing is ever saved that does not load.
    """
    return b"".join(encode_chunks(tensors, note, finite=finite))


def encode_chunks(
    tensors: Mapping[str, Tensor],
    note: str,
    *,
    finite: bool = True,
    raw: Mapping[str, memoryview] | None = None,
) -> list[Chunk]:
    """`encode_tensors` in pieces that may be the tensors' own memory; `raw` as `raw_bytes` gives it.

    Raises as `encode_tensors` does.
    """
    for name, tensor in tensors.items():
        _check_name(name)
        dtype_name(tensor)
    if finite:
        check_finite(tensors)
    return tensor_chunks(tensors, note, raw)


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises TrainingError for NaN or infinity in a tensor."""
    if (bad := _not_finite(tensors)) is not None:
        raise TrainingError(f"tensor {one_line(bad)} holds NaN or infinity; it is not saved")


def decode_tensors(data: bytes, where: Path, *, finite: bool = True) -> dict[str, Tensor]:
    """The tensors of a file's bytes, on the CPU, sorted by name; `where` is for messages.

    Raises InputError, one line, for anything that is not exactly a file as described above and, if
    `finite`, for a NaN or infinity, naming the tensor.
    """
    try:
        _check(data)
        tensors = safetensors.torch.load(data)
        if finite and (name := _not_finite(tensors)) is not None:
            raise ValueError(f"tensor {one_line(name)} holds NaN or infinity")
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{one_line(where)}: {one_line(error)}") from error
    return {name: tensors[name] for name in sorted(tensors)}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: str, *, finite: bool = True) -> None:
    """Writes `path` durably and at once. Raises as `encode_tensors` does, and StorageError."""
    write_file(path, encode_tensors(tensors, note, finite=finite))


def load_tensors(path: Path, *, finite: bool = True) -> dict[str, Tensor]:
    """Reads `path` into memory. Raises as `decode_tensors` does, and StorageError."""
    return decode_tensors(read_file(path), path, finite=finite)


def _not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first tensor, by name, that holds NaN or infinity."""
    floats = {name: t.detach() for name, t in sorted(tensors.items()) if t.is_floating_point()}
    if _are_surely_finite(floats.values()):
        return None
    return next((name for name, t in floats.items() if not bool(t.isfinite().all())), None)


def _are_surely_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all sums are: five times faster than looking at each value; false where one overflows."""
    found = list(tensors)
    kinds = ([found[place] for place in places] for places in by_kind(found))
    return all(bool(torch.stack(_sums(kind)).isfinite().all()) for kind in kinds)


def _sums(tensors: list[Tensor]) -> list[Tensor]:
    """Sums that together hold every value of tensors of one kind; the small ones are summed as one."""
    small = [tensor.reshape(-1) for tensor in tensors if tensor.numel() <= SMALL]
    large = [tensor.sum() for tensor in tensors if tensor.numel() > SMALL]
    return [*large, torch.cat(small).sum()] if small else large


def _check(data: bytes) -> None:
    """Raises ValueError where header and data do not fit together exactly."""
    if len(data) < 8:
        raise ValueError(f"{len(data)} bytes are no safetensors file; it starts with 8 bytes of length")
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER:
        raise ValueError(f"a header of {size} bytes; at most {MAX_HEADER} are read")
    if size > len(data) - 8:
        raise ValueError(f"cut short: a header of {size} bytes in a file of {len(data)}")
    if data.count(b'"data_offsets"', 8, 8 + size) > MAX_TENSORS:  # before parsing takes seconds
        raise ValueError(f"more than {MAX_TENSORS} tensors")
    header = _parse(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("__metadata__ must map text to text")
    if len(header) > MAX_TENSORS:
        raise ValueError(f"more than {MAX_TENSORS} tensors")
    _check_spans([(*_span(name, entry), name) for name, entry in header.items()], len(data) - 8 - size)


def _parse(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise ValueError("the header must start with {")
    try:
        value: dict[str, Any] = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("the header is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the header is not JSON: {error}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the header names {one_line(name)} twice")
    return value


def _check_name(name: str) -> None:
    """What the spec allows in a path; control characters would reach terminals and messages."""
    if not name or len(name) > MAX_NAME:
        raise ValueError(f"a tensor's name of {len(name)} characters; 1 to {MAX_NAME} are allowed")
    if _CONTROL.search(name):
        raise ValueError(f"the tensor name {one_line(name)} has control characters")
    if name == "__metadata__" or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{one_line(name)} is no name for a tensor")


def _span(name: str, entry: Any) -> tuple[int, int]:
    """First and last byte (exclusive) of one tensor, after checking all that is said about it."""
    _check_name(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {one_line(name)} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {one_line(name)}: dtype {one_line(dtype)}; known: {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"tensor {one_line(name)}: {one_line(shape)} is no shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {one_line(name)}: data_offsets must be two byte positions")
    if math.prod(max(size, 1) for size in shape) > _MAX_ELEMENTS:
        raise ValueError(f"tensor {one_line(name)}: the shape {one_line(shape)} is too large")
    begin, end = offsets
    needed = math.prod(shape) * DTYPES[dtype].itemsize
    if end - begin != needed:
        raise ValueError(f"tensor {one_line(name)}: {dtype} {shape} takes {needed} bytes, not {end - begin}")
    return begin, end


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 63 for size in value)


def _check_spans(spans: Iterable[tuple[int, int, str]], length: int) -> None:
    """The tensors must cover the `length` bytes of data once, without a hole."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise ValueError(f"tensor {one_line(name)} starts at byte {begin} of the data, not {position}")
        position = end
    if position != length:
        raise ValueError(f"the tensors take {position} bytes, the file has {length} for them")
