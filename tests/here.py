"""The command line in this process."""

from __future__ import annotations

import pytest

from nhnas.main import main


class Here:
    """Runs a command as `nhnas` does, and tells exit code, stdout and stderr."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        assert isinstance(caught.value.code, int)
        return (caught.value.code, *self._capfd.readouterr())
