"""The counts of a campaign, printed at the end of the run (tests/crash/conftest.py)."""

from __future__ import annotations

import pytest

COUNTS: dict[str, str] = {}
"""What was done, and how often it ended as it must."""


def often(name: str, long: int, short: int) -> pytest.MarkDecorator:
    """The argument `name`: `short` times in every run of the tests, `long` times in the campaign."""
    return pytest.mark.parametrize(name, [short, pytest.param(long, marks=pytest.mark.crash)])


def counted(what: str, good: int, tried: int, must: str) -> None:
    """Note `what: good of tried must`; AssertionError unless all are good."""
    COUNTS[what] = f"{good} of {tried} {must}"
    assert tried > 0
    assert good == tried, f"{what}: {good} of {tried} {must}"
