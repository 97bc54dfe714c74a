"""Two branches' specs become one: both sides' changes, or a conflict that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nhnas.git_merge import text_merge, told
from nhnas.spec.document import Document
from nhnas.spec.emit import minimal_net
from nhnas.spec.errors import InputError
from nhnas.spec.merge import Merge, merge, trained_side
from nhnas.spec.merge_meaning import root_of
from nhnas.spec.merge_text import Texts, marked, remarks
from tests.merging import chosen, read

GOLDEN = Path(__file__).parent / "golden" / "merge"
CLEAN = {
    "a-renamed-layer-that-grew",
    "both-grew-other-layers",
    "both-opened-nodes",
    "neighbouring-lines-and-their-remarks",
    "one-site-one-value",
    "only-theirs-went-on",
    "settings-names-and-notes",
}
CONFLICTS = {
    "a-remark-that-both-changed": "conflict in a comment",
    "a-removed-layer-that-grew": "conflict at block2: removed in ours, changed in theirs",
    "both-moved-layers": "the nets of both do not go together: both sides moved layers",
    "one-joined-the-stream-the-other-grew": "conflict at block2: changed in ours, changed in theirs",
    "one-site-two-values": "conflict at block1.width: 16 became 18 in ours, 19 in theirs",
    "sound-alone-not-together": "block3.op: conv reads a map [C, H, W], not 4096 features",
    "two-layers-at-one-place": "conflict at net: [more] in ours, [other] in theirs",
}
SPEC = (GOLDEN / "both-grew-other-layers" / "base.yaml").read_text()
A, B, C = (letter * 16 for letter in "abc")


def changed(*pairs: tuple[str, str], text: str = SPEC) -> str:
    """The spec with pieces replaced that are there exactly once."""
    for old, new in pairs:
        assert 1 == text.count(old), old
        text = text.replace(old, new)
    return text


def merged(base: str | None, ours: str, theirs: str, **options: Any) -> Merge:
    """The merge of three texts."""
    return merge(None if base is None else read(base), read(ours), read(theirs), text_merge, **options)


@pytest.mark.parametrize("case", sorted(CLEAN | CONFLICTS.keys()))
def test_golden_cases_merge_as_written(case: str) -> None:
    """A folder holds base, ours, theirs and what is expected of them, to the byte."""
    base, ours, theirs, expected = (
        (GOLDEN / case / f"{n}.yaml").read_bytes() for n in ("base", "ours", "theirs", "expected")
    )
    found = merge(read(base), read(ours), read(theirs), text_merge)
    assert expected == found.text
    assert (case in CLEAN) == found.clean
    assert CONFLICTS.get(case, "") in "\n".join(told("spec.yaml", found))


def test_every_golden_case_is_known() -> None:
    """No folder is forgotten."""
    assert CLEAN | CONFLICTS.keys() == {folder.name for folder in GOLDEN.iterdir()}


@pytest.mark.parametrize("case", sorted(CONFLICTS))
def test_either_side_of_all_conflicts_is_a_sound_spec(case: str) -> None:
    """Whoever takes one side everywhere has that side's values, and every other change of both."""
    ours, theirs, text = ((GOLDEN / case / f"{n}.yaml").read_bytes() for n in ("ours", "theirs", "expected"))
    for side, document in enumerate((read(ours), read(theirs))):
        result = read(chosen(text, side))
        assert {x.name for x in document.architecture.net} <= {x.name for x in result.architecture.net}
    with pytest.raises(InputError, match=r"spec:\d+:1: a merge conflict is not resolved"):
        read(text)


SAVED = ("version: 3\nstate: s" + "0" * 16, "version: 4\nstate: s" + "b" * 16)


@pytest.mark.parametrize(
    ("mine", "other", "expected"),
    [((), (), "block1"), ((), (SAVED,), None), ((SAVED,), (), None)],
    ids=["neither saved", "theirs saved, so that it is plain to see", "ours saved its renaming"],
)
def test_a_renaming_that_nobody_could_see_any_more_is_written_down(
    mine: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...], expected: str | None
) -> None:
    """A layer that one side renamed by hand and the other changed, where the weights know its old name."""
    text = (GOLDEN / "a-renamed-layer-that-grew" / "base.yaml").read_text()
    ours = changed(("name: block1", "name: trunk"), *mine, text=text)
    theirs = changed(("hidden: 10", "hidden: 12"), *other, text=text)
    found = merged(text, ours, theirs)
    assert found.clean
    layer = next(layer for layer in read(found.text).architecture.net if layer.name == "trunk")
    assert expected == layer.renamed_from
    assert "hidden: 12" in found.text.decode()


def sections(values: dict[str, Any]) -> dict[str, Any]:
    """What is not the network."""
    return {key: values[key] for key in ("name", "data", "train", "search")}


