"""A report that edits a file, or does anything else, in the middle of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests import tiny


class AtBatch(tiny.Counting):
    """Does something in the middle of the training, as a person in an editor would."""

    def __init__(self, batch: int, action: Callable[[], object], stop: int = 0) -> None:
        super().__init__(batch=stop)
        self._at, self._action = batch, action

    def batch(self, *arguments: Any, **named: Any) -> None:
        """A batch is over."""
        super().batch(*arguments, **named)
        if self.batches == self._at:
            self._action()
