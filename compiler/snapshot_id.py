"""The id of a snapshot: a hash of all that its future depends on (DESIGN §7)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nhnas.compiler.canonical import canonical_json
from nhnas.compiler.tensors_file import dtype_name, raw_bytes


def snapshot_id(
    parent: str | None,
    version: int,
    architecture: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    exact: Mapping[str, Any],
) -> str:
    """'s' and 16 hex digits of SHA-256 over all that a snapshot's future depends on (DESIGN §7).

    `architecture` is the canonical `net` and `input`; `tensors` all of them, of any shape and device;
    `exact` the part of the state that must be continued exactly. Every piece is preceded by its
    length, so no two different inputs feed the hash the same bytes.
    """
    head = {"parent": parent, "version": version, "architecture": architecture, "exact": exact}
    digest = hashlib.sha256()
    for piece in (b"nhnas snapshot 1", canonical_json(head)):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    for name in sorted(tensors):
        tensor = tensors[name]
        data = raw_bytes(tensor)
        label = canonical_json([name, dtype_name(tensor), list(tensor.shape), data.nbytes])
        digest.update(len(label).to_bytes(8, "little") + label)
        digest.update(data)
    return "s" + digest.hexdigest()[:16]
