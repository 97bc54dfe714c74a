"""Fading: outgoing weights = initial·(1-r)², incoming ones held still (paper, section 2.3).

Values are set after every optimizer step, so neither momentum nor weight decay can revive them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Fading:
    """Holds and fades cells of named tensors.

    `columns` (dim 1) and `whole` tensors are scaled from their initial values, `rows` (dim 0) are
    held at theirs. `initial` continues an interrupted fading; otherwise it is taken now.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        columns: Mapping[str, Sequence[int]],
        rows: Mapping[str, Sequence[int]],
        whole: Sequence[str],
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        names = dict.fromkeys([*columns, *rows, *whole])
        self._tensors = {name: tensors[name] for name in names}
        self._columns = {name: self._index(name, at) for name, at in columns.items()}
        self._rows = {name: self._index(name, at) for name, at in rows.items()}
        self._whole = tuple(whole)
        given = initial or {}
        self.initial = {
            name: (given[name].to(t.device) if name in given else t.detach().clone())
            for name, t in self._tensors.items()
        }

    def _index(self, name: str, at: Sequence[int]) -> Tensor:
        return torch.tensor(list(at), dtype=torch.int64, device=self._tensors[name].device)

    def hold(self, progress: float) -> None:
        """Set every cell for `progress` r in [0, 1] of the fading; at 1 what fades is exactly 0."""
        gain = (1.0 - min(max(progress, 0.0), 1.0)) ** 2
        with torch.no_grad():
            for name, at in self._rows.items():
                self._tensors[name][at] = self.initial[name][at]
            for name in self._whole:
                self._tensors[name].copy_(self.initial[name] * gain)
            for name, at in self._columns.items():
                self._tensors[name][:, at] = self.initial[name][:, at] * gain
