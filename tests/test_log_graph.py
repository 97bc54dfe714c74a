"""`nhnas log` with branches: what is drawn, what is marked, and what damage elsewhere does to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.git_read import named_states
from nhnas.log import edits_text, history
from nhnas.log_graph import lay_out
from nhnas.log_table import table
from nhnas.spec.errors import InputError
from tests import tiny
from tests.here import Here
from tests.repository import commit, git, start

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process."""
    return Here(capfd)


def branched(folder: Path) -> tuple[Path, dict[str, str]]:
    """Versions 1, 2 and 3, another 2 and 3 from version 1, and the ids by name; the file is at `other 3`."""
    spec = tiny.make(folder)
    tiny.step(spec)
    text = spec.read_text()
    main = tiny.run(spec, steps=2)
    spec.write_text(text.replace("lr: 0.05", "lr: 0.02"))
    other = tiny.run(spec, steps=2)
    first = history(spec)[0]["state"]
    names = {"1": first, "2": main[0].state, "3": main[1].state}
    return spec, {**names, "other 2": other[0].state, "other 3": other[1].state}


def record(state: str, parent: str | None, version: int, current: bool = False) -> dict[str, Any]:
    """What drawing needs of a version."""
    return {"state": state, "parent": parent, "version": version, "current": current}


def drawing(*records: Mapping[str, Any]) -> list[str]:
    """The graph with the states behind it."""
    return [drawn if found is None else f"{drawn} {found['state']}" for drawn, found in lay_out(records)]


def test_a_straight_line() -> None:
    """One `*` below the other."""
    assert ["* a", "* b"] == drawing(record("a", None, 1), record("b", "a", 2, True))
    assert [] == drawing()


def test_the_way_to_the_file_is_leftmost() -> None:
    """Whatever else is newer: branches stand beside it, whole, where they begin."""
    records = [
        record("a", None, 1),
        record("b", "a", 2),
        record("x", "a", 2),
        record("y", "x", 3),
        record("z", "x", 3),
        record("c", "b", 3, True),
        record("w", "a", 9),
    ]
    expected = ["* a", "|\\", "| * x", "| |\\", "| | * y", "| * z", "|\\", "| * w", "* b", "* c"]
    assert expected == drawing(*records)


def test_beyond_the_file_the_newest_goes_straight() -> None:
    """Versions that came from the file's own go on below it."""
    records = [record("a", None, 1, True), record("x", "a", 2), record("b", "a", 2), record("c", "b", 3)]
    assert ["* a", "|\\", "| * x", "* b", "* c"] == drawing(*records)


def test_a_parent_that_is_gone_begins_a_drawing() -> None:
    """Of several beginnings the one that leads to the file comes last."""
    records = [record("b", "gone", 2), record("a", "gone", 2, True), record("c", "b", 3)]
    assert ["* b", "* c", "", "* a"] == drawing(*records)


