"""What a command saved, read back (the snapshot that a file names, its neurons, its rates) or forged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from nhnas.compiler.canonical import canonical_json
from nhnas.compiler.store import Snapshot, load_snapshot
from nhnas.spec.document import read_document
from nhnas.spec.structure import sites


def snapshot_of(spec: Path) -> Snapshot:
    """The snapshot that a file names."""
    state = read_document(spec).state
    assert state is not None
    return load_snapshot(spec.parent / ".nhnas", state)


def neurons(spec: Path) -> dict[str, Any]:
    """The sites of the file."""
    return sites(read_document(spec).architecture)


def rate_of(spec: Path, back: int) -> float:
    """The learning rate at the end of the first epoch, so many versions ago."""
    snapshot = snapshot_of(spec)
    for _ in range(back):
        assert snapshot.parent is not None
        snapshot = load_snapshot(spec.parent / ".nhnas", snapshot.parent)
    return float(snapshot.metrics[0]["lr"])


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replaces a file and seals the folder anew, as somebody with bad intentions would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "MANIFEST.json").read_bytes())
    del manifest["sha256"]
    manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["sha256"] = hashlib.sha256(canonical_json(manifest)).hexdigest()
    (folder / "MANIFEST.json").write_bytes(canonical_json(manifest))
