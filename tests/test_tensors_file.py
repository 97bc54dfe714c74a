"""safetensors files: round trips, the same bytes for the same tensors, and every malformed header."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nhnas.compiler.tensors_file import (
    DTYPES,
    MAX_HEADER,
    MAX_NAME,
    MAX_TENSORS,
    decode_tensors,
    encode_tensors,
    load_tensors,
    save_tensors,
)
from nhnas.spec.errors import InputError, TrainingError

WHERE = Path("weights.safetensors")
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/."), min_size=1, max_size=8
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A finite tensor of any stored type, with zero to three dimensions, some of them empty."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensor = torch.randint(0, 200, shape, generator=generator).to(dtype)
    return tensor.transpose(0, -1) if len(shape) > 1 and draw(st.booleans()) else tensor


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return sorted(a) == sorted(b) and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape and torch.equal(a[name], b[name])
        for name in a
    )


@settings(max_examples=100)
@given(st.dictionaries(NAMES, tensors(), max_size=5), st.text(max_size=5))
def test_round_trip(content: dict[str, Tensor], note: str) -> None:
    """What was saved is loaded, sorted by name, and the order of the dictionary leaves no trace."""
    data = encode_tensors(content, note)
    loaded = decode_tensors(data, WHERE)
    assert same(content, loaded)
    assert sorted(content) == list(loaded)
    assert data == encode_tensors(dict(reversed(content.items())), note)
    assert data == encode_tensors(loaded, note)


def test_files_are_equal_and_keep_every_bit(tmp_path: Path) -> None:
    """Two saves are the same file; negative zero and the smallest numbers keep their bits."""
    content = {"a": torch.tensor([-0.0, 1e-45, 3.4e38]), "b": torch.arange(3)}
    for name in "xy":
        save_tensors(tmp_path / name, content, "note")
    loaded = load_tensors(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert torch.equal(content["a"].view(torch.int32), loaded["a"].view(torch.int32))


def test_shared_strided_and_trained_tensors_are_saved() -> None:
    """Views of one storage, channels-last maps and parameters are saved as their values."""
    base = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    content = {
        "base": base,
        "view": base[:, 1:],
        "last": base.to(memory_format=torch.channels_last),
        "expanded": torch.ones(1, 2).expand(3, 2),
        "parameter": torch.nn.Parameter(base[0]),
    }
    assert same(content, decode_tensors(encode_tensors(content, ""), WHERE))


def test_loaded_tensors_do_not_hang_on_the_file(tmp_path: Path) -> None:
    """Cutting the file after loading changes nothing: it is not mapped."""
    save_tensors(tmp_path / "x", {"a": torch.ones(100_000)}, "")
    loaded = load_tensors(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"")
    assert 100_000 == loaded["a"].sum().item()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_neither_saved_nor_loaded(value: float) -> None:
    """NaN and infinity are refused both ways, naming the tensor, unless asked for."""
    content = {"fine": torch.ones(2), "bad.weight": torch.tensor([0.0, value])}
    with pytest.raises(TrainingError, match=r"^tensor bad\.weight holds NaN or infinity; it is not saved$"):
        encode_tensors(content, "")
    data = encode_tensors(content, "", finite=False)
    with pytest.raises(InputError, match=r"^weights\.safetensors: tensor bad\.weight holds NaN or infinity$"):
        decode_tensors(data, WHERE)
    assert ["bad.weight", "fine"] == list(decode_tensors(data, WHERE, finite=False))


@pytest.mark.parametrize(
    "name", ["", "a\nb", "\x7f", "\ud800", "a/../b", "/a", "__metadata__", "x" * (MAX_NAME + 1)]
)
def test_names_that_do_not_load_are_not_saved(name: str) -> None:
    """A name that loading refuses is refused when saving."""
    with pytest.raises(ValueError):
        encode_tensors({name: torch.ones(1)}, "")


def test_unknown_type_is_not_saved() -> None:
    """A type outside the list is refused, with the list."""
    with pytest.raises(ValueError, match=r"torch\.complex64 are not stored; known: I64, F64, F32"):
        encode_tensors({"a": torch.ones(1, dtype=torch.complex64)}, "")


def file(header: Any, data: bytes = b"") -> bytes:
    """A file of a header (an object, or its text) and the tensors' bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


