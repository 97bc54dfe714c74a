"""Loss and accuracy of a network on a split: the function behind every saved figure (DESIGN §8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from nhnas.spec.config import Train
from nhnas.trainer.batches import ordered_batches
from nhnas.trainer.dataset import Dataset, Samples

EVALUATION_BATCH = 512
IMAGES_ON_CPU = 64
"""Images at a time on a CPU: maps of more leave its caches (half the speed with 512 of 32x32)."""


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode while it lasts; the mode before is restored."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def spread(limit: int, n: int) -> Tensor:
    """`limit` of `n` samples, int64, evenly spaced: the first ones of a folder are all of one class."""
    count = min(limit, n)
    return torch.arange(count) * n // count


def outputs_of(network: nn.Module, dataset: Dataset, split: Samples, limit: int | None = None) -> Tensor:
    """Outputs [N, O] in float32, evaluation mode, on the CPU; of `limit` samples (`spread`)."""
    device = next(iter(network.parameters())).device
    chosen = split if limit is None else split.take(spread(limit, len(split)))
    size = IMAGES_ON_CPU if device.type == "cpu" and len(split.sample_shape) == 3 else EVALUATION_BATCH
    with evaluation_mode(network), torch.no_grad():
        batches = ordered_batches(chosen, size, dataset.mean, dataset.std, device)
        return torch.cat([network(_in_format(batch.inputs)).float().cpu() for batch in batches])


def _in_format(inputs: Tensor) -> Tensor:
    """Maps as channels_last, whatever the network was trained in: as fast as it gets in float32 on a CPU."""
    return inputs.to(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def evaluate(network: nn.Module, dataset: Dataset, split: Samples, train: Train) -> dict[str, float]:
    """`loss` (without label smoothing) and `accuracy`, or `mse`, of a split; summed in float64."""
    outputs, targets = outputs_of(network, dataset, split), split.targets.cpu()
    if train.loss == "mse":
        error = F.mse_loss(outputs.double(), targets.double()).item()
        return {"loss": error, "mse": error}
    loss = F.cross_entropy(outputs.double(), targets).item()
    correct = int((outputs.argmax(1) == targets).sum())
    return {"loss": loss, "accuracy": correct / len(split)}
