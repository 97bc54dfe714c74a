"""A slow Adam in numpy, cell by cell, each cell with an age of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nhnas.trainer.optimizer import Optimizer, OptimizerSettings

Array = npt.NDArray[np.float64]


class Reference:
    """One tensor under Adam, cell by cell, in float64: every cell carries its own moments and its own age."""

    def __init__(self, value: Array, options: OptimizerSettings) -> None:
        self.options = options
        self.value = value.copy()
        self.first, self.second = np.zeros_like(value), np.zeros_like(value)
        self.age = np.zeros(value.shape, dtype=np.int64)

    def step(self, gradient: Array, lr: float) -> None:
        for cell in np.ndindex(self.value.shape):
            self._step_cell(cell, float(gradient[cell]), lr)

    def _step_cell(self, cell: tuple[int, ...], gradient: float, lr: float) -> None:
        (b1, b2), decay = self.options.betas, self.options.weight_decay
        if self.age[cell] + 1 < self.options.warmup:
            lr *= ((self.age[cell] + 1) / self.options.warmup) ** 2
        if self.options.kind == "adamw":
            self.value[cell] -= lr * decay * self.value[cell]
        else:
            gradient += decay * self.value[cell]
        self.age[cell] += 1
        self.first[cell] = b1 * self.first[cell] + (1 - b1) * gradient
        self.second[cell] = b2 * self.second[cell] + (1 - b2) * gradient**2
        first = self.first[cell] / (1 - b1 ** self.age[cell])
        second = self.second[cell] / (1 - b2 ** self.age[cell])
        self.value[cell] -= lr * first / (np.sqrt(second) + self.options.eps)

    def grow(self, axis: int, at: list[int], newcomers: Array) -> None:
        """Insert new rows or columns before the positions `at` of the old array."""
        self.value = np.insert(self.value, at, newcomers, axis)
        self.first = np.insert(self.first, at, 0.0, axis)
        self.second = np.insert(self.second, at, 0.0, axis)
        self.age = np.insert(self.age, at, 0, axis)


def assert_follows(references: Mapping[str, Reference], optimizer: Optimizer) -> None:
    """Values, moments and ages agree with the references."""
    state = optimizer.state()
    for name, reference in references.items():
        close(reference.value, optimizer.parameters[name].detach().numpy())
        close(reference.first, state[f"{name}:exp_avg"].numpy())
        close(reference.second, state[f"{name}:exp_avg_sq"].numpy())
        rows = state[f"{name}:age.rows"].numpy()
        columns = state.get(f"{name}:age.columns")
        age = rows if columns is None else np.minimum(rows[:, None], columns.numpy()[None])
        cells = reference.age.reshape(*age.shape, -1)
        assert np.array_equal(np.broadcast_to(age[..., None], cells.shape), cells)


def close(expected: Array, actual: Array) -> None:
    """Equal but for the rounding of float64."""
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-14)
