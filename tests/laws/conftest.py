"""Prints which share of a law's cases covered which form; a law that misses one fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.laws import case
from tests.laws.case import FORMS, KINDS, LEAST_SHARE, Shares

TABLE: dict[str, Shares] = {}


@pytest.fixture(autouse=True)
def _covered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Count the cases of one law; where it recorded any, each form must be in a tenth of them."""
    case.SHARES = Shares()
    yield
    if case.SHARES.cases:
        TABLE[request.node.name] = case.SHARES
        shares = {form: case.SHARES.share(form) for form in case.SHARES.required}
        missing = {form: share for form, share in shares.items() if share < LEAST_SHARE}
        assert {} == missing, f"of {case.SHARES.cases} cases too few cover {missing}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shares in percent: of all cases, and the smallest that any law had."""
    total = sum((shares for shares in TABLE.values()), Shares())
    if not total.cases:
        return
    terminalreporter.section("forms covered by the laws")
    for name, shares in TABLE.items():
        terminalreporter.line(f"{name}: {shares.cases} cases, {shares.distinct} different")
    for title, names in (("architectures and lists", FORMS), ("kinds of edits", KINDS)):
        terminalreporter.line(f"{title}, percent of all cases (least of any law):")
        for form in names:
            least = min(shares.share(form) for shares in TABLE.values())
            terminalreporter.line(f"  {form:20} {100 * total.share(form):5.1f} ({100 * least:.1f})")
