"""Watches the whole test run through Python's audit events: our code unpickles, evaluates and shells nothing.

An audit hook sees what a search of the sources cannot: what libraries do on our behalf. Events count where
one of our files is among the callers; those that every import causes, where our file is the caller itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("spec", "compiler", "trainer", "search", "cli"))

BEHIND_US = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "ctypes.dlopen")
"""Never on our behalf."""
BY_US = ("exec", "compile", "marshal.loads", "code.__new__")
"""Importing a module causes these; our own code must not."""

Offence = tuple[str, str]
"""Event, and the line of ours that stands behind it."""
offences: list[Offence] = []


def watch() -> None:
    """Begin; a hook cannot be taken away again."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in BY_US:
        frame = sys._getframe(1)
        if _is_ours(frame):
            offences.append((event, _place(frame)))
    elif event in BEHIND_US or (event == "subprocess.Popen" and _is_shell(arguments)):
        ours = _nearest(sys._getframe(1))
        if ours is not None and not _is_allowed(event, ours):
            offences.append((event, _place(ours)))


def _is_shell(arguments: tuple[object, ...]) -> bool:
    """Whether a process runs a shell: `shell=True` gives it as the first word of the command."""
    command = arguments[1] if len(arguments) > 1 else None
    first = command[0] if isinstance(command, list | tuple) and command else command
    return str(first).rpartition("/")[2] in ("sh", "bash", "dash")


def _is_allowed(event: str, frame: FrameType) -> bool:
    """CIFAR's own files are pickles, which torchvision reads after it has checked their published MD5 sums.

    Importing a library loads its shared objects; `train.compile` is torch's compiler, which loads its work.
    """
    if event == "pickle.find_class":
        return Path(frame.f_code.co_filename).name == "image_data.py"
    is_compiler = Path(frame.f_code.co_filename).name == "compiled.py"
    return event == "ctypes.dlopen" and (is_compiler or _imports(sys._getframe(2)))


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _nearest(frame: FrameType | None) -> FrameType | None:
    """The nearest caller that is one of our files."""
    while frame is not None and not _is_ours(frame):
        frame = frame.f_back
    return frame


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)


def _place(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}"