@st.composite
def trees(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Versions with parents among those before them, and one of them the file's."""
    count = draw(st.integers(1, 30))
    parents = [draw(st.integers(-1, number - 1)) for number in range(count)]
    own, versions = draw(st.integers(0, count - 1)), dict[int, int]()
    for number, parent in enumerate(parents):
        versions[number] = versions.get(parent, 0) + 1
    found = [
        record(f"s{n}", f"s{p}" if p >= 0 else None, versions[n], n == own) for n, p in enumerate(parents)
    ]
    return sorted(found, key=lambda one: int(one["version"]))


@given(trees())
@settings(max_examples=200)
def test_every_version_is_drawn_below_its_parent(records: list[dict[str, Any]]) -> None:
    """Each exactly once, and the way up along the `|` from it ends at its parent."""
    lines = lay_out(records)
    drawn = [found["state"] for _, found in lines if found is not None]
    assert sorted(one["state"] for one in records) == sorted(drawn)
    for row, (text, found) in enumerate(lines):
        if found is not None:
            assert found["parent"] == _above(lines, row, text.index("*"))


def _above(lines: list[Any], row: int, column: int) -> str | None:
    """The state that the way up from (row, column) leads to, None where a drawing begins."""
    for text, found in reversed(lines[:row]):
        match text[column : column + 1], text[column - 1 : column]:
            case "*", _:
                return str(found["state"])
            case "|", _:
                pass
            case _, "\\":
                column -= 2
            case _:
                return None
    return None


def test_a_deep_nest_of_branches_is_no_recursion() -> None:
    """3,000 branches, each beginning on the one before."""
    records = [record("0", None, 1)]
    for number in range(1, 3000):
        records += [record(f"{number}", f"{number - 1}", number + 1)]
        records += [record(f"x{number}", f"{number - 1}", number + 1)]
    records[-1]["current"] = True
    assert 5999 == sum(found is not None for _, found in lay_out(records))


def test_all_branches_of_the_file_and_nothing_else(tmp_path: Path, here: Here) -> None:
    """By version, its own last; what another spec in the same store has trained is not there."""
    spec, states = branched(tmp_path)
    stranger = spec.with_name("stranger.yaml")
    stranger.write_text(tiny.DENSE.replace("width: 4", "width: 5"))
    tiny.step(stranger)
    order = [states[name] for name in ("1", "2", "other 2", "3", "other 3")]
    assert order == [one["state"] for one in history(spec, branches=True)]
    assert [states["other 3"]] == [one["state"] for one in history(spec, branches=True) if one["current"]]
    code, out, _ = here("log", str(spec), "--json")
    assert (0, history(spec, branches=True)) == (code, [json.loads(line) for line in out.splitlines()])
    _, out, _ = here("log", str(spec), "--json", "--lineage")
    assert history(spec) == [json.loads(line) for line in out.splitlines()]
    assert [states[name] for name in ("1", "other 2", "other 3")] == [one["state"] for one in history(spec)]
    assert [1] == [one["version"] for one in history(stranger, branches=True)]


def test_what_is_printed(tmp_path: Path, here: Here) -> None:
    """The graph, then the columns, and an arrow at the file's own version."""
    spec, states = branched(tmp_path)
    code, out, _ = here("log", str(spec))
    lines = out.splitlines()
    assert (0, 7) == (code, len(lines))
    words = [line.split() for line in lines]
    assert ["version", "state", "neurons", "parameters", "MACs", "depth"] == words[0][:6]
    expected = [["*", "1", "1"], ["|\\"], ["|", "*", "2", "2"], ["|", "*", "3", "3"]]
    expected += [["*", "2", "other 2"], ["*", "3", "other 3"]]
    for line, shown in zip(words[1:], expected, strict=True):
        full = shown if shown == ["|\\"] else [*shown[:-1], states[shown[-1]]]
        assert full == line[: len(full)]
    assert [False] * 6 + [True] == [line.endswith("  ←  spec.yaml") for line in lines]
    ends = {line.index(state) for line in lines for state in states.values() if state in line}
    assert 1 == len(ends)
    _, out, _ = here("log", str(spec), "--lineage")
    assert (4, False) == (len(out.splitlines()), "*" in out)


def test_refs_are_named_where_their_file_says_so(tmp_path: Path, here: Here) -> None:
    """Branches, tags, remote branches and HEAD; outside a repository, or without git, nothing is."""
    spec, states = branched(tmp_path)
    assert {} == named_states(spec)
    start(tmp_path)
    git(tmp_path, "checkout", "-q", "-b", "feature/x")
    for name in ("2", "1"):
        spec.write_bytes((tmp_path / ".nhnas" / "snapshots" / states[name] / "spec.yaml").read_bytes())
        commit(tmp_path, name)
        if name == "2":
            git(tmp_path, "tag", "-a", "-m", "m", "v2")
            git(tmp_path, "update-ref", "refs/remotes/origin/main", "HEAD")
    expected = {
        states["1"]: ["HEAD", "feature/x"],
        states["other 3"]: ["main"],
        states["2"]: ["origin/main", "tag: v2"],
    }
    assert expected == named_states(spec)
    assert expected == {one["state"]: one["refs"] for one in history(spec, branches=True) if one["refs"]}
    _, out, _ = here("log", str(spec))
    assert "  (HEAD, feature/x)  ←  spec.yaml" in out
    assert "  (origin/main, tag: v2)" in out


def test_a_repository_that_cannot_be_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is that of the store; names of refs are an extra."""
    spec, _ = branched(tmp_path)
    start(tmp_path)
    assert 1 == len(named_states(spec))
    (tmp_path / ".git" / "HEAD").write_text("nonsense")
    assert (5, {}) == (len(history(spec, branches=True)), named_states(spec))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (5, {}) == (len(history(spec, branches=True)), named_states(spec))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("format: 1\nstate: s0123456789abcdef\n", True),
        ("{format: 1, state: 's0123456789abcdef', input: [2]}", True),
        ('"state" : "s0123456789abcdef"', True),
        ("estate: s0123456789abcdef", False),
        ("state: s0123456789abcdef0", False),
        ("name: state", False),
        ("# state: s0123456789abcdef", False),
        ("{name: \"a # b\", 'c # d': 1, state: s0123456789abcdef}", True),
        ("name: a # once state: s1111111111111111\nstate: s0123456789abcdef", True),
        ("name: a#b\r# state: s1111111111111111\rstate: s0123456789abcdef\r", True),
    ],
)
def test_a_state_in_a_committed_file(text: str, found: bool, tmp_path: Path) -> None:
    """However YAML writes the key."""
    spec = tmp_path / "a spec.yaml"
    spec.write_text(text)
    start(tmp_path)
    assert ({"s0123456789abcdef": ["HEAD", "main"]} if found else {}) == named_states(spec)


@pytest.mark.parametrize("name", ["MANIFEST.json", "state.json", "weights.safetensors"])
def test_damage_on_a_branch_is_shown_there(name: str, tmp_path: Path, here: Here) -> None:
    """Everything else is as before; on the way to the file itself it is an error."""
    spec, states = branched(tmp_path)
    before = {one["state"]: one for one in history(spec, branches=True)}
    path = tmp_path / ".nhnas" / "snapshots" / states["2"] / name
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    after = {one["state"]: one for one in history(spec, branches=True)}
    broken = after.pop(states["2"])
    assert {key: one for key, one in before.items() if key in after} == after
    assert before.keys() == after.keys() | {states["2"]}
    assert list(before[states["2"]]) == list(broken)
    assert name in broken["damaged"]
    code, out, _ = here("log", str(spec))
    assert (0, 1) == (code, out.count("damaged: "))
    path.write_bytes(data)
    own = tmp_path / ".nhnas" / "snapshots" / states["other 2"] / name
    own.write_bytes(own.read_bytes()[:-1])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        history(spec, branches=True)


def test_dropped_weights_are_marked(tmp_path: Path, here: Here) -> None:
    """By `nhnas gc`; the figures stay."""
    spec, states = branched(tmp_path)
    before = history(spec, branches=True)
    assert 0 == here("gc", str(spec))[0]
    kept = (states["3"], states["other 3"])
    assert [{**one, "dropped": one["state"] not in kept} for one in before] == history(spec, branches=True)
    _, out, _ = here("log", str(spec))
    assert 3 == out.count("  (weights dropped)")


def test_a_hand_edit_is_told_below(tmp_path: Path, here: Here) -> None:
    """As what it is; without one there is no such line."""
    spec = tiny.make(tmp_path)
    tiny.step(spec)
    assert "edited" not in here("log", str(spec))[1]
    tiny.edit(spec, "name: head, op: dense", "name: tail, op: dense, renamed_from: head")
    _, out, _ = here("log", str(spec))
    last = out.splitlines()[-1]
    assert f"spec.yaml was edited since, not saved yet: rename head → tail (nhnas plan {spec})" == last
    tiny.edit(spec, "renamed_from: head", "renamed_from: nothing")
    code, out, _ = here("log", str(spec))
    assert (0, True) == (code, "renamed_from: nothing is no layer of" in out)
    assert 1 == len(here("log", str(spec), "--json")[1].splitlines())


def test_an_untrained_file(tmp_path: Path, here: Here) -> None:
    """One line says so."""
    spec = tiny.make(tmp_path)
    assert (0, f"{spec}: untrained, no version yet\n", "") == here("log", str(spec))


EDITS = [{"kind": "add_neurons", "site": f"猫{n}.hidden", "at": [0]} for n in range(6)]


def test_edits_are_shortened_to_the_width() -> None:
    """As many as fit, and how many more; wide letters count twice."""
    whole = edits_text(EDITS)
    assert whole == edits_text(EDITS, 200)
    assert "猫0.hidden +1, 猫1.hidden +1, … 4 more" == edits_text(EDITS, 38)
    assert "猫0.hidden +1, … 5 more" == edits_text(EDITS, 37)
    others: list[dict[str, Any]] = [{"kind": "promote", "path": "a.first"}]
    others += [{"kind": "remove_neurons", "site": "b", "at": [1, 2]}]
    assert ["+6", "+6-2, … 1 more"] == [edits_text(EDITS, 5), edits_text([*EDITS, *others], 5)]
    assert "none" == edits_text([], 5)
    assert whole == edits_text(EDITS, 6 * 13 + 5 * 2)


def test_a_table_fits_into_its_width() -> None:
    """Marks are never cut, and in a very narrow terminal some edits stay."""
    one = {"version": 1, "state": "s0123456789abcdef", "parent": None, "neurons": 12, "parameters": 31}
    one |= {"macs": 5, "depth": 3, "epochs": 12, "test": {"mse": 0.5}, "max_change": 0.0, "edits": EDITS}
    one |= {"current": True, "refs": ["main"], "dropped": True, "damaged": None}
    marks = "  (weights dropped)  (main)  ←  a.yaml"
    whole = table([one], "a.yaml").splitlines()[1]
    assert whole.endswith(edits_text(EDITS) + marks)
    for width in (155, 170, 185):
        line = table([one], "a.yaml", width).splitlines()[1]
        assert line.endswith(marks)
        assert width - 15 <= len(line) + line.count("猫") <= width
    assert "  +6  (weights dropped)" in table([one], "a.yaml", 20)


def test_log_never_imports_torch(tmp_path: Path) -> None:
    """Nor with branches, refs and a hand edit; and a pipe gets the edits whole."""
    spec, _ = branched(tmp_path)
    start(tmp_path)
    tiny.edit(spec, "note: the end", "act: relu")
    code = (
        "import sys; from nhnas.main import main\ntry: main(['log', 'spec.yaml'])\nexcept SystemExit: pass\n"
    )
    code += "print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ("[]", 9) == (done.stdout.splitlines()[-1], len(done.stdout.splitlines()))
    assert "more" not in done.stdout
