"""The shape of the project itself: who may import whom, what no source may contain (DESIGN §4)."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKS = ROOT / ".links" / "nhnas"
PACKAGES = ("spec", "compiler", "trainer", "search")
SOURCES = sorted(path for folder in ("cli", *PACKAGES) for path in (ROOT / folder).rglob("*.py"))
TEXT_FOLDERS = ("cli", *PACKAGES, "tests", "examples", "benchmarks", "docs", ".ci")
TEXT_KINDS = {"", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}

MAX_LINES = 320
FORBIDDEN_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
FORBIDDEN_CALLS = {"__import__", "eval", "exec", "os.popen", "os.system", "torch.load", "torch.save"}
FORBIDDEN_SWITCHES = {"allow_pickle", "shell"}
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:home|root|Users|work)/\w")

SPEC = """\
format: 1
name: tiny
input: [2]
net:
  - {name: block, op: dense, width: 2, residual: {hidden: 0}}
  - {name: head, op: dense, width: 2}
data: {dataset: spirals}
"""


def relative(path: Path) -> str:
    """How a message names a file."""
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[Path]:
    """Yield the files of the project that a person wrote."""
    yield from (
        path for path in ROOT.iterdir() if path.suffix in TEXT_KINDS - {""} or path.name == "Makefile"
    )
    for folder in TEXT_FOLDERS:
        yield from (
            path for path in (ROOT / folder).rglob("*") if path.suffix in TEXT_KINDS and path.is_file()
        )


def python(*arguments: str, cwd: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter in `cwd`, with `path` before everything else on its module path."""
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the tree at `root`, as `make lint` does."""
    command = "from importlinter.cli import lint_imports_command as run; run()"
    return python("-c", command, "--no-cache", "--no-logo", cwd=root, path=".links")


def import_graph(root: Path) -> dict[str, list[str]]:
    """Return, for each module of the tree at `root`, the modules of nhnas that it imports, late ones too."""
    command = (
        "import grimp, json; graph = grimp.build_graph('nhnas', cache_dir=None);"
        "print(json.dumps({m: sorted(graph.find_modules_directly_imported_by(m)) for m in graph.modules}))"
    )
    done = python("-c", command, cwd=root, path=".links")
    assert done.returncode == 0, done.stderr
    graph: dict[str, list[str]] = json.loads(done.stdout)
    return graph


def cycle(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the modules of one import cycle, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(graph: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the imports with which a module below the command line reaches for the command line."""

    def below(module: str) -> bool:
        return module.split(".")[1:2] in [[package] for package in PACKAGES]

    return [(a, b) for a, targets in graph.items() for b in targets if below(a) and not below(b)]


