"""A network, its optimizer and its data: one training batch after another.

Legend: B batch, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from nhnas.compiler.keyed_random import key_of
from nhnas.compiler.network import Network
from nhnas.spec.config import Train
from nhnas.spec.errors import TrainingError
from nhnas.trainer.batches import Batch, batch_count, batches
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.numerics import Numerics, autocast
from nhnas.trainer.optimizer import Optimizer, OptimizerSettings, make_optimizer


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Mean loss of a batch (with label smoothing, as trained), right answers, samples."""

    loss: float
    correct: int
    samples: int


def optimizer_settings(train: Train, batches_per_epoch: int) -> OptimizerSettings:
    """The optimizer that a spec asks for."""
    return OptimizerSettings(
        kind=train.optimizer,
        lr=train.lr,
        betas=train.betas,
        momentum=train.momentum,
        nesterov=train.nesterov,
        weight_decay=train.weight_decay,
        warmup=train.warmup * batches_per_epoch if train.warmup_for == "newcomers" else 0.0,
    )


def warmup_batches(train: Train, batches_per_epoch: int) -> float:
    """Batches over which the rate of all neurons warms up."""
    return train.warmup * batches_per_epoch if train.warmup_for == "all" else 0.0


def loss_of(outputs: Tensor, targets: Tensor, train: Train, smoothing: float) -> Tensor:
    """Mean loss over the batch; outputs [B, O], targets [B] classes or [B, O] values."""
    if train.loss == "mse":
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets, label_smoothing=smoothing)


class Engine:
    """Trains `network` in place on `dataset.train`, for one version of a spec."""

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        train: Train,
        augment: tuple[str, ...],
        version: int,
        numerics: Numerics,
        moments: dict[str, Tensor] | None = None,
    ) -> None:
        self.network: Network = network.to(numerics.device, memory_format=numerics.torch_format)  # type: ignore[call-overload]
        self.network.fuse(numerics.fused)
        self.dataset, self.train, self.augment = dataset, train, augment
        self.version, self.numerics = version, numerics
        self.rate = 1.0
        """Factor of every learning rate, halved when training went back to its last good point."""
        self.batch_count = batch_count(len(dataset.train), train.batch)
        self.optimizer = fresh_or_loaded(network, optimizer_settings(train, self.batch_count), moments or {})
        self._split = dataset.train.near(numerics.device)
        self._forward: Callable[[Tensor], Tensor] = self.network
        if numerics.compiled:
            from nhnas.trainer.compiled import Compiled  # imports torch's compiler, two seconds of it

            whole = len(dataset.train)
            self._forward = Compiled(self.network, whole if self.batch_count == 1 else train.batch)
        self._random = any(isinstance(m, torch.nn.Dropout | torch.nn.Dropout2d) for m in network.modules())
        self._random |= any(getattr(m, "dropout", 0.0) for m in network.modules())

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from `start` on; the network is in training mode from now on."""
        self.network.train()
        return batches(
            self._split,
            batch=self.train.batch,
            seed=self.train.seed,
            version=self.version,
            epoch=epoch,
            augment=self.augment,
            mean=self.dataset.mean,
            std=self.dataset.std,
            device=self.numerics.device,
            start=start,
        )

    def train_batch(self, batch: Batch, epoch: int, lr: float) -> BatchResult:
        """One optimizer step; raises TrainingError where the loss is not finite."""
        if self._random:
            torch.manual_seed(int(key_of(self.train.seed, self.version, epoch, batch.index)) >> 1)
        inputs = batch.inputs
        if inputs.dim() == 4:
            inputs = inputs.to(memory_format=self.numerics.torch_format)
        with autocast(self.numerics):
            outputs = self._forward(inputs)
        outputs = outputs.float()
        loss = loss_of(outputs, batch.targets, self.train, self.train.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        if not math.isfinite(value):
            where = f"epoch {epoch + 1}, batch {batch.index + 1}"
            raise TrainingError(f"the loss is {value} at {where}")
        self.optimizer.step(lr * self.rate)
        correct = 0
        if self.dataset.is_classification:
            correct = int((outputs.detach().argmax(1) == batch.targets).sum())
        return BatchResult(value, correct, len(batch))


def fresh_or_loaded(network: Network, settings: OptimizerSettings, moments: dict[str, Tensor]) -> Optimizer:
    """An optimizer over the network's parameters; those without an entry in `moments` begin afresh.

    The entries become the optimizer's own, without a copy.
    """
    return make_optimizer(network.trained(), settings, moments)
