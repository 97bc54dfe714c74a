"""Thousands of malformed safetensors files: one line each, and what is read is what the header says."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch

from nhnas.compiler.tensors_file import DTYPES, decode_tensors
from nhnas.spec.document import read_document
from nhnas.spec.errors import InputError
from tests import tiny
from tests.here import Here
from tests.malformed import malformed
from tests.saved import forge
from tests.test_tensors_file import MALFORMED

pytestmark = pytest.mark.usefixtures("no_fsync")

WHERE = Path("weights.safetensors")


def is_refused(data: bytes) -> bool:
    """Whether it was refused, in one printable line; what is read is checked against the header."""
    try:
        loaded = decode_tensors(data, WHERE)
    except InputError as error:
        message = str(error)
        assert message.startswith("weights.safetensors: ")
        assert message.isprintable()
        assert len(message) < 700
        return True
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    assert sorted(header) == list(loaded)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert DTYPES[entry["dtype"]] == loaded[name].dtype
        assert entry["shape"] == list(loaded[name].shape)
        assert (
            data[8 + size + begin : 8 + size + end]
            == loaded[name].view(-1).view(torch.uint8).numpy().tobytes()
        )
        assert bool(loaded[name].isfinite().all())
    return False


def refused(count: int, seed: int) -> int:
    """How many of so many files are refused."""
    return sum(is_refused(malformed(Random(f"{seed} {index}"))) for index in range(count))


def test_malformed_files_are_one_line_each() -> None:
    """Of 300, most are refused; the others were harmed in no way that matters."""
    assert 300 > refused(300, seed=0) > 200


@pytest.mark.crash
def test_5000_malformed_files_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """The long form: goes on until 5,000 were refused."""
    tried = count = 0
    while count < 5_000:
        count += is_refused(malformed(Random(f"1 {tried}")))
        tried += 1
    with capsys.disabled():
        print(f"\nmalformed safetensors: {tried} tried, {count} refused in one line, {tried - count} sound")


def test_a_forged_snapshot_ends_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each malformed file under a manifest that vouches for it: exit code 2 and one line with its name."""
    spec, here = tiny.make(tmp_path / "work"), Here(capfd)
    tiny.step(spec)
    folder = spec.parent / ".nhnas" / "snapshots" / (read_document(spec).state or "")
    for name, (data, _) in MALFORMED.items():
        part = "optimizer" if len(name) % 2 else "weights"
        whole = {path.name: path.read_bytes() for path in folder.iterdir()}
        forge(folder, f"{part}.safetensors", data)
        code, out, err = here("eval", str(spec))
        assert (2, "", 1) == (code, out, err.count("\n")), (name, err)
        assert err.startswith(f"{folder / part}.safetensors: "), err
        for other, content in whole.items():
            (folder / other).write_bytes(content)
    assert 0 == here("eval", str(spec))[0]
