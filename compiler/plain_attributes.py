"""Attributes of modules that are no parameters, buffers or modules."""

from __future__ import annotations

from torch import nn


def set_plain(module: nn.Module, **values: object) -> None:
    """Set attributes without `Module.__setattr__`, which looks four times whether a value is something else.

    At 3 µs each that is a third of the time that a network of 200 nodes takes to build.
    """
    vars(module).update(values)
