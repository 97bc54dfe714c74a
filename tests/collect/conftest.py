"""A store of five versions for every test of `nhnas gc`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nhnas.log import history
from tests.collect.collected import five_versions
from tests.here import Here


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capfd)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec and five versions, the file at the last one."""
    return five_versions(tmp_path_factory.mktemp("five") / "work")


@pytest.fixture
def spec(template: Path, tmp_path: Path) -> Path:
    """A copy of the template, without a repository."""
    shutil.copytree(template, tmp_path / "work")
    return tmp_path / "work" / "spec.yaml"


@pytest.fixture
def states(spec: Path) -> list[str]:
    """The ids of versions 1 to 5."""
    return [record["state"] for record in history(spec)]
