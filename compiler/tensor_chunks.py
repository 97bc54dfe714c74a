"""The bytes of a safetensors file as pieces that are already somewhere in memory.

A snapshot is hashed and written, which takes a copy of nothing: the library's own `save` would make three.
The same tensors give the same bytes as `safetensors.torch.save` of their contiguous copies; tests hold both
against each other.

Layout (https://github.com/huggingface/safetensors, "Format"): 8 bytes N, little-endian; N bytes of JSON,
name → {dtype, shape, data_offsets: [begin, end]}, filled up to a multiple of 8 with blanks; the tensors'
bytes without a hole, wide types first, then by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, chain

import torch
from torch import Tensor

from nhnas.compiler.canonical import canonical_json
from nhnas.compiler.tensor_kinds import by_kind

Chunk = bytes | memoryview

WIDE_FIRST = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The types that we store, by the names and in the order of the library."""
_RANK = {dtype: rank for rank, dtype in enumerate(WIDE_FIRST)}
SMALL = 1 << 16
"""Neighbours of fewer bytes are put together: a call for each would cost more than copying them."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def raw_bytes(tensors: Mapping[str, Tensor]) -> dict[str, memoryview]:
    """The elements' bytes of each in row-major order, whatever the strides and the device, in any order.

    Large ones may be the tensors' own memory; small ones are copied together.
    """
    found = {name: _bytes(tensor) for name, tensor in tensors.items() if tensor.nbytes >= SMALL}
    small = [(name, tensor) for name, tensor in tensors.items() if tensor.nbytes < SMALL]
    for places in by_kind(tensor for _, tensor in small):
        items = [small[place] for place in places]
        data, at = _bytes(torch.cat([tensor.detach().reshape(-1) for _, tensor in items])), 0
        for name, tensor in items:
            found[name] = data[at : at + tensor.nbytes]
            at += tensor.nbytes
    return found


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def tensor_chunks(
    tensors: Mapping[str, Tensor], note: str, raw: Mapping[str, memoryview] | None = None
) -> list[Chunk]:
    """The file's bytes, a function of names, types, shapes, values and `note` alone.

    Pieces may be the tensors' own memory: they are to be left alone until the pieces have been used.
    `raw` is what `raw_bytes` gives, where it is known already.
    """
    raw = raw_bytes(tensors) if raw is None else raw
    ordered = sorted(tensors.items(), key=lambda item: (_RANK[item[1].dtype], item[0]))
    ends = list(accumulate(tensor.nbytes for _, tensor in ordered))
    # One key: the library reads two or more in random order.
    header: dict[str, object] = {
        "__metadata__": {"nhnas": canonical_json({"format": 1, "note": note}).decode()}
    }
    for (name, tensor), end in zip(ordered, ends, strict=True):
        offsets = [end - tensor.nbytes, end]
        header[name] = {
            "dtype": WIDE_FIRST[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    text = _encode(header).encode()
    text += b" " * (-len(text) % 8)
    return list(joined(chain([len(text).to_bytes(8, "little"), text], (raw[name] for name, _ in ordered))))


def joined(parts: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same bytes with small neighbours put together."""
    waiting, size = list[Chunk](), 0
    for part in parts:
        if len(part) >= SMALL or size >= SMALL:
            if waiting:
                yield b"".join(waiting)
            waiting, size = [], 0
        if len(part) >= SMALL:
            yield part
        else:
            waiting.append(part)
            size += len(part)
    if waiting:
        yield b"".join(waiting)
