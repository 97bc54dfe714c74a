"""How a command computes: chosen before its first batch, recorded, kept when it goes on (DESIGN §7)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from nhnas.spec.config import Train
from nhnas.trainer.cores import usable_threads
from nhnas.trainer.float32 import exact_float32


@dataclass(frozen=True, slots=True)
class Numerics:
    """Everything that decides which bits come out, apart from the data and the seed.

    `fused`: leaves that read the same input run as one. `compiled`: `train.compile`, no choice by measuring.
    """

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    threads: int
    deterministic: bool
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    fused: bool = False
    compiled: bool = False

    @property
    def torch_format(self) -> torch.memory_format:
        """What `Module.to` and `Tensor.to` take; maps only, matrices have no choice."""
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON data. Ids hold it: what came later is left out if false, as before it came."""
        later = ("fused", "compiled")
        return {key: value for key, value in asdict(self).items() if value or key not in later}


def choose_numerics(train: Train) -> Numerics:
    """`deterministic` means the CPU, float32 and one thread; else what the machine has.

    `precision: auto` is float32 here: nothing is taken that was not measured (trainer/forms.py).
    """
    if train.deterministic:
        return Numerics("cpu", "float32", 1, True, compiled=train.compile)
    device: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    precision: Literal["float32", "bfloat16"] = "bfloat16" if train.precision == "bfloat16" else "float32"
    threads = train.threads or usable_threads()
    return Numerics(device, precision, threads, False, compiled=train.compile)


def use_numerics(numerics: Numerics) -> None:
    """Set the process up; affects all of torch.

    `deterministic` needs no more than its one thread: on the CPU no operation here depends on
    anything but its input then, and torch's own switch imports the compiler, two seconds of it.
    float32 means float32, on a GPU, too, and whatever a caller has set: by itself torch computes
    convolutions there with the ten bits of TF32, and what an edit changes could not be told from rounding.
    """
    torch.set_num_threads(numerics.threads)
    exact_float32()


def autocast(numerics: Numerics) -> AbstractContextManager[Any]:
    """The context of a forward pass."""
    if numerics.precision == "float32":
        return nullcontext()
    return torch.autocast(numerics.device, torch.bfloat16)
