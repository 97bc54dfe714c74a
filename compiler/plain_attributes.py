"""Attributes of modules, set without asking what they are."""

from __future__ import annotations

from torch import nn


def set_plain(module: nn.Module, **values: object) -> None:
    """Set attributes without `Module.__setattr__`, which looks four times whether a value is something else.

    At 3 µs each that is a third of the time that a network of 200 nodes takes to build.
    """
    vars(module).update(values)


def set_children(module: nn.Module, **children: nn.Module | None) -> None:
    """Set submodules likewise, in this order; None is a plain attribute."""
    for name, child in children.items():
        if child is None:
            vars(module)[name] = None
        else:
            module._modules[name] = child


def set_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    """Set a parameter likewise; None is a plain attribute."""
    if parameter is None:
        vars(module)[name] = None
    else:
        module._parameters[name] = parameter