def offences(source: str) -> Iterator[str]:
    """Yield what a source contains of pickle, shell and evaluated text, with its line."""
    for node in ast.walk(ast.parse(source)):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [a.name for a in node.names if a.name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
            found = sorted(names & (FORBIDDEN_MODULES | FORBIDDEN_CALLS))
        elif isinstance(node, ast.Call):
            found = [name for name in [ast.unparse(node.func)] if name in FORBIDDEN_CALLS]
            found += [
                f"{keyword.arg}={ast.unparse(keyword.value)}"
                for keyword in node.keywords
                if keyword.arg in FORBIDDEN_SWITCHES and ast.unparse(keyword.value) != "False"
            ]
        for what in found:
            yield f"{node.lineno}: {what}"  # type: ignore[attr-defined]  # all three kinds have a line


def plant(root: Path, files: Mapping[str, str]) -> None:
    """Make a tree at `root` with our folders, our settings and no code but `files`."""
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in ("", *PACKAGES):
        folder = root / ".links" / "nhnas" / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    for name, text in files.items():
        (root / ".links" / "nhnas" / name).write_text(text)


def test_every_file_of_the_command_line_has_its_link() -> None:
    """The installed package is exactly the files of cli/, through links that say where they lead."""
    files = {path.name for path in (ROOT / "cli").iterdir() if path.suffix == ".py"}
    files |= {"py.typed", "templates"}
    expected = {name: f"../../cli/{name}" for name in files} | {name: f"../../{name}" for name in PACKAGES}
    actual = {path.name: os.readlink(path) for path in LINKS.iterdir() if path.is_symlink()}
    stale = [f"rm .links/nhnas/{name}" for name in sorted(actual.keys() - expected.keys())]
    wrong = sorted(name for name in expected if expected[name] != actual.get(name))
    missing = [f"ln -sfn {expected[name]} .links/nhnas/{name}" for name in wrong]
    assert expected == actual, "fix with: " + " && ".join(stale + missing)


def test_the_layers_are_kept() -> None:
    """import-linter finds every contract kept in the real tree."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_empty_tree_keeps_the_layers(tmp_path: Path) -> None:
    """The planted tree itself is no violation, so what the next test finds was planted."""
    plant(tmp_path, {})
    done = lint_imports(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "files",
    [
        {"search/grow.py": "import torch"},
        {"spec/model.py": "from torch import nn"},
        {"search/grow.py": "import nhnas.compiler.build", "compiler/build.py": "import torch"},
        {"search/grow.py": "import nhnas.trainer"},
        {"trainer/loop.py": "from nhnas import search"},
        {"compiler/build.py": "from nhnas.trainer import loop", "trainer/loop.py": ""},
        {"spec/model.py": "def late():\n    import nhnas.compiler\n"},
    ],
    ids=lambda files: "+".join(files),
)
def test_a_broken_layer_is_caught(files: dict[str, str], tmp_path: Path) -> None:
    """An import against the direction, or of torch where no tensor belongs, breaks a contract."""
    plant(tmp_path, files)
    done = lint_imports(tmp_path)
    assert (1, True) == (done.returncode, "BROKEN" in done.stdout), done.stdout


def test_nothing_imports_in_a_circle_or_the_command_line() -> None:
    """The modules can be put in an order, and those below the command line do not know it."""
    graph = import_graph(ROOT)
    assert {"nhnas", "nhnas.spec.model", "nhnas.search", "nhnas.trainer", "nhnas.compiler"} <= set(graph)
    assert [] == cycle(graph)
    assert [] == upward(graph)


def test_a_circle_and_an_import_of_the_command_line_are_caught(tmp_path: Path) -> None:
    """The two checks above see late imports and imports from a package."""
    plant(
        tmp_path,
        {
            "main.py": "from nhnas.spec import model",
            "spec/model.py": "from nhnas.spec.edits import apply",
            "spec/edits.py": "def apply():\n    import nhnas.spec.model\n    import nhnas.main\n",
        },
    )
    graph = import_graph(tmp_path)
    assert {"nhnas.spec.model", "nhnas.spec.edits"} <= set(cycle(graph))
    assert [("nhnas.spec.edits", "nhnas.main")] == upward(graph)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["check", "spec.yaml"],
        ["show", "spec.yaml"],
        ["diff", "spec.yaml", "spec.yaml"],
        ["render", "spec.yaml", "-o", "-", "--format", "svg"],
        ["log", "spec.yaml"],
        ["schema"],
        ["git", "--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_reading_commands_leave_torch_alone(arguments: list[str], tmp_path: Path) -> None:
    """Commands that read a spec work without the second that importing torch costs."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = python("-X", "importtime", "-m", "nhnas", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert set() == {name for name in imported if name.partition(".")[0] in {"torch", "torchvision"}}


def test_files_stay_short() -> None:
    """No source file has more than 320 lines: one idea a file."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {} == {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_no_source_unpickles_or_evaluates() -> None:
    """No source reads pickles, evaluates text or starts a shell: a file from elsewhere cannot run code."""
    found = [f"{relative(path)}:{what}" for path in SOURCES for what in offences(path.read_text())]
    assert [] == found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from pickle import loads",
        "from torch import load",
        "torch.load('x')",
        "torch.save({}, 'x')",
        "eval('1')",
        "exec('1')",
        "os.system('ls')",
        "from os import system",
        "subprocess.run('ls', shell=True)",
        "numpy.load('x', allow_pickle=flag)",
        "def late():\n    import pickle",
    ],
)
def test_what_unpickles_or_evaluates_is_caught(source: str) -> None:
    """The check above sees each of these."""
    assert len(list(offences(source))) == 1


def test_innocent_sources_are_not_caught() -> None:
    """`model.eval()` and an explicit `shell=False` are no offence."""
    assert [] == list(offences("model.eval()\nsubprocess.run(['ls'], shell=False)\nimport torch"))


def test_no_file_names_a_place_on_one_machine() -> None:
    """What is committed works in any folder: no file holds an absolute path of somebody's machine."""
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert [] == found


def test_a_place_on_one_machine_is_caught() -> None:
    """Absolute paths are found; addresses and relative paths that look alike are not."""
    assert MACHINE_PATH.search("open('" + "/".join(("", "home", "me", "data")) + "')")
    assert not MACHINE_PATH.search("see https://example.org/home/page and data/root/train")
