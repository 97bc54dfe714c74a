"""One server of commands for the whole campaign, and its table of counts."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.crash.commands import Server
from tests.crash.table import COUNTS


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Forks commands. A shell's job in the background ignores Ctrl-C, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    server = Server(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()
    signal.signal(signal.SIGINT, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done, and how often it ended as it must."""
    if not COUNTS:
        return
    terminalreporter.section("killed, stopped, out of space")
    for what, count in COUNTS.items():
        terminalreporter.line(f"{what}: {count}")
