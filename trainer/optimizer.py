"""Adam, AdamW and SGD for networks that grow: every cell is corrected for its own age.

Zero-padded moments under one shared step counter give newcomers a first step of 3.2 times the learning
rate. Here the bias corrections follow the cell's own age, min(age of its row, age of its column): new
neurons learn as under a fresh Adam, old ones as if nothing had happened.

m <- b1·m + (1-b1)·g;  v <- b2·v + (1-b2)·g²;  p <- p - lr·(m/(1-b1^t)) / (sqrt(v/(1-b2^t)) + eps)
with t the cell's age (Kingma & Ba 2015, algorithm 1, with t per cell). Weight decay as in torch: L2 in
the gradient for Adam and SGD, decoupled for AdamW.

Shape letters: O rows (dim 0), I columns (dim 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from nhnas.spec.errors import InputError
from nhnas.trainer.optimizer_kernels import Kernel, adam_kernel, sgd_kernel, zero_all
from nhnas.trainer.optimizer_layout import Layout, Slot, make_layout


@dataclass(frozen=True)
class OptimizerSettings:
    """What `torch.optim.Adam`, `AdamW` and `SGD` call by the same names; `lr` is the first step's default.

    `betas` and `eps` are Adam's, `momentum` and `nesterov` are SGD's. `warmup`: steps over which a cell's own
    rate rises with its age, by `trainer.schedules.warmed_up`; SGD knows no ages. Raises InputError for betas
    outside [0, 1).
    """

    kind: Literal["adam", "adamw", "sgd"]
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise InputError(f"train.betas: expected two numbers in [0, 1), found {list(self.betas)}")


class Optimizer:
    """Steps exactly the parameters it was made with; made by `make_optimizer`.

    A parameter without gradient is skipped, as in torch: neither its moments nor its ages move.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        settings: OptimizerSettings,
        state: Mapping[str, Tensor],
    ) -> None:
        self.parameters: Mapping[str, torch.nn.Parameter] = MappingProxyType(dict(parameters))
        self.settings = settings
        self._aged = settings.kind != "sgd"
        self._moment_names = ("exp_avg", "exp_avg_sq") if self._aged else ("momentum",)
        self._betas = settings.betas if self._aged else None  # SGD corrects for no age
        self._warmup = settings.warmup if self._aged else 0.0
        self._kernel = _kernel(settings)
        self._slots = {name: self._slot(name, state) for name in self.parameters}
        self._parameter_list = list(self.parameters.values())
        self._layout: Layout | None = None

    @torch.no_grad()
    def step(self, lr: float | None = None) -> None:
        """One update of every parameter that has a gradient; `lr` None means the settings' lr."""
        if self._layout is None or not self._layout.fits(self._parameter_list):
            self._close_layout()
            self._layout = make_layout(list(self._slots.values()), self._betas, self._warmup)
        self._layout.step(self._kernel, self.settings.lr if lr is None else lr)

    def zero_grad(self) -> None:
        """Fill the gradients with zeros in place, which keeps their views valid for the next step."""
        zero_all([p.grad.detach() for p in self._parameter_list if p.grad is not None])

    @torch.no_grad()
    def state(self) -> dict[str, Tensor]:
        """A contiguous copy of all moments (shape of the parameter) and ages, on the parameters' devices.

        Keys: `<name>:exp_avg` and `<name>:exp_avg_sq`, for SGD `<name>:momentum`; with Adam and AdamW
        `<name>:age.rows` int64 [O] and, with two dimensions or more, `<name>:age.columns` int64 [I].
        """
        return {
            key: value.to(self.parameters[key.rpartition(":")[0]].device, copy=True).contiguous()
            for key, value in self.entries().items()
        }

    @torch.no_grad()
    def entries(self) -> dict[str, Tensor]:
        """The tensors that `state` copies, themselves: valid, and to be left alone, until the next step.

        Moments lie in memory as they are; ages are on the CPU.
        """
        self._close_layout()
        return {key: value for name in self.parameters for key, value in self._items(name)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned, copying it. All or nothing.

        Raises InputError naming the first tensor that is missing, unknown or of another shape or dtype.
        """
        expected = self.entries()
        _check_state(expected, state)
        for key, target in expected.items():
            target.copy_(state[key])

    def check_holds(self, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        """Raise RuntimeError unless these are, object by object, the parameters that are stepped.

        A replaced `nn.Parameter` would silently be trained no more; call this after every change.
        """
        for name in sorted({*parameters, *self.parameters}):
            if parameters.get(name) is not self.parameters.get(name):
                raise RuntimeError(f"optimizer and module hold different parameters under {name!r}")

    def _close_layout(self) -> None:
        if self._layout is not None:
            self._layout.close()
            self._layout = None

    def _slot(self, name: str, state: Mapping[str, Tensor]) -> Slot:
        """The entries of one parameter: those of `state` themselves, zeros where it has none."""
        parameter = self.parameters[name].detach()
        shape = parameter.shape
        moments = [_entry(f"{name}:{kind}", shape, parameter.dtype, state) for kind in self._moment_names]
        return Slot(
            self.parameters[name],
            [torch.zeros_like(parameter) if m is None else m.to(parameter.device) for m in moments],
            rows=self._ages(f"{name}:age.rows", shape[:1] or (1,), state),
            columns=self._ages(f"{name}:age.columns", shape[1:2], state) if len(shape) > 1 else None,
        )

    def _ages(self, key: str, shape: Sequence[int], state: Mapping[str, Tensor]) -> Tensor:
        found = _entry(key, shape, torch.int64, state) if self._aged else None
        return torch.zeros(*shape, dtype=torch.int64) if found is None else found.cpu()

    def _items(self, name: str) -> Iterator[tuple[str, Tensor]]:
        slot = self._slots[name]
        for moment_name, moment in zip(self._moment_names, slot.moments, strict=True):
            yield f"{name}:{moment_name}", moment
        if self._aged:
            yield f"{name}:age.rows", slot.rows
        if self._aged and slot.columns is not None:
            yield f"{name}:age.columns", slot.columns


def make_optimizer(
    parameters: Mapping[str, torch.nn.Parameter],
    settings: OptimizerSettings,
    state: Mapping[str, Tensor] | None = None,
) -> Optimizer:
    """An optimizer over named parameters, each under one name only.

    `state` holds entries as `Optimizer.state` names them. Those that belong to the parameters become the
    optimizer's own, without a copy; what has none begins afresh (moments 0, ages 0).
    Raises ValueError if a parameter is there twice, InputError for an unknown kind and for an entry of
    another shape or dtype.
    """
    if len({id(parameter) for parameter in parameters.values()}) < len(parameters):
        raise ValueError("a parameter is given to the optimizer under two names")
    optimizer = Optimizer(parameters, settings, state or {})
    _check_ages(optimizer.entries())
    return optimizer


def _kernel(settings: OptimizerSettings) -> Kernel:
    match settings.kind:
        case "adam" | "adamw":
            decoupled = settings.kind == "adamw"
            return adam_kernel(settings.betas, settings.eps, settings.weight_decay, decoupled=decoupled)
        case "sgd":
            return sgd_kernel(settings.momentum, settings.weight_decay, nesterov=settings.nesterov)
    raise InputError(f"train.optimizer: expected adam, adamw or sgd, found {settings.kind}")


def _check_state(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for key, target in expected.items():
        if _entry(key, target.shape, target.dtype, state) is None:
            wanted = _described(target.dtype, target.shape)
            raise InputError(f"optimizer state: {key}: missing, expected {wanted}")
    for key, value in state.items():
        if key not in expected:
            found = _described(value.dtype, value.shape)
            raise InputError(f"optimizer state: {key}: {found} belongs to no parameter")
    _check_ages(state)


def _entry(key: str, shape: Sequence[int], dtype: torch.dtype, state: Mapping[str, Tensor]) -> Tensor | None:
    """The entry `key`, None where there is none; InputError where it has another shape or dtype."""
    found = state.get(key)
    if found is not None and (found.shape != shape or found.dtype != dtype):
        wanted, actual = _described(dtype, shape), _described(found.dtype, found.shape)
        raise InputError(f"optimizer state: {key}: expected {wanted}, found {actual}")
    return found


def _check_ages(state: Mapping[str, Tensor]) -> None:
    told = {key: value for key, value in state.items() if key.rpartition(":")[2].startswith("age.")}
    ages = {key: value for key, value in told.items() if value.numel()}
    if not ages or int(torch.cat([*ages.values()]).min()) >= 0:  # one look at all: there are hundreds
        return
    key = next(key for key, value in ages.items() if int(value.min()) < 0)
    raise InputError(f"optimizer state: {key}: expected ages of 0 and more, found a negative one")


def _described(dtype: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