def test_settings_that_come_and_go_merge_key_by_key() -> None:
    """A section that one side removed, defaults that are written out, lists as a whole."""
    base = changed(
        ("train: {lr: 1.0e-3, batch: 64}", "data: {root: a, val: 0.1}\ntrain: {lr: 1.0e-3, batch: 64}")
    )
    ours = changed(("data: {root: a, val: 0.1}\n", ""), text=base)
    theirs = changed(
        (", batch: 64}", "}  # the default\nsearch: {schedule: [{until: 3, add: 1}]}"), text=base
    )
    found = merged(base, ours, theirs)
    assert found.clean
    expected = {"name": "small", "data": {}, "train": {}, "search": {"schedule": [{"until": 3, "add": 1}]}}
    assert expected == sections(root_of(read(found.text)))
    assert b"lr: 1.0e-3}  # the default" in found.text


def test_one_setting_with_two_values_is_a_conflict_of_its_line() -> None:
    """Values that both changed stand side by side."""
    base = changed(("train: {lr: 1.0e-3, batch: 64}", "train:\n  lr: 0.1\n  batch: 64\n  seed: 1"))
    ours, theirs = (changed(("lr: 0.1", f"lr: {x}"), ("seed: 1", "seed: 2"), text=base) for x in (0.2, 0.3))
    found = merged(base, ours, theirs, labels=("HEAD", "b"))
    assert (
        b"train:\n<<<<<<< HEAD\n  lr: 0.2\n=======\n  lr: 0.3\n>>>>>>> b\n  batch: 64\n  seed: 2\n"
        in found.text
    )


def test_a_schedule_in_a_block_is_replaced_as_a_whole() -> None:
    """A list of mappings that has no names is no list of layers."""
    base = SPEC + "search:\n  add: 3\n  schedule:\n    - {until: 3, add: 1}\n    - until: 5\n      add: 2\n"
    ours = changed(("batch: 64", "batch: 32"), ("  add: 3\n", "  add: 4\n"), text=base)
    theirs = changed(("until: 5", "until: 6"), ("  add: 3\n", ""), text=base)
    text = chosen(merged(base, ours, theirs).text, 0)
    assert [{"until": 3, "add": 1}, {"until": 6, "add": 2}] == root_of(read(text))["search"]["schedule"]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_and_a_missing_last_one_survive(end: str) -> None:
    """Markers end as the file's lines do, and no line is glued to one."""
    base = SPEC.rstrip("\n").replace("\n", end)
    ours, theirs = (changed(("batch: 64", f"batch: {n}"), text=base) for n in (32, 16))
    found = merged(base, ours, theirs)
    expected = [
        "<<<<<<< ours",
        "train: {lr: 1.0e-3, batch: 32}",
        "=======",
        "train: {lr: 1.0e-3, batch: 16}",
        ">>>>>>> theirs",
        "",
    ]
    assert expected == found.text.decode().split(end)[-6:]


def test_mixed_line_ends_still_merge() -> None:
    """A side whose editor changed every line end is merged by values."""
    ours, theirs = (
        changed(("width: 8", "width: 9")),
        changed(("width: 20", "width: 21")).replace("\n", "\r\n"),
    )
    found = merged(SPEC, ours, theirs)
    assert found.clean
    assert {9, 21} < {layer.get("width") for layer in minimal_net(read(found.text).architecture)}


def test_a_file_that_both_added_is_merged_too() -> None:
    """Without a base, what is the same is taken once, and each difference is a conflict."""
    assert merged(None, SPEC, SPEC).clean
    found = merged(None, changed(("width: 8", "width: 9")), changed(("batch: 64", "batch: 32")))
    assert not found.clean
    assert ["stem.width", "train.batch"] == sorted(conflict.path for conflict in found.conflicts)
    assert 2 == found.text.count(b"=======")


def test_names_that_were_swapped_follow_their_layers() -> None:
    """A layer under another's old name is still itself, so growth of both goes to the right one."""
    base = changed(("  - {name: act, op: activation, act: relu}\n", ""))
    ours = changed(
        ("- name: block1", "- name: block2\n    renamed_from: block1"),
        ("{name: block2,", "{name: block1, renamed_from: block2,"),
        text=base,
    )
    theirs = changed(("width: 16", "width: 17"), ("width: 20", "width: 21"), text=base)
    found = merged(base, ours, theirs)
    assert found.clean
    assert [17, 21] == [layer["width"] for layer in minimal_net(read(found.text).architecture)[1:3]]


def test_a_name_given_twice_is_a_conflict_of_the_net() -> None:
    """One side renamed a layer to what the other side calls a new one."""
    ours = changed(("- name: block1", "- name: new\n    renamed_from: block1"))
    theirs = changed(("  - {name: pool", "  - {name: new, op: conv, width: 3}\n  - {name: pool"))
    found = merged(SPEC, ours, theirs)
    assert "the name 'new' is taken by layer 2 of net" in (found.reason or "")
    nets = [read(chosen(found.text, side)).architecture for side in (0, 1)]
    assert [read(text).architecture for text in (ours, theirs)] == nets


