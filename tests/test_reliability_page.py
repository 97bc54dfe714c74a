"""docs/reliability.md names the tests that hold its promises; each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"`(test_\w+)`")


def test_every_test_on_the_page_exists() -> None:
    """A promise whose test was renamed or removed is no longer held by anything."""
    named = NAME.findall((ROOT / "docs" / "reliability.md").read_text())
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    there = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert len(named) > 50
    assert [] == [name for name in named if name not in there]
