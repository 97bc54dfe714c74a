"""What makes a snapshot cheap changes nothing: the same bytes, the same id, the same refusals."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.compiler.sealed import Content, read_sealed, write_sealed
from nhnas.compiler.snapshot_id import snapshot_id
from nhnas.compiler.tensor_chunks import SMALL, WIDE_FIRST, joined, raw_bytes
from nhnas.compiler.tensors_file import check_finite, encode_tensors
from nhnas.spec.errors import TrainingError

SEEDS = st.integers(0, 10**6)
CASES = settings(max_examples=100, deadline=None, derandomize=True)


def random_tensors(rng: Random) -> dict[str, torch.Tensor]:
    """Tensors of all types that are stored, around the size at which pieces are put together."""
    found = {}
    for at in range(rng.randint(0, 8)):
        dtype = rng.choice(list(WIDE_FIRST))
        length = rng.choice([0, 1, 3, SMALL // 8 - 1, SMALL // 8, SMALL])
        shape = rng.choice([(length,), (length, 1), (1, length), ()])
        values = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(at))
        tensor = values.to(dtype)
        found["n" + rng.choice('aAzé€/"\\') * rng.randint(1, 3) + str(at)] = (
            tensor.t() if tensor.dim() == 2 else tensor
        )
    return found


@CASES
@given(seed=SEEDS)
def test_a_file_is_what_the_library_writes(seed: int) -> None:
    """Our pieces, laid end to end, are the bytes of `safetensors.torch.save` of contiguous copies."""
    tensors = random_tensors(Random(seed))
    copies = {name: t.clone(memory_format=torch.contiguous_format) for name, t in sorted(tensors.items())}
    expected = safetensors.torch.save(copies, {"nhnas": '{"format":1,"note":"a \\"note\\""}'})
    assert expected == encode_tensors(tensors, 'a "note"')


@CASES
@given(seed=SEEDS)
def test_bytes_at_hand_give_the_same_id(seed: int) -> None:
    """An id from bytes that were read for the file is the id from the tensors."""
    tensors = random_tensors(Random(seed))
    identity = partial(snapshot_id, "s0123456789abcdef", 3, {"net": []}, tensors, {"epochs": 1})
    assert identity() == identity(raw_bytes(tensors))


def test_pieces_are_put_together_and_lose_nothing() -> None:
    """Small neighbours become one piece, large ones stay the memory that they are."""
    large = memoryview(bytes(SMALL))
    found = list(joined([b"a", b"", b"bc", large, b"d", large]))
    assert [b"abc", large, b"d", large] == found
    assert large is found[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("length", [3, 5000])
def test_one_bad_number_among_many_is_found(value: float, length: int) -> None:
    """NaN and infinity are found by the sum and named, in small and in large tensors."""
    tensors = {name: torch.ones(length) for name in "abc"}
    check_finite(tensors)
    tensors["b"][length - 1] = value
    with pytest.raises(TrainingError, match="tensor b holds NaN or infinity"):
        check_finite(tensors)


def test_sums_that_overflow_are_no_bad_numbers() -> None:
    """Finite numbers whose sum is not are looked at one by one, and found to be finite."""
    check_finite({"a": torch.full((5000,), 3e38), "b": torch.full((9,), 60000.0, dtype=torch.float16)})


def test_a_file_in_pieces_is_sealed_as_a_whole(tmp_path: Path) -> None:
    """Pieces are written and hashed as the one content that they are."""
    files: dict[str, Content] = {"a": [b"12", memoryview(b"345")], "b": b"678", "c": []}
    assert write_sealed(tmp_path / "s", {"kind": "x"}, files)
    assert {"a": b"12345", "b": b"678", "c": b""} == read_sealed(tmp_path / "s", "").files


def test_a_check_that_fails_beside_the_writing_leaves_nothing(tmp_path: Path) -> None:
    """What `check` raises comes through, and neither the folder nor a temporary one is there."""

    def check() -> None:
        raise TrainingError("no")

    with pytest.raises(TrainingError, match="no"):
        write_sealed(tmp_path / "s", {}, {"a": b"1"}, check)
    assert [] == list(tmp_path.iterdir())