FOUR = bytes(4)
GOOD = file({"a": entry()}, FOUR)
MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes are no"),
    "no length": (b"1234567", "7 bytes are no"),
    "no header": (bytes(8), "must start with {"),
    "length beyond the end": (GOOD[:20], "cut short"),
    "length huge": (b"\xff" * 8 + GOOD[8:], f"at most {MAX_HEADER}"),
    "data cut": (GOOD[:-1], "take 4 bytes, the file has 3"),
    "data too long": (GOOD + b"x", "take 4 bytes, the file has 5"),
    "header is a list": (file([]), "must start with {"),
    "header is spaces": (file(b"    {}"), "must start with {"),
    "not JSON": (file(b"{nope}"), "not JSON"),
    "header cut": (file(b'{"a":'), "not JSON"),
    "text after JSON": (file(b"{}x"), "not JSON"),
    "not UTF-8": (file(b'{"\xff": 1}'), "not UTF-8"),
    "UTF-16": (file("{}".encode("utf-16")), "must start with {"),
    "deep": (file(b'{"a":' + b"[" * 100_000), "nested too deeply"),
    "long number": (file(b'{"a":' + b"1" * 5_000 + b"}"), "integer string"),
    "duplicate tensor": (file(b'{"a":1,"a":1}'), "names a twice"),
    "duplicate key inside": (file(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "names dtype twice"),
    "metadata no object": (file({"__metadata__": []}), "must map text to text"),
    "metadata of numbers": (file({"__metadata__": {"a": 1}}), "must map text to text"),
    "entry no object": (file({"a": 1}), "nothing else"),
    "entry null": (file({"a": None}), "nothing else"),
    "key missing": (file({"a": {"dtype": "F32", "shape": [1]}}), "nothing else"),
    "key too many": (file({"a": entry(extra=1)}, FOUR), "nothing else"),
    "dtype unknown": (file({"a": entry("F8_E4M3")}, FOUR), "dtype F8_E4M3"),
    "dtype lower case": (file({"a": entry("f32")}, FOUR), "dtype f32"),
    "dtype no text": (file({"a": entry(["F32"])}, FOUR), "dtype"),
    "shape negative": (file({"a": entry(shape=[-1])}, FOUR), "no shape"),
    "shape float": (file({"a": entry(shape=[1.0])}, FOUR), "no shape"),
    "shape true": (file({"a": entry(shape=[True])}, FOUR), "no shape"),
    "shape a number": (file({"a": entry(shape=1)}, FOUR), "no shape"),
    "shape too deep": (file({"a": entry(shape=[1] * 17)}, FOUR), "no shape"),
    "shape huge but empty": (file({"a": entry(shape=[0, 1 << 40, 1 << 40], offsets=[0, 0])}), "too large"),
    "shape beyond 64 bits": (file({"a": entry(shape=[1 << 64])}, FOUR), "no shape"),
    "shape larger than the bytes": (file({"a": entry(shape=[2])}, FOUR), "takes 8 bytes, not 4"),
    "shape smaller than the bytes": (file({"a": entry(shape=[0])}, FOUR), "takes 0 bytes, not 4"),
    "offsets reversed": (file({"a": entry(offsets=[4, 0])}, FOUR), "takes 4 bytes, not -4"),
    "offsets negative": (file({"a": entry(offsets=[-4, 0])}, FOUR), "two byte positions"),
    "offsets three": (file({"a": entry(offsets=[0, 4, 4])}, FOUR), "two byte positions"),
    "offsets text": (file({"a": entry(offsets="04")}, FOUR), "two byte positions"),
    "offsets past the end": (file({"a": entry(offsets=[0, 4]), "b": entry(offsets=[4, 8])}, FOUR), "take 8"),
    "hole before": (file({"a": entry(offsets=[4, 8])}, FOUR * 2), "starts at byte 4 of the data, not 0"),
    "hole between": (file({"a": entry(), "b": entry(offsets=[8, 12])}, FOUR * 3), "starts at byte 8"),
    "overlap": (
        file({"a": entry(), "b": entry(offsets=[0, 4])}, FOUR),
        "starts at byte 0 of the data, not 4",
    ),
    "empty tensor astray": (file({"a": entry(), "b": entry(shape=[0], offsets=[9, 9])}, FOUR), "byte 9"),
    "name empty": (file({"": entry()}, FOUR), "name of 0 characters"),
    "name with a line end": (file({"a\nb": entry()}, FOUR), r"a\nb has control"),
    "name with an escape": (file({"\x1b[2J": entry()}, FOUR), r"\x1b[2J has control"),
    "name with half a surrogate": (file({"\ud800": entry()}, FOUR), r"\ud800 has control"),
    "name that climbs": (file({"../../etc/passwd": entry()}, FOUR), "no name for a tensor"),
    "name too long": (file({"x" * (MAX_NAME + 1): entry()}, FOUR), f"1 to {MAX_NAME} are allowed"),
    "NaN": (file({"a": entry()}, b"\x00\x00\xc0\x7f"), "tensor a holds NaN"),
    "infinity in BF16": (
        file({"a": entry("BF16", offsets=[0, 2])}, b"\x80\x7f"),
        "tensor a holds NaN or inf",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_file_is_one_line(case: str) -> None:
    """Every malformed file is refused in one line that names the file and what is wrong."""
    data, problem = MALFORMED[case]
    with pytest.raises(InputError) as caught:
        decode_tensors(data, WHERE)
    message = str(caught.value)
    assert message.startswith("weights.safetensors: ")
    assert problem in message
    assert message.isprintable()
    assert len(message) < 400


def test_too_many_tensors() -> None:
    """A file of 300,000 empty tensors is refused by their number."""
    one = json.dumps(entry(shape=[0], offsets=[0, 0]))
    text = ",".join(f'"{i}":{one}' for i in range(300_000))
    with pytest.raises(InputError, match=f"more than {MAX_TENSORS} tensors"):
        decode_tensors(file(f"{{{text}}}".encode()), WHERE)


def test_other_peoples_files_load() -> None:
    """Padding after the header and a missing note are as valid as our own files."""
    header = json.dumps({"b": entry(offsets=[0, 4]), "a": entry(offsets=[4, 8])}).encode() + b"   "
    loaded = decode_tensors(file(header, FOUR * 2), WHERE)
    assert {"a": [0.0], "b": [0.0]} == {name: tensor.tolist() for name, tensor in loaded.items()}


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_any_damage_is_an_input_error_or_a_valid_file(position: int, flip: int, cut: bool) -> None:
    """A flipped byte or a cut file never ends in anything but InputError or tensors of the stated shape."""
    data = bytearray(encode_tensors({"a.weight": torch.ones(3, 2), "b": torch.arange(4)}, "note"))
    position %= len(data)
    data[position] ^= flip
    with suppress(InputError):
        loaded = decode_tensors(bytes(data[:position] if cut else data), WHERE)
        assert not cut
        assert [4, 6] == sorted(tensor.numel() for tensor in loaded.values())
