"""`nhnas render`: comparisons, graphviz and Mermaid sources, files and errors (DESIGN §8)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nhnas.dot_source import MAX_BYTES, as_dot
from nhnas.main import main
from nhnas.rendering import render
from nhnas.spec.drawing import Look
from nhnas.spec.drawing_cards import drawn
from nhnas.spec.drawing_mermaid import as_mermaid, encoded, is_too_large
from nhnas.spec.drawing_svg import as_svg
from nhnas.spec.drawing_text import heading
from nhnas.spec.errors import InputError, StorageError
from nhnas.spec.structure import sites
from tests.pictures import HOSTILE, built, hostile, nested, random_trees
from tests.svg_picture import Picture, read_svg

SPEC = """\
format: 1
name: picture
input: [3, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - name: block
    op: conv
    shortcut: identity
    residual: {hidden: 14, first: {residual: {hidden: 2}}}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
data: {dataset: "dangerous:data"}
"""
CHANGES = ("added", "removed", "changed")


def compared(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Picture:
    """The picture of what changed between two chains."""
    return read_svg(as_svg(drawn(built(new), built(old), Look(each=True))))


def coloured(drawing: Picture) -> list[tuple[str, str]]:
    """Change and first line of each box that has a colour of the comparison; the legend aside."""
    return [
        (change, next(text.text for text in drawing.texts if box.holds(text)))
        for box in drawing.boxes
        for change in set(CHANGES) & set(box.styles)
        if box.title
    ]


def stem(**more: Any) -> dict[str, Any]:
    """The first layer of all chains here."""
    return {"name": "stem", "op": "conv", "width": 4} | more


def block(name: str = "block", **more: Any) -> dict[str, Any]:
    """A layer with a residual."""
    return {"name": name, "op": "conv", "width": 4, "residual": {"hidden": 14}} | more


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([stem()], [stem()], []),
        ([stem(width=4)], [stem(width=6)], [("changed", "4 → 6")]),
        ([block()], [block(residual={"hidden": 20})], [("changed", "14 → 20")]),
        ([block()], [block(shortcut=False)], [("removed", "3×3")]),
        ([stem(kernel=5)], [stem(kernel=3)], [("changed", "5×5 → 3×3")]),
        ([stem()], [stem(act="relu")], [("added", "relu")]),
        ([stem(act="gelu")], [stem(act="relu")], [("changed", "gelu → relu")]),
        ([stem()], [stem(norm="none")], [("changed", "3×3")]),
        (
            [stem()],
            [stem(residual={"hidden": 9})],
            [("added", "3×3"), ("added", "9"), ("added", "3×3")],
        ),
        (
            [stem(residual={"hidden": 9})],
            [stem()],
            [("removed", "3×3"), ("removed", "9"), ("removed", "3×3")],
        ),
        (
            [stem(residual={"hidden": 0})],
            [stem(residual={"hidden": 9})],
            [("added", "3×3"), ("changed", "0 → 9"), ("added", "3×3")],
        ),
        ([stem()], [stem(), {"name": "a", "op": "dropout", "p": 0.5}], [("added", "a")]),
        (
            [{"name": "a", "op": "dropout", "p": 0.5}, stem()],
            [{"name": "a", "op": "dropout", "p": 0.1}, stem()],
            [("changed", "a")],
        ),
        ([stem()], [stem(name="trunk", renamed_from="stem")], [("changed", "stem → trunk")]),
    ],
)
def test_changes_are_coloured(
    old: list[dict[str, Any]], new: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    """Exactly what came is green, what went is red, what has another size or setting is amber."""
    assert expected == coloured(compared(old, new))


def test_layers_that_went_stand_at_their_old_place() -> None:
    """A removed layer is a red card between its old neighbours, a new one a green card at its place."""
    names = ["a", "b", "c", "d"]
    old = [stem(), *(block(name) for name in names)]
    new = [stem(), block("a"), block("c"), block("new"), block("d")]
    drawing = compared(old, new)
    cards = [box for box in drawing.boxes if "card" in box.styles]
    assert ["stem", "a", "b", "c", "new", "d"] == [card.title for card in cards]
    assert ["b"] == [card.title for card in cards if "removed" in card.styles]
    assert ["new"] == [card.title for card in cards if "added" in card.styles]


def test_every_layer_of_both_versions_is_drawn_once() -> None:
    """A comparison of random trees shows each layer of the new one, and of the old one what left."""
    trees = list(random_trees(30))
    for old, new in pairwise(trees):
        cards = drawn(new, old, Look(each=True)).cards
        assert [x.name for x in new.net] == [c.names[0] for c in cards if c.change != "removed"]
        left = [c.names[0] for c in cards if c.change == "removed"]
        stayed = [c.was or c.names[0] for c in cards if c.change in ("kept", "changed")]
        assert sorted(x.name for x in old.net) == sorted(left + stayed)


def test_a_comparison_with_itself_has_no_colour() -> None:
    """Nothing is coloured where nothing changed."""
    for tree in random_trees(30):
        assert [] == coloured(read_svg(as_svg(drawn(tree, tree, Look(each=True)))))


def test_what_changed_inside_a_folded_node_is_seen() -> None:
    """A folded node whose inside differs is amber, also where the sums are the same."""
    sizes = (
        {"hidden": 2, "first": {"residual": {"hidden": 3}}},
        {"hidden": 2, "second": {"residual": {"hidden": 3}}},
    )
    pictures = [
        drawn(built([stem(residual=b)]), built([stem(residual=a)]), Look(depth=0))
        for a in sizes
        for b in sizes
    ]
    assert [0, 1, 1, 0] == [sum(c == "changed" for c, _ in coloured(read_svg(as_svg(p)))) for p in pictures]


def strings(source: str) -> list[str]:
    """All values in a graphviz source, quoted or not, as its manual says that they are read."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', source, re.DOTALL) + re.findall(r"=(\w+)", source)
    plain = (re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nl" else m[1], text) for text in found)
    return [re.sub("&#([0-9]+);", lambda m: chr(int(m[1])), x).replace("&amp;", "&") for x in plain]


def test_names_are_literal_in_dot() -> None:
    """Each hostile name is a tooltip, and what is seen of it a line of a label; none is an id or HTML."""
    source = as_dot(drawn(hostile()))
    found = strings(source)
    lines = {line for text in found for line in text.split("\n")}
    for name in HOSTILE:
        assert heading((name,)) in lines
        if len(name.encode()) * 5 < MAX_BYTES and "\\" not in name:
            assert name.replace("\ufffe", "\\ufffe") in found
    assert set() == {c for c in source if not c.isprintable()} - {"\n", "\t"}
    assert [] == re.findall("=<", source)
    ids = set(re.findall(r"^\t+(\S+) (?:->|\[)", source, re.MULTILINE)) - {"graph", "node", "edge"}
    assert [] == [found for found in ids if not re.fullmatch("n[0-9]+", found)]


def test_names_that_break_tooltips_are_comments() -> None:
    """A name too long for dot, or with a backslash, is in the file whole, in pieces that are short enough."""
    source = as_dot(drawn(hostile()))
    for name in (name for name in HOSTILE if len(name) >= 20_000 or "\\" in name):
        runs = re.findall(r"^\t// (\w+): (.*)$", source, re.MULTILINE)
        whole = {key: "".join(piece for other, piece in runs if other == key) for key, _ in runs}
        assert name in whole.values()
    assert max(len(text.encode()) for text in re.findall(r'"(?:[^"\\]|\\.)*"', source)) < 16_384
    assert max(len(line.encode()) for line in source.split("\n") if "//" in line) < 16_384


def mermaid_text(label: str) -> str:
    """What Mermaid shows of a label."""
    return re.sub("#([0-9]+);", lambda found: chr(int(found[1])), label)


def test_names_are_literal_in_mermaid() -> None:
    """Each hostile name is a line of a label in which no character means anything to Mermaid."""
    source = as_mermaid(drawn(hostile()))
    quoted = re.findall('"(.*?)"', source)
    lines = [line for text in quoted for line in text.split("<br/>")]
    shown = {mermaid_text(line).replace("\u00a0", " ") for line in lines}
    assert set() == {heading((name,)) for name in HOSTILE} - shown
    for line in lines:
        rest = re.sub("#[0-9]+;", "", line)
        assert set() == {c for c in rest if c.isascii() and not c.isalnum()} - {" ", ","}
        assert (line.strip(" "), False) == (line, "  " in line)
    for name in (name for name in HOSTILE if len(name) >= 20_000):
        pieces = re.findall("^  %% (\\w+): (.*)$", source, re.MULTILINE)
        whole = {key: "".join(piece for other, piece in pieces if other == key) for key, _ in pieces}
        assert encoded(name) in whole.values()
    assert "%%{" not in source


@pytest.mark.parametrize("write", [as_dot, as_mermaid])
def test_other_formats_show_every_number_and_no_loose_end(write: Any) -> None:
    """In graphviz and Mermaid each site has its number, boxes close, and arrows join what is there."""
    for tree in random_trees(60):
        source = write(drawn(tree, look=Look(each=True)))
        numbers = re.findall(r'\(\["([0-9]+)(?:<br/>|")|label="?([0-9]+)(?:\\n[^"]*)?"?[^]]*rounded', source)
        assert sorted(s.neurons for s in sites(tree).values()) == sorted(int(a or b) for a, b in numbers)
        arrows = re.findall(r"^\s+(n\d+) -\.?-?>(?:\|.*?\|)? (n\d+)", source, re.MULTILINE)
        defined = set(re.findall(r"^\s+(n\d+)(?: \[|\(|\[)", source, re.MULTILINE))
        assert defined == {end for pair in arrows for end in pair}


@pytest.mark.parametrize("write", [as_dot, as_mermaid])
def test_other_formats_hold_deep_and_long_nets(write: Any) -> None:
    """Nesting of 64 and 5,000 layers are written without trouble."""
    assert "64" in write(drawn(nested(64)))
    long = write(drawn(built({"name": f"b{n}", "op": "conv", "width": n % 3 + 1} for n in range(5_000))))
    assert "b4999" in long
    assert write is as_dot or is_too_large(long)


def nhnas(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own."""
    command = [sys.executable, "-X", "importtime", "-m", "nhnas", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, check=False
    )


def test_the_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Two processes with other hash seeds, one without any program, write what this one does; no torch."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "dangerous.py").write_text("raise SystemExit('the data set was imported')")
    said = render(str(tmp_path / "spec.yaml"), str(tmp_path / "x.svg"))
    assert f"wrote {tmp_path / 'x.svg'}" == said
    for more in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "PATH": "", "LC_ALL": "C"}):
        done = nhnas("render", "spec.yaml", "-o", "-", "--format", "svg", cwd=tmp_path, **more)
        assert (0, (tmp_path / "x.svg").read_bytes()) == (done.returncode, done.stdout)
        assert b"nhnas.rendering" in done.stderr
        assert b"| torch" not in done.stderr


def test_the_ending_chooses_the_format(tmp_path: Path) -> None:
    """.svg, .dot and .mmd are written without graphviz, in any case of letters."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    begins = {"a.svg": b"<svg ", "b.SVG": b"<svg ", "c.dot": b"digraph", "d.mmd": b"flowchart TB"}
    for name in begins:
        render(str(spec), str(tmp_path / name))
    assert begins == {name: (tmp_path / name).read_bytes()[: len(b)] for name, b in begins.items()}


def test_old_versions_come_from_files_and_git(tmp_path: Path) -> None:
    """`--diff` takes a file or a git revision of the spec."""
    spec, old = tmp_path / "spec.yaml", tmp_path / "old.yaml"
    old.write_text(SPEC.replace("hidden: 14", "hidden: 3"))
    spec.write_bytes(old.read_bytes())
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", "spec.yaml"), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    spec.write_text(SPEC)
    for source in (str(old), "HEAD"):
        render(str(spec), str(tmp_path / "x.svg"), old=source)
        drawing = read_svg((tmp_path / "x.svg").read_text())
        assert [("changed", "3 → 14")] == coloured(drawing)
        assert {"added", "removed", "resized or set"} <= set(drawing.said())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"output": "x.yaml"},
            "-o x.yaml: the name must end in .svg, .png, .pdf, .dot or .mmd, or give --format",
        ),
        ({"output": "x"}, "must end in"),
        ({"output": "spec.yaml", "form": "svg"}, "not written over a spec"),
        ({"output": "new.yml", "form": "svg"}, "not written over a spec"),
        ({"output": "link.svg"}, "not written over a spec"),
        ({"output": "folder.svg"}, "is a folder"),
        ({"output": "no/x.svg"}, "no: no such folder"),
        ({"output": "-"}, "say which format with --format"),
        ({"output": "x.svg", "form": "gif"}, "'gif' is none of svg, png, pdf, dot, mmd"),
        ({"output": "x.svg", "layout": "best"}, "'best' is none of auto, own, dot"),
        ({"output": "x.png", "layout": "own"}, "the own layout writes .svg only"),
        ({"output": "x.svg", "look": Look(collapse=frozenset(["blok"]))}, "no layer 'blok'"),
        ({"output": "x.svg", "look": Look(collapse=frozenset(["stem"]))}, "'stem' has no residual"),
        (
            {"output": "x.svg", "look": Look(collapse=frozenset(["pool"]))},
            "'pool' (global_avg_pool) is not a node",
        ),
        ({"output": "x.svg", "look": Look(macs=True), "old": "spec.yaml"}, "give one of them"),
        ({"output": "x.svg", "old": "no.yaml"}, "no.yaml"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: Mapping[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is one clear line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC)
    Path("link.svg").hardlink_to("spec.yaml")
    Path("folder.svg").mkdir()
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        render("spec.yaml", **options)
    assert 1 == len(str(caught.value).splitlines())
    assert ["folder.svg", "link.svg", "spec.yaml"] == sorted(os.listdir())
    assert SPEC == Path("spec.yaml").read_text()


@pytest.mark.parametrize("name", ["x.png", "x.pdf"])
def test_without_graphviz_the_way_to_a_bitmap_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `dot`, .png and .pdf end with exit code 2 and a line that says what to install."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "spec.yaml").write_text(SPEC)
    with pytest.raises(SystemExit) as left:
        main(["render", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / name)])
    assert 2 == left.value.code
    assert "install graphviz" in capsys.readouterr().err
    assert ["spec.yaml"] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no such font >&2; exit 1", "dot failed: no such font"),
        ("exit 0", "dot failed: exit code 0"),
        ("exec sleep 9", "not done"),
    ],
)
def test_a_dot_that_fails_is_told(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graphviz that fails, writes nothing or hangs ends in one line, and no file is left."""
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\ncat > {os.devnull}\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "spec.yaml").write_text(SPEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    monkeypatch.setattr("nhnas.rendering.PATIENCE", 2)
    with pytest.raises(InputError, match=reason):
        render(str(tmp_path / "spec.yaml"), str(tmp_path / "x.png"))
    assert ["dot", "spec.yaml"] == sorted(os.listdir(tmp_path))


def test_a_folder_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No permission is exit code 5; an old picture stays."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "x.svg").write_text("old")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nhnas.compiler.files.os.rename", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        render(str(tmp_path / "spec.yaml"), str(tmp_path / "x.svg"))
    assert "old" == (tmp_path / "x.svg").read_text()


def test_the_command_line_passes_every_option(tmp_path: Path) -> None:
    """--depth, --collapse, --each and --macs reach the picture."""
    spec, output = tmp_path / "spec.yaml", tmp_path / "x.svg"
    spec.write_text(SPEC)
    expected = {
        ("--depth", "0"): Look(depth=0),
        ("--collapse", "block.first", "--collapse", "block"): Look(
            collapse=frozenset(["block", "block.first"])
        ),
        ("--each", "--macs"): Look(each=True, macs=True),
    }
    for options, look in expected.items():
        with pytest.raises(SystemExit) as left:
            main(["render", str(spec), "-o", str(output), *options])
        assert 0 == left.value.code
        by_command = output.read_bytes()
        render(str(spec), str(output), look=look)
        assert by_command == output.read_bytes()


@pytest.mark.parametrize(("picture", "old"), [("mnist-conv", None), ("mnist-conv-diff", "spec.yaml")])
def test_the_pictures_of_the_docs_are_current(picture: str, old: str | None, tmp_path: Path) -> None:
    """docs/ holds what `nhnas render` draws of the example today."""
    root = Path(__file__).resolve().parents[1]
    example, drawing = root / "examples" / "mnist-conv", tmp_path / "x.svg"
    render(str(example / "grown.yaml"), str(drawing), old=None if old is None else str(example / old))
    assert (root / "docs" / f"{picture}.svg").read_text() == drawing.read_text()


def test_deep_nesting_is_compared() -> None:
    """Two versions of the deepest nesting are drawn in one picture."""
    old, new = nested(64), nested(63)
    drawing = read_svg(as_svg(drawn(new, old)))
    assert {"removed", "changed"} <= {change for change, _ in coloured(drawing)}
    assert [] == list(drawing.collisions())
