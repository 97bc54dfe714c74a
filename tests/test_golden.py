"""Networks that the paper's authors logged, with the parameter counts that PyTorch gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nhnas.spec.document import read_document
from nhnas.spec.measure import measure

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))


def test_there_are_a_dozen_golden_cases() -> None:
    """The folder is found and complete."""
    assert len(GOLDEN) == 12


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_logged_architectures_count_as_pytorch_counted_them(path: Path) -> None:
    """A golden file's name ends in its number of parameters."""
    expected = int(path.stem.rpartition("-")[2])
    assert expected == measure(read_document(path).architecture).parameters
