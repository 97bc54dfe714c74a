"""Data sets by dotted path: where they may be imported from, and what they must return."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError
from nhnas.trainer.dataset import Dataset
from nhnas.trainer.datasets import load_dataset

MAKE = """
import torch
from nhnas.trainer.datasets import Dataset, Split

def make({arguments}):
    split = Split(torch.full((4, 3), float({value})), torch.arange(4))
    return Dataset({name}, train=split, test=split)
"""


def _source(arguments: str = "", value: str = "1", name: str = "'mine'") -> str:
    return MAKE.format(arguments=arguments, value=value, name=name)


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _load(
    folder: Path, dotted: str = "mydata:make", allow_import: bool = False, root: str | None = None
) -> Dataset:
    return load_dataset(Data(dataset=dotted, root=root), seed=0, folder=folder, allow_import=allow_import)


def _refusal(folder: Path, dotted: str = "mydata:make", allow_import: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        _load(folder, dotted, allow_import)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_module_beside_the_spec_is_imported_and_called(tmp_path: Path) -> None:
    """The function's data set comes back, checked like any other."""
    data = _load(_write(tmp_path, {"mydata.py": _source()}))
    assert ("mine", (3,), 4) == (data.name, data.input_shape, data.outputs)


def test_the_root_is_handed_over_where_it_is_asked_for(tmp_path: Path) -> None:
    """`def make(root)` gets the folder that `data.root` names."""
    _write(tmp_path, {"mydata.py": _source("*, root", name="str(root)")})
    assert str(tmp_path / "sets") == _load(tmp_path, root="sets").name


def test_modules_of_packages_are_found(tmp_path: Path) -> None:
    """Packages with and without `__init__.py`, importing one another, also late."""
    late = "def make():\n    from sets.plain import deep\n    return deep.make()\n"
    _write(tmp_path, {"sets/__init__.py": "", "sets/one.py": late, "sets/plain/deep.py": _source()})
    assert "mine" == _load(tmp_path, "sets.one:make").name
    _write(tmp_path, {"loose/two.py": _source(name="'two'")})
    assert "two" == _load(tmp_path, "loose.two:make").name


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, modules and folder are afterwards as before, and an edited file is read anew."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    _write(tmp_path, {"mydata.py": "import helper\n" + _source(value="helper.V"), "helper.py": "V = 1"})
    path, modules = list(sys.path), set(sys.modules)
    assert 1.0 == _load(tmp_path).train.inputs[0, 0].item()
    assert path == sys.path
    assert not {"mydata", "helper"} & (set(sys.modules) - modules)
    assert ["helper.py", "mydata.py"] == sorted(entry.name for entry in tmp_path.iterdir())
    _write(tmp_path, {"helper.py": "V = 2"})
    assert 2.0 == _load(tmp_path).train.inputs[0, 0].item()


def test_a_function_that_changes_the_folder_moves_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths lead where they did."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    moving = MAKE.replace("    split", "    import os; os.chdir('other')\n    split")
    _write(tmp_path, {"mydata.py": moving.format(arguments="", value="1", name="'mine'")})
    assert "mine" == _load(tmp_path).name
    assert Path.cwd() == tmp_path


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory was removed before, or the function removes it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    removing = MAKE.replace("    split", f"    import os; os.chdir('/'); os.rmdir({str(gone)!r})\n    split")
    _write(
        tmp_path,
        {"mydata.py": _source(), "removing.py": removing.format(arguments="", value="1", name="'gone'")},
    )
    assert "gone" == _load(tmp_path, "removing:make").name
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert "mine" == _load(tmp_path).name


def test_two_specs_may_use_the_same_module_name(tmp_path: Path) -> None:
    """Each gets the module of its own folder, also when the name is taken in this process."""
    for name in ("a", "b"):
        _write(tmp_path / name, {"pytest.py": _source(name=f"'{name}'")})
    assert "a" == _load(tmp_path / "a", "pytest:make").name
    assert "b" == _load(tmp_path / "b", "pytest:make").name
    assert sys.modules["pytest"] is pytest


def test_a_module_from_elsewhere_needs_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module on Python's path, but outside the spec's folder, is imported with `allow_import` alone."""
    monkeypatch.syspath_prepend(str(_write(tmp_path / "lib", {"elsewhere.py": _source()})))
    spec = _write(tmp_path / "spec", {"x": ""})
    message = _refusal(spec, "elsewhere:make")
    assert "elsewhere lies outside the spec's folder" in message
    assert "--allow-import" in message
    assert "elsewhere" not in sys.modules
    assert "mine" == _load(spec, "elsewhere:make", allow_import=True).name
    monkeypatch.delitem(sys.modules, "elsewhere")


def test_a_link_that_leads_out_is_refused_unread(tmp_path: Path) -> None:
    """What lies outside behind a link is not run."""
    _write(tmp_path / "lib", {"mydata.py": "raise SystemExit('run')", "pack/__init__.py": "raise SystemExit"})
    spec = _write(tmp_path / "spec", {"x": "", "inner/__init__.py": ""})
    (spec / "mydata.py").symlink_to(tmp_path / "lib/mydata.py")
    (spec / "inner/pack").symlink_to(tmp_path / "lib/pack", target_is_directory=True)
    assert "mydata lies outside" in _refusal(spec)
    assert "inner.pack lies outside" in _refusal(spec, "inner.pack:make")


def test_an_installed_package_below_the_folder_is_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment inside the spec's folder does not make its packages the user's own."""
    packages = _write(tmp_path / "env/site-packages", {"installed.py": _source()})
    monkeypatch.syspath_prepend(str(packages))
    assert "installed lies outside" in _refusal(tmp_path, "installed:make")


@pytest.mark.parametrize("dotted", ["sys:exit", "os:getcwd", "torch.hub:load"])
def test_what_python_brings_is_outside(dotted: str, tmp_path: Path) -> None:
    """No built-in or installed function is called by a spec."""
    assert "lies outside the spec's folder" in _refusal(tmp_path, dotted)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "mydata has no function make"),
        ("make = 3", "mydata has no function make"),
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def make(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def make(): raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("def make(size): return size", "TypeError: make.* missing 1 required positional argument"),
        ("def make(): return [1]", "returned list; expected nhnas.trainer.datasets.Dataset"),
        (
            "from nhnas.spec.errors import InputError\ndef make(): raise InputError('mine alone')",
            "^mine alone$",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(source: str, expected: str, tmp_path: Path) -> None:
    """A failing import, function or result is told with the data set's name, not with a traceback."""
    _write(tmp_path, {"mydata.py": source})
    with pytest.raises(InputError, match=expected) as caught:
        _load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "mine alone" in expected or "data.dataset: mydata:make" in str(caught.value)


def test_a_missing_module_is_told(tmp_path: Path) -> None:
    """The folder that was looked in is named; with leave the answer is Python's."""
    assert f"mydata is not in the spec's folder {tmp_path}" in _refusal(tmp_path)
    assert "No module named 'mydata'" in _refusal(tmp_path, allow_import=True)


@pytest.mark.parametrize("dotted", [":make", "mydata:", "my-data:make", "a..b:make", "../x:make", "a:b:c"])
def test_what_is_no_dotted_path_is_refused(dotted: str, tmp_path: Path) -> None:
    """Only identifiers make a path: nothing leads out of the folder."""
    assert "expected package.module:function" in _refusal(tmp_path, dotted)
