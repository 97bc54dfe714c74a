"""The id of a snapshot: a hash of all that its future depends on (DESIGN §7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from nhnas.compiler.canonical import canonical_json, keyless_json
from nhnas.compiler.tensor_chunks import Chunk, joined, raw_bytes
from nhnas.compiler.tensors_file import dtype_name


def snapshot_id(
    parent: str | None,
    version: int,
    architecture: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    exact: Mapping[str, Any],
    raw: Mapping[str, memoryview] | None = None,
) -> str:
    """'s' and 16 hex digits of SHA-256 over all that a snapshot's future depends on (DESIGN §7).

    `architecture` is the canonical `net` and `input`; `tensors` all of them, of any shape and device;
    `exact` the part of the state that must be continued exactly; `raw` the tensors' bytes, where they are at
    hand. Every piece is preceded by its length, so no two different inputs feed the hash the same bytes.
    """
    head = {"parent": parent, "version": version, "architecture": architecture, "exact": exact}
    digest = hashlib.sha256()
    for part in joined(_parts(head, tensors, raw_bytes(tensors) if raw is None else raw)):
        digest.update(part)
    return "s" + digest.hexdigest()[:16]


def _parts(
    head: Mapping[str, Any], tensors: Mapping[str, Tensor], raw: Mapping[str, memoryview]
) -> Iterator[Chunk]:
    for piece in (b"nhnas snapshot 1", canonical_json(head)):
        yield len(piece).to_bytes(8, "little") + piece
    for name in sorted(tensors):
        tensor, data = tensors[name], raw[name]
        label = keyless_json([name, dtype_name(tensor), list(tensor.shape), data.nbytes])
        yield len(label).to_bytes(8, "little") + label
        yield data
