"""`nhnas git install|uninstall|status`: what is written where, and that it comes away again to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from nhnas.git_attributes import patterns_in, with_block, without_block
from nhnas.spec.errors import InputError
from tests.here import Here
from tests.repository import QUIET, commit, git, start

SPEC = """\
format: 1
name: small
input: [3, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
"""
BLOCK = """\
# nhnas git install: begin{note}
spec.yaml diff=nhnas merge=nhnas
*.nhnas.yaml diff=nhnas merge=nhnas
# nhnas git install: end
"""


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capfd)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a spec, where we are."""
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "it's ü"
    folder.mkdir()
    (folder / "spec.yaml").write_text(SPEC)
    start(folder)
    monkeypatch.chdir(folder)
    return folder


def ours(folder: Path) -> str:
    """What is about nhnas in the configuration."""
    return "\n".join(x for x in git(folder, "config", "--local", "--list").splitlines() if "nhnas" in x)


def test_attributes_are_shared_and_the_program_stays_in_this_clone(here: Here, work: Path) -> None:
    """Only patterns are to be committed; the path of the interpreter is in `.git/config` alone."""
    code, out, err = here("git", "install")
    assert (0, "") == (code, err)
    assert "tracked       1 file\n  spec.yaml\n" in out
    assert BLOCK.format(note=" (new file)") == (work / ".gitattributes").read_text()
    assert sys.executable == git(work, "config", "--local", "nhnas.python")
    assert sys.executable not in (work / ".gitattributes").read_text()
    told = git(work, "check-attr", "diff", "merge", "--", "a/b/spec.yaml", "x.nhnas.yaml", "spec.yml")
    assert ["nhnas"] * 4 + ["unspecified"] * 2 == [line.rpartition(" ")[2] for line in told.splitlines()]


def test_again_makes_no_difference_and_new_patterns_replace_the_old_ones(here: Here, work: Path) -> None:
    """Without patterns those that are there stay."""
    here("git", "install", "nets/*.yaml", "spec.yaml")
    first = (work / ".gitattributes").read_bytes(), (work / ".git" / "config").read_bytes()
    here("git", "install")
    assert first == ((work / ".gitattributes").read_bytes(), (work / ".git" / "config").read_bytes())
    here("git", "install", "other.yaml")
    assert ("other.yaml",) == patterns_in((work / ".gitattributes").read_bytes())


def test_patterns_that_no_file_goes_by_are_told(here: Here, work: Path) -> None:
    """A file that is not in git yet is one that does."""
    hint = "no file here goes by these patterns: `nhnas git install 'PATTERN'` names yours\n"
    assert here("git", "install", "nets/*.yml")[1].endswith(f"tracked       0 files\n{hint}")
    (work / "nets").mkdir()
    (work / "nets" / "a.yml").write_text(SPEC)
    assert here("git", "status")[1].endswith("tracked       0 files\n")
    assert ["nets/a.yml"] == json.loads(here("git", "status", "--json")[1])["untracked"]


OLD_FILES = [None, b"", b"*.png binary\n", b"*.png binary", b"a text\r\nb text\r\n", b"a text\r\nb text"]
OLD_FILES += [b"\n\n", b"a\rb", b"# nhnas is nice\n*.c diff=cpp\n", "ü text\n".encode(), b"\xff text\n"]


@pytest.mark.parametrize("old", OLD_FILES)
def test_uninstall_gives_the_old_bytes_back(here: Here, work: Path, old: bytes | None) -> None:
    """Whatever the file ends with, and where there was none; the configuration is as before as well."""
    path = work / ".gitattributes"
    if old is not None:
        path.write_bytes(old)
    config = git(work, "config", "--local", "--list")
    here("git", "install")
    assert path.read_bytes().startswith(old or b"")
    assert (0, "uninstalled\n", "") == here("git", "uninstall")
    assert (old, config) == (
        path.read_bytes() if path.exists() else None,
        git(work, "config", "-l", "--local"),
    )
    assert (0, "nothing is installed\n", "") == here("git", "uninstall")


@pytest.mark.parametrize("old", [b"a\n", b"a", b"a\r\nb", None])
def test_lines_that_others_add_later_stay(here: Here, work: Path, old: bytes | None) -> None:
    """Before ours and behind them; ours alone are taken out, and no line is glued to another."""
    path = work / ".gitattributes"
    if old is not None:
        path.write_bytes(old)
    here("git", "install")
    path.write_bytes(b"first\n" + path.read_bytes() + b"last\n")
    here("git", "install", "x.yaml")
    here("git", "uninstall")
    lines = path.read_bytes().splitlines()
    assert [b"first", *(old or b"").splitlines(), b"last"] == lines


def test_random_files_come_back_to_the_byte() -> None:
    """Any bytes at all, and any patterns that git takes."""
    rng = Random(1)
    for _ in range(2000):
        old = bytes(rng.choice(b"a #*\n\r \xff") for _ in range(rng.randint(0, 12)))
        names = tuple(
            "".join(rng.choices('a*? "\\#[]ü=,', k=rng.randint(1, 6))) for _ in range(rng.randint(1, 3))
        )
        new = with_block(old, names)
        assert names == patterns_in(new)
        assert old == without_block(new)
        assert new == with_block(new, names)


@pytest.mark.parametrize(
    "name", ["a b.yaml", '"q".yaml', "it's.yaml", "猫.yaml", "#x.yaml", "a\\b.yaml", "=.yaml"]
)
def test_patterns_with_odd_characters_match(here: Here, work: Path, name: str) -> None:
    """Each is quoted so that git reads what was meant; a backslash is git's own sign and is doubled."""
    (work / name).write_text(SPEC)
    git(work, "add", "--all")
    assert 0 == here("git", "install", "./"[2:] + name.replace("\\", "\\\\"))[0]
    found = json.loads(here("git", "status", "--json")[1])
    assert [name] == found["files"]


@pytest.mark.parametrize("pattern", ["", "a\nb", "!a.yaml", "folder/", "a\x7f"])
def test_patterns_that_git_does_not_take_are_refused(here: Here, work: Path, pattern: str) -> None:
    """One line that says what to write instead; nothing is written."""
    code, out, err = here("git", "install", pattern)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith("pattern '")
    assert ("", False) == (ours(work), (work / ".gitattributes").exists())


def test_from_a_folder_below_it_is_the_same_repository(
    here: Here, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attributes are in the root, whoever stands where."""
    (work / "below").mkdir()
    monkeypatch.chdir(work / "below")
    assert 0 == here("git", "install")[0]
    assert (work / ".gitattributes").exists()
    assert "diff driver   installed" in here("git", "status")[1]


def test_worktrees_share_the_configuration(here: Here, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed once, it works in all worktrees whose commit has the attributes."""
    here("git", "install")
    commit(work, "attributes")
    git(work, "worktree", "add", "--quiet", "-b", "side", str(work.parent / "side"))
    monkeypatch.chdir(work.parent / "side")
    found = json.loads(here("git", "status", "--json")[1])
    assert ("installed", "installed", ["spec.yaml"]) == (found["diff"], found["merge"], found["files"])
    assert str(work.parent / "side") == found["repository"]
    assert (work.parent / "side" / ".gitattributes").read_bytes() == (work / ".gitattributes").read_bytes()


@pytest.mark.parametrize("verb", ["install", "uninstall", "status"])
def test_outside_a_repository_one_line_says_so(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Exit code 2, nothing written."""
    (tmp_path / "no").mkdir()
    monkeypatch.chdir(tmp_path / "no")
    code, out, err = here("git", verb)
    assert (2, "") == (code, out)
    assert err.endswith("/no: is not in the working tree of a git repository; `git init` makes one\n")
    assert [] == list(Path().iterdir())


@pytest.mark.parametrize("verb", ["install", "status"])
def test_a_bare_repository_has_no_files_to_set_up(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """One line that says so."""
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    monkeypatch.chdir(tmp_path / "bare")
    code, out, err = here("git", verb)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert "is not in the working tree of a git repository" in err


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_configuration_that_cannot_be_written_is_exit_code_5(here: Here, work: Path, verb: str) -> None:
    """One line, and the attributes stay as they are."""
    if verb == "uninstall":
        here("git", "install")
    before = sorted(work.iterdir())
    (work / ".git" / "config.lock").touch()  # what a read-only folder does, also for root
    code, out, err = here("git", verb)
    assert (5, "", 1) == (code, out, err.count("\n"))
    assert "the configuration cannot be written" in err
    assert before == sorted(work.iterdir())


def test_attributes_that_are_a_link_or_damaged_are_left_alone(here: Here, work: Path) -> None:
    """git follows no link there; of two marks one is missing after a careless edit."""
    path = work / ".gitattributes"
    (work / "elsewhere").write_text("a text\n")
    path.symlink_to("elsewhere")
    code, _, err = here("git", "install")
    assert 2 == code
    assert ".gitattributes: is a link" in err
    path.unlink()
    path.write_text("# nhnas git install: begin\nspec.yaml diff=nhnas merge=nhnas\n")
    assert 2 == here("git", "install")[0]
    assert 2 == here("git", "uninstall")[0]
    with pytest.raises(InputError, match="is missing"):
        without_block(path.read_bytes())


def test_status_tells_what_is_there(here: Here, work: Path) -> None:
    """Before, afterwards, and when the interpreter or nhnas in it is gone; nothing is written."""
    assert "diff driver   absent\nmerge driver  absent\nprogram       none\n" in here("git", "status")[1]
    here("git", "install")
    (work / "b.nhnas.yaml").write_text(SPEC)
    git(work, "add", "b.nhnas.yaml")
    found = json.loads(here("git", "status", "--json")[1])
    assert ["b.nhnas.yaml", "spec.yaml"] == found["files"]
    assert (True, sys.executable, ["spec.yaml", "*.nhnas.yaml"]) == (
        found["works"],
        found["python"],
        found["patterns"],
    )
    for gone in ("/no/python", "/bin/false"):
        git(work, "config", "nhnas.python", gone)
        assert f"program       {gone} is gone or has no nhnas; " in here("git", "status")[1]
    git(work, "config", "merge.nhnas.driver", "true")
    assert "merge driver  other\n" in here("git", "status")[1]
    here("git", "install")
    assert "merge driver  installed\n" in here("git", "status")[1]


def test_none_of_it_needs_torch(work: Path) -> None:
    """Both drivers and the verbs start as fast as `nhnas --help`."""
    words = [str(work / "spec.yaml")] * 3 + ["7", "spec.yaml"]
    for command in (["git", "install"], ["git", "status"], ["git", "merge-driver", "--", *words]):
        code = f"import sys; from nhnas.main import main\ntry: main({command!r})\nexcept SystemExit as e: "
        code += "print(e.code, 'torch' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=work
        )
        assert "0 False" == done.stdout.splitlines()[-1], done.stderr + os.linesep + done.stdout
