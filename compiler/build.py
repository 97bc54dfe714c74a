"""From an architecture and its tensors to a module (DESIGN §5, §9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nhnas.compiler.axis_moves import AxisMoves
from nhnas.compiler.network import Network
from nhnas.compiler.one_thread import one_thread
from nhnas.compiler.recipe import Recipe, compile_recipe, from_nothing
from nhnas.compiler.remap import remap_optimizer, remap_weights
from nhnas.compiler.tensor_plan import tensor_plans
from nhnas.spec.edits import Edit
from nhnas.spec.errors import InputError
from nhnas.spec.model import Architecture
from nhnas.spec.verify import verify


def initial_weights(
    arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Untrained tensors, U(-1/√fan_in, 1/√fan_in) as torch's own layers; norms 1, 0, 0, 1."""
    return remap_weights(tensor_plans(arch, from_nothing(arch)), {}, seed=seed, parent="", dtype=dtype)


def build(
    arch: Architecture,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    adopt: bool = False,
) -> Network:
    """The module of `arch` with its tensors, untrained ones from `seed` where none are given.

    With `adopt` weights that are as the module needs them become its own, without a copy: leave them alone.
    Raises InputError where names or shapes of `tensors` are not those of the architecture.
    """
    verify(arch)
    given = initial_weights(arch, seed) if tensors is None else tensors
    floats = (t.dtype for t in given.values() if t.is_floating_point())
    wanted = dtype or next(floats, torch.float32)
    network = Network(arch)
    if wanted != torch.get_default_dtype() or torch.device(device) != torch.get_default_device():
        network.to(device=device, dtype=wanted)
    load_weights(network, given, adopt=adopt or tensors is None)
    return network


def load_weights(network: Network, tensors: Mapping[str, Tensor], *, adopt: bool = False) -> None:
    """Copy tensors into the module; names and shapes must agree exactly, or InputError.

    With `adopt` the large ones, of the right type and place, become the module's own instead.
    """
    own = network.tensors()
    check_tensors({name: t.shape for name, t in own.items()}, {n: t.shape for n, t in tensors.items()})
    copied = []
    for name, tensor in own.items():
        if adopt and _fits(tensor, tensors[name]):
            tensor.data = tensors[name]
        else:
            copied.append(name)
    with torch.no_grad():
        torch._foreach_copy_([own[name] for name in copied], [tensors[name] for name in copied])


def _fits(own: Tensor, other: Tensor) -> bool:
    """Whether `other` may stand for a weight: vectors may share their memory with others, and are cheap."""
    same_kind = own.dtype == other.dtype and own.device == other.device
    return own.dim() > 1 and same_kind and other.is_contiguous()


def check_tensors(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> None:
    """Raise InputError at the first name that is missing, unknown or of another shape."""
    if expected == found:  # nearly always, and one comparison tells
        return
    for name in [*expected, *found]:
        if name not in found:
            raise InputError(f"weights: {name} is missing")
        if name not in expected:
            raise InputError(f"weights: {name} belongs to no part of the architecture")
        if tuple(expected[name]) != tuple(found[name]):
            shapes = f"{list(expected[name])} in the architecture, {list(found[name])} in the file"
            raise InputError(f"weights: {name} has two shapes: {shapes}")


@dataclass(frozen=True, eq=False)
class Carried:
    """A network and its optimizer after some edits."""

    arch: Architecture
    recipe: Recipe
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def carried(
    arch: Architecture,
    edits: Sequence[Edit],
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    *,
    seed: int,
    parent: str,
) -> Carried:
    """The architecture after `edits`, their recipe, and every tensor carried over.

    `seed` and `parent`, the snapshot grown from, key the random values. Raises InputError.
    """
    after, recipe = compile_recipe(arch, edits)
    verify(after)
    plans, moves = tensor_plans(after, recipe), AxisMoves()
    with one_thread():
        tensors = remap_weights(plans, weights, seed=seed, parent=parent, moves=moves)
        entries = remap_optimizer(plans, optimizer, moves)
    return Carried(after, recipe, tensors, entries)


def grown(
    arch: Architecture, edits: Sequence[Edit], weights: Mapping[str, Tensor], *, seed: int, parent: str
) -> tuple[Architecture, Recipe, dict[str, Tensor]]:
    """`carried` without an optimizer."""
    found = carried(arch, edits, weights, {}, seed=seed, parent=parent)
    return found.arch, found.recipe, found.weights
