"""How a network is trained and searched: the keys `data`, `train` and `search` of a spec (DESIGN §3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from nhnas.spec.model import Frozen, Probability
from nhnas.spec.scalars import MAX_DIGITS

Augmentation = Literal["crop", "shift", "flip", "rotate"]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class Data(Frozen):
    """Which samples, from where; `dataset` is a built-in name or `package.module:function`."""

    dataset: str = "spirals"
    root: str | None = None
    val: Probability = 0.0
    augment: Annotated[tuple[Augmentation, ...], Field(strict=False)] = ()
    download: bool = False
    workers: Annotated[int, Field(ge=0, le=64)] | None = None


class Train(Frozen):
    """How the weights are trained; `lr` per batch, `warmup` in epochs."""

    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Positive = 1e-3
    schedule: Literal["constant", "cosine", "onecycle"] = "constant"
    betas: Annotated[tuple[Probability, Probability], Field(strict=False)] = (0.9, 0.999)
    momentum: Probability = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    label_smoothing: Probability = 0.0
    average: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    warmup: NonNegative = 0.5
    warmup_for: Literal["all", "newcomers"] = "all"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    evaluate: bool = False
    deterministic: bool = False
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    seed: Annotated[int, Field(ge=0, lt=10**MAX_DIGITS)] = 0


class Target(Frozen):
    """What `policy: auto` steers at: a size, an accuracy of held-out samples, or both."""

    params: Annotated[int, Field(ge=1)] | None = None
    macs: Annotated[int, Field(ge=1)] | None = None
    accuracy: Annotated[float, Field(gt=0.0, le=1.0)] | None = None


class Search(Frozen):
    """How one step changes the architecture (DESIGN §6).

    `add` neurons plus `add_fraction` of those present are added a step; `threshold_min` and
    `threshold_max` are importances, in units of the mean over removable neurons.
    """

    add: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    add_fraction: Annotated[float, Field(ge=0.0, le=100.0)] = 0.07
    newcomers: Literal["random", "small", "gradmax"] = "random"
    add_to_remove: Positive = 2.0
    min_epochs: Annotated[int, Field(ge=1)] = 1
    max_epochs: Annotated[int, Field(ge=1)] = 10
    fade_epochs: Annotated[int, Field(ge=0)] = 2
    settle_epochs: Annotated[int, Field(ge=0)] = 2
    threshold_min: NonNegative = 0.01
    threshold_max: NonNegative = 0.5
    random_remove: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    flat: Literal["auto", "authors"] = "auto"
    promote: Literal["auto", "authors"] = "auto"
    drop_shortcut: bool = False
    spread: Literal["noisy", "even"] = "noisy"
    compare: Literal["all", "site"] = "all"
    cost: Literal["none", "params", "macs"] = "none"
    policy: Literal["none", "auto"] = "none"
    target: Target | None = None
    schedule: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = ()
