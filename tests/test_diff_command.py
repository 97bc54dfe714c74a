"""`nhnas diff`: what differs between two specs, from files, git revisions and snapshots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nhnas.comparison import compare
from nhnas.comparison_text import as_text, ranges
from nhnas.compiler.history import load_info
from nhnas.spec.canonical import bare
from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.edits import edit_from_dict
from nhnas.spec.moves import origins
from tests import tiny
from tests.here import Here
from tests.repository import git

pytestmark = pytest.mark.usefixtures("no_fsync")

OLD = """\
format: 1
name: digits
input: [1, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - {name: pool, op: max_pool}
  - {name: flat, op: flatten}
  - {name: body, op: dense, width: 8, residual: {hidden: 6, first: {residual: {hidden: 0}}}}
  - {name: old, op: dense, width: 3, shortcut: {norm: batch}, residual: {hidden: 1}}
  - {name: head, op: dense, width: 2}
data: {dataset: "mydata:points"}
train: {lr: 0.01}
"""
NEW = """\
format: 1
name: digits
input: [1, 8, 8]
net:
  - {name: stem, op: conv, width: 6, kernel: 5, note: wide}
  - {name: average, op: avg_pool}
  - {name: flat, op: flatten}
  - name: trunk
    renamed_from: body
    op: dense
    width: 8
    residual: {hidden: 4, second: {residual: {hidden: 2}}}
  - {name: more, op: dense, width: 5, act: relu}
  - {name: head, op: dense, width: 2}
data: {dataset: "mydata:points"}   # a comment
train: {lr: 0.02, batch: 64}
"""
EXPECTED = """\
digits: untrained
old
  - layer (dense, width 3, 1 hidden)
stem
  + width 4 → 6 (+2)
  ~ kernel none → 5
average
  ~ layer {name: pool, op: max_pool} → {name: average, op: avg_pool}
trunk
  - hidden 6 → 4 (−2)
  + second.hidden 0 → 2 (+2)
  ~ renamed from body
  - first: residual, linear again
  + second: residual, open to neurons
more
  + layer (dense, width 5)
notes
  ~ stem.note none → wide
train
  ~ lr 0.01 → 0.02
  ~ batch 128 → 64
total: 22 → 25 neurons, 1,055 → 1,441 parameters, 3,289 → 10,858 MACs, depth 6
"""


@pytest.fixture
def here(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands in a folder with the two files."""
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    monkeypatch.chdir(tmp_path)
    return Here(capfd)


def text_of(old: str, new: str, **options: Any) -> str:
    """What `nhnas diff` prints for two texts."""
    return as_text(compare(parse_document(old.encode()), parse_document(new.encode())), **options)


def test_one_line_an_edit_grouped_by_layer_with_totals(here: Here) -> None:
    """Layers in the new file's order, those that went first; settings and notes below."""
    assert (0, EXPECTED, "") == here("diff", "old.yaml", "new.yaml")


def test_full_tells_positions_and_whole_layers() -> None:
    """Which neurons, as ranges, and the layers as the file writes them."""
    lines = text_of(OLD, NEW, full=True).splitlines()
    assert "  - hidden 6 → 4 (−2) at −4-5" in lines
    assert "  + layer {name: more, op: dense, width: 5, act: relu}" in lines
    assert "0-2, 5, 7-8" == ranges((0, 1, 2, 5, 7, 8))


def test_what_differs_in_comments_alone_is_no_difference(here: Here) -> None:
    """Also a default that is written down; the exit code is 0, and 6 where something differs."""
    (here_text := Path("same.yaml")).write_text(OLD.replace("width: 4", "width: 4, kernel: 3 # x\n   "))
    here_text.write_text("# new\n" + OLD.replace("lr: 0.01", "batch: 128, lr: 0.01"))
    code, out, err = here("diff", "old.yaml", "same.yaml", "--exit-code")
    assert (0, "digits: untrained\n  no difference", "") == (code, out.rpartition("\ntotal")[0], err)
    assert 6 == here("diff", "old.yaml", "new.yaml", "--exit-code")[0]
    assert 0 == here("diff", "old.yaml", "new.yaml")[0]


def test_json_has_edits_and_totals(here: Here) -> None:
    """The documented keys; the edits lead from the old net to the new one."""
    found = json.loads(here("diff", "old.yaml", "new.yaml", "--json")[1])
    assert ["edits", "settings", "guessed", "before", "after"] == list(found)
    edits = [edit_from_dict(edit) for edit in found["edits"]]
    old, new = (bare(parse_document(text.encode()).architecture) for text in (OLD, NEW))
    assert new == origins(old, edits)[0]
    assert {"path": "train.lr", "old": 0.01, "new": 0.02} in found["settings"]
    assert [] == found["guessed"]
    assert (22, 25) == (found["before"]["neurons"], found["after"]["neurons"])


def test_hostile_text_stays_on_its_line() -> None:
    """Control characters and long texts of a file cannot imitate other lines."""
    evil = OLD.replace("name: old", 'name: "a\\u2028b\\u202e"').replace("lr: 0.01", "lr: 0.01, seed: 3")
    long = NEW.replace("note: wide", f"note: {'x' * 5000}")
    lines = text_of(evil, long).splitlines()
    assert "a\\u2028b\\u202e" in lines
    assert max(map(len, lines)) < 200


def versions(spec: Path, to: int) -> list[Document]:
    """The file after each of so many steps, from the untrained one on."""
    found = [read_document(spec)]
    for _ in range(to):
        tiny.step(spec)
        found.append(read_document(spec))
    return found


def recorded(spec: Path, states: list[str | None]) -> list[Any]:
    """All edits on record of these versions."""
    store = spec.parent / ".nhnas"
    infos = [load_info(store, state or "") for state in states]
    return [
        edit_from_dict({k: v for k, v in edit.items() if k != "stage"})
        for info in infos
        for edit in info.edits
    ]


def test_the_snapshots_record_says_which_neurons_came_and_went(tmp_path: Path) -> None:
    """From any version to any later one, each neuron goes where the steps between carried it."""
    spec = tiny.make(tmp_path / "work")
    documents = versions(spec, 3)
    store = spec.parent / ".nhnas"
    moved = 0
    for first in range(4):
        for last in range(first + 1, 4):
            found = compare(documents[first], documents[last], store)
            start = bare(documents[first].architecture)
            done = recorded(spec, [document.state for document in documents[first + 1 : last + 1]])
            expected, actual = origins(start, done), origins(start, found.edits)
            assert expected == actual
            assert () == found.guessed
            moved += sum(edit.kind == "remove_neurons" for edit in found.edits)
    assert moved > 3


def test_back_in_time_and_across_branches_there_is_a_record_too(tmp_path: Path) -> None:
    """Two branches from one version: neurons that both still have are the same ones."""
    spec = tiny.make(tmp_path / "work")
    base, ours = versions(spec, 2)[1:]
    spec.write_bytes(base.text)
    tiny.edit(spec, "seed: 0" if "seed: 0" in spec.read_text() else "batch: 8", "seed: 7, batch: 8")
    tiny.step(spec)
    theirs = read_document(spec)
    store = spec.parent / ".nhnas"
    assert ours.state != theirs.state
    start, kept = bare(ours.architecture), 0
    back = origins(start, compare(ours, base, store).edits)[1]
    across = compare(ours, theirs, store)
    assert () == across.guessed
    for site, origin in origins(start, across.edits)[1].items():
        kept += sum(o >= 0 for o in origin)
        assert {o for o in origin if o >= 0} <= {o for o in back.get(site, ()) if o >= 0}, site
    assert kept > 3


def test_without_a_store_the_diff_says_that_it_guesses(tmp_path: Path) -> None:
    """A clone has no snapshots: the sites that changed are named, all of them guesses."""
    spec = tiny.make(tmp_path / "work")
    untrained, trained = versions(spec, 1)
    clone = compare(untrained, trained, tmp_path / "nowhere")
    changed = {edit.site for edit in clone.edits if edit.kind in ("add_neurons", "remove_neurons")}
    assert changed == set(clone.guessed)
    text = as_text(clone)
    assert "no record says which neurons of block.hidden, block.width came and went" in text
    assert len(changed) == text.count(", guessed)")


def test_a_hand_edit_is_no_guess(tmp_path: Path) -> None:
    """Which neurons the next command will take is known: the least important ones."""
    spec = tiny.make(tmp_path / "work")
    saved = versions(spec, 1)[1]
    tiny.edit(spec, f"width: {saved.architecture.net[0].width}", "width: 3")  # type: ignore[union-attr]
    found = compare(saved, read_document(spec), spec.parent / ".nhnas")
    values = load_info(spec.parent / ".nhnas", saved.state or "").state["exact"]["importance"]["block.width"]
    least = sorted(sorted(range(len(values)), key=values.__getitem__)[: len(values) - 3])
    assert [least] == [list(edit.at) for edit in found.edits if edit.kind == "remove_neurons"]
    assert () == found.guessed


def test_git_revisions(here: Here, tmp_path: Path) -> None:
    """`REV FILE`, `REV:path` from the root or from here, and a file alone against HEAD."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "sub").mkdir()
    spec = tmp_path / "sub" / "spec.yaml"
    spec.write_text(OLD)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    spec.write_text(NEW)
    for words in (
        ("HEAD", "sub/spec.yaml"),
        ("HEAD:sub/spec.yaml", "sub/spec.yaml"),
        ("HEAD:./sub/spec.yaml", "new.yaml"),
        ("sub/spec.yaml",),
        ("main", "sub/spec.yaml"),
    ):
        assert (0, EXPECTED, "") == here("diff", *words), words
    git(tmp_path, "branch", "try/wide")
    git(tmp_path, "commit", "-qam", "two")
    for words in (("try/wide",), ("try/wide:sub/spec.yaml",), ("refs/heads/try/wide",)):
        assert (0, EXPECTED, "") == here("diff", *words, "sub/spec.yaml"), words
    assert "sub/gone.yaml: no such file" in here("diff", "sub/gone.yaml", "sub/spec.yaml")[2]
    assert (0, EXPECTED, "") == here("diff", "HEAD~1:sub/spec.yaml", "HEAD:sub/spec.yaml")
    assert (6, "") == here("diff", "HEAD~1", "sub/spec.yaml", "--exit-code")[::2]


def test_a_revision_or_a_state_alone_is_asked_which_file_is_meant(here: Here, tmp_path: Path) -> None:
    """One line with the commands that would do; a name that is neither stays a file that is not there."""
    git(tmp_path, "init", "-q", "-b", "main")
    for words in (("new.yaml",), ("HEAD", "new.yaml"), ("HEAD:new.yaml", "new.yaml")):
        code, out, told = here("diff", *words)
        assert (2, "", 1) == (code, out, told.count("\n"))
        assert told.startswith(f"{words[0] if len(words) > 1 else 'HEAD'}: nothing is committed here yet (")
    git(tmp_path, "commit", "-qm", "one", "--allow-empty")
    for words, line in (
        (("HEAD",), "HEAD: a revision of which file? HEAD:./spec.yaml, or `nhnas diff HEAD spec.yaml`"),
        (("x", "main"), "main: a revision of which file? main:./spec.yaml, or `nhnas diff main spec.yaml`"),
        (
            ("s0123456789abcdef",),
            "s0123456789abcdef: a state of which file? `nhnas diff s0123456789abcdef spec.yaml`",
        ),
        (("HEAD~7",), "HEAD~7: no such file; `nhnas init` writes one to start from"),
        (("nope.yaml",), "nope.yaml: no such file; `nhnas init` writes one to start from"),
    ):
        assert (2, "", f"{line}\n") == here("diff", *words), words


def test_a_file_that_a_revision_does_not_have(here: Here, tmp_path: Path) -> None:
    """It was not committed yet: the line says so, and what would do; no revision is still told apart."""
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-qm", "one", "--allow-empty")
    told = (
        "new.yaml: is not in HEAD, not committed yet? Name what to compare it with: another revision, a "
        "file, or HEAD:./another.yaml\n"
    )
    assert (2, "", told) == here("diff", "new.yaml") == here("diff", "HEAD", "new.yaml")
    assert "gone: neither a file nor a git revision: " in here("diff", "gone", "new.yaml")[2]


def test_a_revision_that_is_no_sound_spec_is_named(here: Here, tmp_path: Path) -> None:
    """The file itself is sound: the line says of which revision it speaks, in each way to name one."""
    git(tmp_path, "init", "-q", "-b", "main")
    sound = (tmp_path / "new.yaml").read_bytes()
    (tmp_path / "new.yaml").write_bytes(b"a: [\n")
    git(tmp_path, "add", "new.yaml")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "new.yaml").write_bytes(sound)
    told = "new.yaml:2:1: not YAML: expected the node content, but found '<stream end>'\n"
    assert (2, "", f"HEAD:{told}") == here("diff", "new.yaml") == here("diff", "HEAD:new.yaml", "new.yaml")
    assert (2, "", f"main:{told}") == here("diff", "new.yaml", "main")


def test_a_snapshot_by_its_id(here: Here, tmp_path: Path) -> None:
    """The state of a version stands for the file that was saved with it."""
    spec = tiny.make(tmp_path / "work")
    first = versions(spec, 2)[1]
    code, out, err = here("diff", first.state or "", "work/spec.yaml")
    assert (0, "") == (code, err)
    assert out.startswith(f"points: version 1 ({first.state}) → version 2 (s")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nope.yaml", "new.yaml"), "nope.yaml: neither a file nor a git revision"),
        (("HEAD:x.yaml", "new.yaml"), "HEAD:x.yaml: neither a file nor a git revision: "),
        (("old.yaml", "gone.yaml"), "gone.yaml: neither a file nor a git revision"),
        (("a", "b"), "b: no such file"),
        (("-x", "new.yaml"), "No such option"),
        (("--", "--output=x", "new.yaml"), "--output=x: neither a file nor a git revision"),
        (("s0123456789abcdef", "new.yaml"), "state s0123456789abcdef is not in"),
    ],
)
def test_what_cannot_be_found_is_one_line(words: tuple[str, ...], message: str, here: Here) -> None:
    """Exit code 2, and nothing on stdout."""
    code, out, err = here("diff", *words)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert message in err


def test_without_git_the_line_says_so(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A revision needs git; files do not."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    code, _, err = here("diff", "HEAD", "new.yaml")
    assert (2, True) == (code, "git cannot be run" in err)
    assert 0 == here("diff", "old.yaml", "new.yaml")[0]
