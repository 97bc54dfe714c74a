"""Data sets of the user's own: `package.module:function`, imported from the spec's folder.

The function is `def make(root: Path) -> Dataset` or `def make() -> Dataset`, where `root` is the folder
that `data.root`, `$NHNAS_DATA` or the default names, and `Dataset` comes from `nhnas.trainer.datasets`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from nhnas.spec.errors import InputError, NhnasError
from nhnas.trainer.dataset import Dataset


def dataset_from_factory(dotted: str, *, root: Path, folder: Path, allow_import: bool = False) -> Dataset:
    """Import the module of `dotted`, call its function and return the data set.

    The module must lie in `folder`, the spec's, unless `allow_import`. While it is imported and called,
    the folder is first on `sys.path`; afterwards what came from it is forgotten again, so that two specs
    may each have a `mydata.py`. Raises InputError for all that can go wrong.
    """
    module_name, function_name = _parse(dotted)
    home = folder.resolve()
    with _first_on_path(home, module_name.partition(".")[0]), _blaming(f"data.dataset: {dotted}"):
        module = _import(module_name, home, allow_import)
        function = getattr(module, function_name, None)
        if not callable(function):
            raise InputError(f"data.dataset: {dotted}: {module_name} has no function {function_name}")
        made = function(root=root) if _accepts_root(function) else function()
    if not isinstance(made, Dataset):
        raise InputError(
            f"data.dataset: {dotted}: returned {type(made).__name__}; expected nhnas.trainer.datasets.Dataset"
        )
    return made


def _parse(dotted: str) -> tuple[str, str]:
    module, _, function = dotted.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise InputError(f"data.dataset: {dotted}: expected package.module:function")
    return module, function


@contextmanager
def _blaming(place: str) -> Iterator[None]:
    """Turn whatever the user's code raises, or an exit, into one line of InputError."""
    try:
        yield
    except NhnasError:
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: {type(error).__name__}: {reason} (--debug shows where)") from error


@contextmanager
def _first_on_path(home: Path, top: str) -> Iterator[None]:
    """Python looks in `home` first and writes no bytecode there; afterwards all is as it was.

    Modules that other folders lent the name `top` are put aside and come back.
    """
    own = PathFinder.find_spec(top, [str(home)])
    is_shadowed = own is not None and own.has_location
    aside = [name for name in sys.modules if is_shadowed and name.partition(".")[0] == top]
    hidden = {name: sys.modules.pop(name) for name in aside}
    before, wrote_bytecode = set(sys.modules), sys.dont_write_bytecode
    folder = _current_folder()
    sys.path.insert(0, str(home))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if folder is not None and folder != _current_folder():  # relative paths of this command start there
            with suppress(OSError):  # unless it is gone: then they lead nowhere, wherever this is
                os.chdir(folder)
        sys.dont_write_bytecode = wrote_bytecode
        sys.path.remove(str(home))
        new = {name: getattr(sys.modules[name], "__spec__", None) for name in set(sys.modules) - before}
        for name in [name for name, found in new.items() if _lies_in(found, home)]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _current_folder() -> str | None:
    """The working directory; None where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _import(name: str, home: Path, allow_import: bool) -> ModuleType:
    """Import package after package; where each one lies is looked at before any of its code runs."""
    parts = name.split(".")
    for step in (".".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
        found = find_spec(step)
        if not allow_import and not _lies_in(found, home):
            where = f"{step} is not in" if found is None else f"{step} lies outside"
            raise InputError(
                f"data.dataset: {name}: {where} the spec's folder {home}; put it there, or use --allow-import"
            )
        importlib.import_module(step)
    return sys.modules[name]


def _lies_in(found: ModuleSpec | None, home: Path) -> bool:
    """Whether a module is a file or package of `home` itself: not of a virtual environment further down,
    and not behind a link that leads out."""
    if found is None:
        return False
    places = [found.origin] if found.has_location else list(found.submodule_search_locations or ())
    top = home / found.name.partition(".")[0]
    return bool(places) and all(
        place is not None
        and (Path(place).parent == home or Path(place).is_relative_to(top))
        and Path(place).resolve().is_relative_to(home)
        for place in places
    )


def _accepts_root(function: Callable[..., object]) -> bool:
    try:
        return "root" in inspect.signature(function).parameters
    except ValueError:  # some built-in functions have no signature to look at
        return False
