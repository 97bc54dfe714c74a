"""What the process is set up to before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nhnas.trainer.numerics import Numerics, use_numerics


@pytest.fixture
def tf32() -> Iterator[None]:
    """Convolutions and products of a GPU with ten bits, as if somebody had asked for it."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = True
    yield
    convolutions.allow_tf32, products.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
def test_float32_is_float32_on_a_gpu_too() -> None:
    """No TF32, which torch takes for convolutions by itself: what an edit changes would drown in rounding."""
    use_numerics(Numerics("cpu", "float32", torch.get_num_threads(), False))
    assert (False, False) == (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
