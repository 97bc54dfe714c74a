"""Evaluation leaves no mark on the network."""

from __future__ import annotations

import contextlib

import pytest
from torch import nn

from nhnas.trainer.evaluate import evaluation_mode


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_afterwards_as_before(training: bool) -> None:
    """A network is evaluated in evaluation mode and left in the mode it was in, also by an error."""
    network = nn.Sequential(nn.BatchNorm1d(2)).train(training)
    with contextlib.suppress(ValueError), evaluation_mode(network):
        assert not network[0].training
        raise ValueError
    assert (training, training) == (network.training, network[0].training)
