"""The text of a spec survives every change of its architecture."""

from __future__ import annotations

from difflib import unified_diff
from random import Random
from typing import Any

import pytest

from nhnas.spec.apply import apply
from nhnas.spec.document import parse_document
from nhnas.spec.edits import (
    AddNeurons,
    Collapse,
    DropShortcut,
    Edit,
    InsertLayer,
    Promote,
    RemoveLayer,
    Rename,
    RestoreShortcut,
    Set,
)
from nhnas.spec.emit import minimal_net
from nhnas.spec.model import Architecture, Conv, Node, Residual, ShortcutLeaf
from nhnas.spec.rewrite import UNCHANGED, rewrite
from nhnas.spec.text_edits import comments
from nhnas.spec.verify import problems
from nhnas.spec.yaml_tree import parse_yaml
from tests.random_specs import Pen, random_architecture, random_layer, random_residual, root_of, spelled_out

EMPTY = Residual(hidden=0)
SPEC = """\
# what this is
format: 1   # of the file
name: x
input: [3, 32, 32]
net:
  # the stem
  - {name: stem, op: conv, width: 26}   # s
  # the first block
  - name: block1  # b1
    op: conv
    width: 106  # w
    # about the residual
    residual:  # r
      hidden: 0  # h

  - {name: block2, op: conv, stride: 2, width: 60, residual: {hidden: 5, first: {residual: {hidden: 0}}}} # o
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
train: {lr: 1e-3}
# the end"""


def comments_of(text: bytes) -> list[str]:
    """All comments of a spec, sorted."""
    decoded, tree = parse_yaml(text)
    return sorted(decoded[start:end].rstrip() for start, end in comments(decoded, tree))


def changed_node(rng: Random, node: dict[str, Any]) -> None:
    """Change numbers, and let residuals come and go, in a node and below."""
    if "width" in node and node.get("op") == "conv" and rng.random() < 0.5:
        node["width"] = rng.randint(1, 400)
    residual = node.get("residual")
    if residual is None:
        node |= {"residual": random_residual(rng, 1)} if rng.random() < 0.4 else {}
    elif rng.random() < 0.2:
        del node["residual"]
    else:
        residual["hidden"] = rng.randint(0, 300) if rng.random() < 0.5 else residual["hidden"]
        for slot in ("first", "second"):
            inner = residual.setdefault(slot, {})
            changed_node(rng, inner)
            if not inner:
                del residual[slot]


def changed_net(rng: Random, net: list[dict[str, Any]]) -> None:
    """One change somewhere in the chain."""
    at, kind = rng.randrange(len(net) - 1), rng.random()
    layer = net[at]
    if kind < 0.5 and layer["op"] == "conv":
        changed_node(rng, layer)
    elif kind < 0.6 and layer["op"] == "conv" and layer.get("shortcut") != "identity":
        leaf = rng.choice([None, False, {"kernel": 1}, {"norm": "none"}])
        layer.pop("shortcut", None)
        layer |= {} if leaf is None else {"shortcut": leaf}
    elif kind < 0.75:
        net.insert(at, random_layer(rng, f"new{rng.randrange(10**6)}"))
    elif kind < 0.85 and len(net) > 3:
        del net[at]
    else:
        layer["name"] = rng.choice(["x y", "n-1 ", "it's", "yes", "10"]) + str(rng.randrange(1000))


def changed(rng: Random, arch: Architecture) -> Architecture:
    """A sound architecture after one to four changes."""
    while True:
        net = minimal_net(arch)
        for _ in range(rng.randint(1, 4)):
            changed_net(rng, net)
        try:
            found = Architecture.model_validate({"input": list(arch.input), "net": net})
        except ValueError:
            continue
        if found != arch and not problems(found):
            return found


@pytest.mark.parametrize("block", range(10))
def test_comments_and_meaning_survive_any_change_of_any_text(block: int) -> None:
    """Oddly formatted specs are read right, come back byte for byte, and keep each comment through edits."""
    for seed in range(20 * block, 20 * block + 20):
        rng = Random(seed)
        arch, pen = random_architecture(rng), Pen(rng)
        more: dict[str, Any] = {"version": 3, "state": "s" + "0" * 16} if seed % 2 else {}
        text = pen.spec(spelled_out(rng, root_of(arch, **more)))
        document = parse_document(text)
        assert arch == document.architecture
        assert text == rewrite(document, arch)
        new = changed(rng, arch)
        state = rng.choice([None, "s" + "1" * 16])
        written = rewrite(document, new, version=7, state=state)
        again = parse_document(written)
        assert (new, 7, state) == (again.architecture, again.version, again.state)
        assert sorted(pen.comments) == comments_of(written)
        assert (b"\r\n" in text) == (b"\r\n" in written)


def difference(edits: list[Edit], **more: Any) -> list[str]:
    """Changed lines of SPEC after some edits."""
    document = parse_document(SPEC.encode())
    written = rewrite(document, apply(document.architecture, edits), **more).decode()
    lines = unified_diff(SPEC.splitlines(), written.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:2] not in ("--", "++", "@@")]


def test_adding_neurons_changes_one_line_for_each_width() -> None:
    """A grown site is a number replaced where it stands."""
    edits: list[Edit] = [
        AddNeurons(site="block1.width", at=(3,)),
        AddNeurons(site="block1.hidden", at=(0, 1)),
    ]
    wanted = [
        "-    width: 106  # w",
        "+    width: 107  # w",
        "-      hidden: 0  # h",
        "+      hidden: 2  # h",
    ]
    assert wanted == difference(edits)


