"""What an architecture is: frozen data, as it stands in the file (DESIGN §3).

Field types, ranges and required keys live here; what one part of an architecture demands of
another (shapes, unique names, empty residuals) is in `nhnas.spec.verify`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Norm = Literal["batch", "none"]
Act = Literal["relu", "gelu", "silu", "tanh"]

MAX_SIZE = 1_000_000
"""Largest width, input or position count; beyond it a typing error is likelier than a network."""

MAX_NAME = 50_000
"""Longest name of a layer, in characters."""


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"a kernel is odd, so that padding can be (kernel-1)/2; not {kernel}")
    return kernel


def _name(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} characters, not {len(name)}")
    if not name.strip() or any(c in "./" or ord(c) < 32 or ord(c) == 127 for c in name):
        raise ValueError("a name is any text without '.', '/' and control characters")
    return name


def _scale(scale: int) -> int:
    if scale == 2:
        raise ValueError("scale: 2, the U-Net form, is not supported yet; remove it")
    if scale != 1:
        raise ValueError(f"expected 1, not {scale}")
    return scale


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Kernel = Annotated[int, Field(ge=1, le=1023), AfterValidator(_odd)]
Name = Annotated[str, AfterValidator(_name)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


class Frozen(BaseModel):
    """Base of all spec data: immutable, no unknown keys, no coercion, no NaN."""

    # Validators are built when first used: reading a spec needs one of twenty, and start-up counts.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class ShortcutLeaf(Frozen):
    """Settings of one shortcut leaf that differ from those of its node."""

    kernel: Kernel | None = None
    norm: Norm | None = None
    init: Literal["identity"] | None = None


Shortcut = bool | Literal["identity"] | ShortcutLeaf


class Node(Frozen):
    """One H-ResNet map: `shortcut(x) + second(act(first(x)))`, or its leaf alone.

    `kernel` and `norm` hold for every leaf below; None means as in the node above.
    """

    kernel: Kernel | None = None
    norm: Norm | None = None
    shortcut: Shortcut = True
    residual: Residual | None = None
    note: str | None = None


class Residual(Frozen):
    """The non-linear part of a node: `hidden` neurons between `first` and `second`."""

    hidden: Annotated[int, Field(ge=0, le=MAX_SIZE)]
    act: Act = "relu"
    dropout: Probability = 0.0
    fixed: bool = False
    scale: Annotated[int, AfterValidator(_scale)] = 1
    first: Node = Field(default_factory=lambda: Node.model_construct())
    second: Node = Field(default_factory=lambda: Node.model_construct())


class _Named(Frozen):
    name: Name
    renamed_from: Name | None = None
    note: str | None = None


class _NodeLayer(_Named, Node):
    width: Size | None = None
    act: Act | None = None
    fixed: bool = False


class Conv(_NodeLayer):
    """A node of convolutions; maps keep their size up to `stride`, padding is (kernel-1)/2."""

    op: Literal["conv"] = "conv"
    stride: Annotated[int, Field(ge=1, le=1023)] = 1


class Dense(_NodeLayer):
    """A node of matrices over features."""

    op: Literal["dense"] = "dense"


class Activation(_Named):
    """An activation between layers."""

    op: Literal["activation"] = "activation"
    act: Act


class _Pool(_Named):
    kernel: Annotated[int, Field(ge=1, le=1023)] = 2
    stride: Annotated[int, Field(ge=1, le=1023)] | None = None

    @property
    def step(self) -> int:
        """Stride in pixels; the kernel's size where the file gives none."""
        return self.kernel if self.stride is None else self.stride


class MaxPool(_Pool):
    """Maximum over windows; no padding, sizes round down."""

    op: Literal["max_pool"] = "max_pool"


class AvgPool(_Pool):
    """Mean over windows; no padding, sizes round down."""

    op: Literal["avg_pool"] = "avg_pool"


class GlobalAvgPool(_Named):
    """[C, H, W] → [C]."""

    op: Literal["global_avg_pool"] = "global_avg_pool"


class Flatten(_Named):
    """[C, H, W] → [C·H·W]; one channel is H·W neighbouring features."""

    op: Literal["flatten"] = "flatten"


class Dropout(_Named):
    """Drops whole channels of [C, H, W], single features of [F]."""

    op: Literal["dropout"] = "dropout"
    p: Probability


Layer = Annotated[
    Conv | Dense | Activation | MaxPool | AvgPool | GlobalAvgPool | Flatten | Dropout,
    Field(discriminator="op"),
]


class Architecture(Frozen):
    """The two keys of a spec file that decide what the network computes."""

    input: Annotated[tuple[Size, ...], Field(strict=False)]
    net: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)]


OPS = ("conv", "dense", "activation", "max_pool", "avg_pool", "global_avg_pool", "flatten", "dropout")
