"""What the process is set up to before anything is computed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from nhnas.trainer.numerics import Numerics, use_numerics
from nhnas.trainer.own_torch import own_torch
from tests.audit import ROOT


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


def _readable(read: Callable[[], object]) -> object:
    try:
        return read()
    except RuntimeError:  # old switches, where they contradict the new ones
        return "contradiction"


def _switches() -> list[object]:
    gpu, cpu = torch.backends.cudnn, torch.backends.mkldnn
    new = (torch.backends.cuda.matmul, gpu.conv, gpu.rnn, cpu.matmul, cpu.conv, cpu.rnn, torch.backends)  # type: ignore[attr-defined]
    old = (torch.get_float32_matmul_precision, lambda: gpu.allow_tf32)
    return [*(place.fp32_precision for place in new), *map(_readable, old)]


SETTINGS = (
    "None",
    "torch.backends.cuda.matmul.allow_tf32 = True; torch.backends.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'tf32'",
)
"""From nothing to all, by old switches and by new ones, each on top of those before."""


def test_how_a_caller_computes_in_float32_is_neither_used_nor_changed() -> None:
    """Whatever was set. In a process of its own, which is left as it is."""
    code = f"""
import torch
from tests.test_numerics import Numerics, _switches, own_torch, use_numerics
for setting in {SETTINGS}:
    exec(setting)
    before = _switches()
    with own_torch():
        use_numerics(Numerics("cpu", "float32", 1, False))
        assert ["ieee"] * 6 == _switches()[:6], (setting, _switches())
        assert ["highest", False] == _switches()[7:], (setting, _switches())
    assert before == _switches(), (setting, before, _switches())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_gpus_that_nobody_uses_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight are there, it seems: a command that computes on the CPU asks none of them for anything."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with own_torch():
        pass
    assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
