"""Programs from npm for the tests that need node."""

from __future__ import annotations

import subprocess
from pathlib import Path


def npm_install(folder: Path, *packages: str) -> None:
    """Install packages (name@version) below a folder, and nowhere else; their own scripts do not run."""
    options = ("--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error")
    command = ["npm", "install", "--prefix", str(folder), *options, *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[-2000:]