def test_promotion_adds_only_the_lines_of_the_residual() -> None:
    """A block enters a block as whole lines, indented like its neighbours."""
    wanted = ["+      first:", "+        residual:", "+          hidden: 0"]
    assert wanted == difference([Promote(path="block1.first", residual=EMPTY)])


def test_promotion_in_braces_stays_in_braces() -> None:
    """What is written in flow style grows in flow style."""
    before = "  - {name: stem, op: conv, width: 26}   # s"
    after = "  - {name: stem, op: conv, width: 26, residual: {hidden: 0}}   # s"
    assert [f"-{before}", f"+{after}"] == difference([Promote(path="stem", residual=EMPTY)])


def test_collapse_takes_the_lines_and_keeps_their_comments() -> None:
    """Comments of a block that goes stay on lines of their own."""
    wanted = ["-    residual:  # r", "-      hidden: 0  # h", "+    # r", "+    # h"]
    assert wanted == difference([Collapse(path="block1", residual=EMPTY)])


def test_version_and_state_enter_after_the_name() -> None:
    """A first save adds two lines at the head of the file."""
    wanted = ["+version: 1", "+state: s0123456789abcdef"]
    assert wanted == difference([], version=1, state="s0123456789abcdef")


def test_layers_come_and_go_in_the_style_of_their_neighbours() -> None:
    """A new layer looks like the one before it; a renamed one keeps its line."""
    deep = Conv(name="b 2", width=3, residual=Residual(hidden=3, first=Node(residual=EMPTY)))
    edits: list[Edit] = [
        InsertLayer(index=0, layer=Conv(name="new", width=3)),
        InsertLayer(index=3, layer=deep),
        Rename(old="stem", new="st:em"),
    ]
    wanted = [
        "+  - {name: new, op: conv, width: 3}",
        "-  - {name: stem, op: conv, width: 26}   # s",
        '+  - {name: "st:em", op: conv, width: 26}   # s',
        *("+  - name: b 2", "+    op: conv", "+    width: 3", "+    residual:", "+      hidden: 3"),
        *("+      first:", "+        residual:", "+          hidden: 0"),
    ]
    assert wanted == difference(edits)


def test_a_removed_layer_leaves_its_neighbours_alone() -> None:
    """The comment above a layer and the blank line below stay."""
    layer = parse_document(SPEC.encode()).architecture.net[2]
    line = SPEC.splitlines()[15]
    assert [f"-{line}", "+  # o"] == difference([RemoveLayer(index=2, layer=layer)])


def test_a_shortcut_goes_and_comes_back() -> None:
    """Dropping a leaf and restoring it are one key each."""
    document = parse_document(SPEC.encode())
    dropped = apply(document.architecture, DropShortcut(path="block2", leaf=True))
    without = parse_document(rewrite(document, dropped))
    assert b"width: 60, shortcut: false, residual:" in without.text
    restored = apply(dropped, RestoreShortcut(path="block2", leaf=True))
    assert SPEC.encode() == rewrite(without, restored)
    leaf = apply(dropped, RestoreShortcut(path="block2", leaf=ShortcutLeaf(kernel=1)))
    assert b"shortcut: {kernel: 1}" in rewrite(without, leaf)


def test_a_json_file_stays_json() -> None:
    """Keys enter in quotes where the file has them in quotes."""
    text = (
        b'{"format": 1, "name": "x", "input": [2], "net": ['
        b'{"name": "a", "op": "dense", "width": 2}, {"name": "b", "op": "dense", "width": 2}]}'
    )
    document = parse_document(text)
    edits: list[Edit] = [Promote(path="a", residual=EMPTY), Set(path="a", key="act", old=None, new="relu")]
    wanted = text.replace(
        b'"width": 2}, {', b'"width": 2, "act": "relu", "residual": {"hidden": 0}}, {'
    ).replace(b'"name": "x"', b'"name": "x", "version": 2')
    assert wanted == rewrite(document, apply(document.architecture, edits), version=2)


def test_the_state_goes_where_none_is_wanted_and_stays_where_nothing_is_said() -> None:
    """`state` is taken away, kept or replaced as asked."""
    text = SPEC.replace("name: x\n", "name: x\nstate: s0123456789abcdef  # mine\n").encode()
    document = parse_document(text)
    assert text == rewrite(document, document.architecture, state=UNCHANGED)
    assert SPEC.replace("name: x\n", "name: x\n# mine\n").encode() == rewrite(
        document, document.architecture, state=None
    )


def test_an_empty_value_is_filled_in_its_own_line() -> None:
    """`state:` without a value, with remarks in its line and below, before another key."""
    head = "format: 1\nname: x\n"
    tail = "input: [2]\nnet: [{name: a, op: dense, width: 2}]\n"
    state = "s" + "1" * 16
    for remarks in ("", "   # why", "   # why\n# more\n\n  # and more"):
        document = parse_document(f"{head}state:{remarks}\n{tail}".encode())
        written = rewrite(document, document.architecture, state=state).decode()
        assert f"{head}state: {state}{remarks}\n{tail}" == written


def test_old_macintosh_line_ends_survive() -> None:
    """A carriage return alone ends a line too."""
    document = parse_document(SPEC.replace("\n", "\r").encode())
    grown = apply(document.architecture, Promote(path="block1.first", residual=EMPTY))
    written = rewrite(document, grown)
    assert b"\n" not in written
    assert grown == parse_document(written).architecture