def test_comments_of_both_survive_where_the_text_cannot_be_merged() -> None:
    """Where our text is edited, what they said about other lines is carried over, and the rest is named."""
    ours = changed(("hidden: 10\n", "hidden: 10\n      second: {residual: {hidden: 1}}\n"))
    theirs = changed(
        ("hidden: 10\n", "hidden: 10\n      second: {norm: none}  # plain\n"), ("# reads", "# it reads")
    )
    found = merged(SPEC, ours, theirs)
    assert found.clean
    assert b"# it reads the image" in found.text
    assert "# plain" in {*found.lost, *remarks(read(found.text))}


def test_a_merge_by_lines_that_loses_a_comment_is_not_taken() -> None:
    """It happens where one side moved comments and the other added one: they stay, or are named."""

    def careless(texts: Texts, to_theirs: bool) -> bytes | None:
        found = text_merge(texts, to_theirs)
        return found and found.replace(b"# reads the image", b"")

    ours, theirs = changed(("width: 8", "width: 9")), changed(("batch: 64", "batch: 32"))
    found = merge(read(SPEC), read(ours), read(theirs), careless)
    assert found.clean
    assert "# reads the image" in {*found.lost, *remarks(read(found.text))}


def test_what_merges_as_text_is_a_conflict_where_the_values_are_in_conflict() -> None:
    """One side put another layer into the place of one that the other side changed in the same way."""
    base = changed(("  - {name: pool", "  - name: last\n    op: activation\n    act: relu\n  - {name: pool"))
    ours = changed(
        ("name: last\n    op: activation\n    act: relu", "name: x\n    op: activation\n    act: silu"),
        text=base,
    )
    theirs = changed(("op: activation\n    act: relu", "op: activation\n    act: silu"), text=base)
    for pair in ((ours, theirs), (theirs, ours)):
        assert not merged(base, *pair).clean


def test_markers_are_as_long_as_git_asks() -> None:
    """`conflict-marker-size` reaches the file."""
    ours, theirs = (changed(("width: 8", f"width: {n}")) for n in (9, 7))
    lines = merged(SPEC, ours, theirs, marker_size=11).text.split(b"\n")
    assert [b"<" * 11 + b" ours", b"=" * 11, b">" * 11 + b" theirs"] == [
        x for x in lines if x[:2] in (b"<<", b"==", b">>")
    ]


def test_layers_on_neighbouring_lines_are_conflicts_of_their_own() -> None:
    """A clean layer between two that are not stays outside the markers."""
    lines = [f"  - {{name: x{n}, op: conv, width: 4}}\n".encode() for n in range(3)]
    other = [lines[0].replace(b"4", b"5"), lines[1], lines[2].replace(b"4", b"6")]
    found = marked(b"".join(lines), b"".join(other), ("a", "b"))
    assert 2 == found.count(b"<<<<<<< a\n")
    assert b">>>>>>> b\n" + lines[1] + b"<<<<<<< a\n" in found


STATES = [None, "s" + A, "s" + B, "s" + C]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "stored", "expected"),
    [
        ("s" + A, "s" + B, "s" + C, A + B + C, "s" + B),
        ("s" + A, "s" + B, "s" + C, A + C, "s" + C),
        ("s" + A, "s" + B, "s" + C, A, "s" + B),
        ("s" + A, "s" + A, "s" + C, A + C, "s" + C),
        ("s" + A, "s" + A, "s" + C, A, "s" + A),
        ("s" + A, "s" + B, "s" + A, A + B, "s" + B),
        (None, None, "s" + C, A + C, "s" + C),
        (None, None, "s" + C, "", "s" + C),
        (None, "s" + B, None, "", "s" + B),
        ("s" + A, None, "s" + C, C, "s" + C),
        ("s" + A, "s" + A, None, A, "s" + A),
        (None, None, None, "", None),
    ],
)
def test_the_state_is_that_whose_weights_can_be_carried_over(
    base: str | None, ours: str | None, theirs: str | None, stored: str, expected: str | None
) -> None:
    """What is in the store, else what is trained, else who went on; ours where both did. With its version."""

    def document(state: str | None, version: int) -> Document:
        line = f"state: {state}\n" if state else ""
        return read(changed(("version: 3\nstate: s0000000000000000\n", f"version: {version}\n{line}")))

    documents = document(base, 1), document(ours, 2), document(theirs, 3)
    side = trained_side(*documents, lambda state: state[1:] in stored)
    assert expected == side.state
    found = merge(*documents, text_merge, stored=lambda state: state[1:] in stored)
    if found.text not in {document.text for document in documents}:
        assert (side.state, side.version) == (read(found.text).state, read(found.text).version)
