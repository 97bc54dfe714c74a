"""What every test stands on: one thread, no settings from outside, Ctrl-C, hypothesis profiles."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests import audit

# Two threads add in another order than one and give other last bits. Before any test imports torch.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg", NO_COLOR="1")
for name in ("NHNAS_STORE", "NHNAS_DATA", "FORCE_COLOR"):
    os.environ.pop(name, None)

# What a shell runs with & ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

for name in [name for name in os.environ if name.startswith("GIT_")]:  # e.g. of a hook that runs the tests
    del os.environ[name]

LAWS_FACTOR = 20
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "test")

# The CPU of a shared machine says nothing about a test: no deadline, and slow generation is no error.
settings.register_profile(
    "test", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("laws", settings.get_profile("test"), derandomize=False)
settings.load_profile(PROFILE)


@pytest.fixture(scope="session", autouse=True)
def _nothing_foreign_is_run() -> Iterator[None]:
    """No test led our code to unpickle, evaluate or shell anything."""
    audit.watch()
    yield
    assert [] == audit.offences


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk: only a power cut could tell, and test_files.py checks the calls' order."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under the profile "laws", give every property test more examples and fresh random ones.

    A profile alone would not reach the tests that state their own `max_examples`.
    """
    if PROFILE != "laws":
        return
    functions = {
        getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)
    }
    for test in filter(is_hypothesis_test, functions):
        own = test._hypothesis_internal_use_settings
        test._hypothesis_internal_use_settings = settings(
            own, max_examples=own.max_examples * LAWS_FACTOR, derandomize=False
        )
