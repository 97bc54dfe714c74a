"""The own layout: what the written SVG shows, on random trees, at any depth and length (DESIGN §8)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from nhnas.spec.drawing import Look
from nhnas.spec.drawing_cards import drawn
from nhnas.spec.drawing_svg import as_svg
from nhnas.spec.drawing_text import cells, shortened, visible
from nhnas.spec.model import Architecture
from nhnas.spec.structure import nodes, sites
from tests.pictures import HOSTILE, built, hostile, nested, random_trees
from tests.svg_picture import Area, Picture, read_svg

EVERY = Look(each=True)
TREES = tuple(random_trees(100))


def picture(new: Architecture, old: Architecture | None = None, look: Look = EVERY) -> Picture:
    """What is drawn of an architecture."""
    return read_svg(as_svg(drawn(new, old, look, "title")))


def numbers(drawing: Picture) -> list[int]:
    """The numbers in boxes for neurons."""
    return sorted(
        int(text.text)
        for text in drawing.texts
        for box in drawing.boxes
        if "site" in box.styles and box.holds(text) and text.text.isdigit()
    )


def test_no_boxes_or_texts_overlap() -> None:
    """On 100 random trees no boxes cross, no texts touch, and no border or wire runs through a text."""
    assert [] == [collision for tree in TREES for collision in picture(tree).collisions()]


def test_nothing_overlaps_in_comparisons_and_folded_pictures() -> None:
    """The same holds for two versions in one picture, for folded nodes and for colours by MACs."""
    found = [c for old, new in zip(TREES, TREES[2:], strict=False) for c in picture(new, old).collisions()]
    for look in (Look(depth=0), Look(depth=1), Look(macs=True)):
        found += [collision for tree in TREES[:30] for collision in picture(tree, look=look).collisions()]
    assert [] == found


def test_nothing_overlaps_whatever_the_names() -> None:
    """Hostile names move nothing onto anything else."""
    assert [] == list(picture(hostile()).collisions())


@pytest.mark.parametrize(
    "extra",
    [
        Area(15, 90, 60, 140),
        Area(0, 0, 5, 5, text="x"),
        Area(0, 0, 1e6, 1),
    ],
    ids=["a box across a border", "a text on the edge of a box", "a box that leaves the page"],
)
def test_an_overlap_is_seen(extra: Area) -> None:
    """The judge of the tests above sees what overlaps."""
    drawing = picture(TREES[0])
    card = drawing.boxes[0]
    texts = (*drawing.texts, Area(card.left - 3, card.top + 1, card.left + 3, card.top + 9, "x"))
    worse = (
        Picture(drawing.page, drawing.boxes, texts, drawing.wires)
        if extra.text
        else Picture(drawing.page, (*drawing.boxes, extra), drawing.texts, drawing.wires)
    )
    assert [] == list(drawing.collisions())
    assert [] != list(worse.collisions())


def test_every_site_shows_its_number() -> None:
    """Each site of each random tree has its neurons as a number in a box of its own, empty ones too."""
    assert [sorted(s.neurons for s in sites(tree).values()) for tree in TREES] == [
        numbers(picture(tree)) for tree in TREES
    ]


def test_every_nested_node_has_a_box_inside_the_box_of_its_layer() -> None:
    """Residuals in residuals are boxes in boxes, labelled with their slot."""
    for tree in TREES:
        drawing = picture(tree)
        frames = [box for box in drawing.boxes if "frame" in box.styles]
        expected = sorted(n.path.partition(".")[2] for n in nodes(tree) if "." in n.path and n.residual)
        assert expected == sorted(frame.title for frame in frames)
        cards = [box for box in drawing.boxes if "card" in box.styles]
        assert all(any(card.holds(frame) for card in cards) for frame in frames)


def test_a_shortcut_a_leaf_and_its_absence_differ() -> None:
    """An identity is a word on the line, a leaf is a box, and without a shortcut there is no sum."""
    residual = {"residual": {"hidden": 5}}
    stem = {"name": "stem", "op": "conv", "width": 3, "kernel": 7}
    layer = {"name": "b", "op": "conv"}
    straight = picture(built([stem, layer | residual | {"shortcut": "identity"}]))
    leaf = picture(built([stem, layer | residual | {"width": 3, "shortcut": {"kernel": 1}}]))
    none = picture(built([stem, layer | residual | {"width": 3, "shortcut": False}]))
    assert (True, False, False) == tuple("identity" in p.said() for p in (straight, leaf, none))
    assert (False, True, False) == tuple("1×1" in p.said() for p in (straight, leaf, none))
    assert (1, 1, 0) == tuple(sum("plus" in box.styles for box in p.boxes) for p in (straight, leaf, none))


def test_nesting_of_64_is_drawn() -> None:
    """The deepest nesting that a spec may have is drawn, each number inside 63 boxes or fewer."""
    drawing = picture(nested(64))
    assert sorted([*range(1, 65), 2]) == numbers(drawing)
    assert [] == list(drawing.collisions())


def test_five_thousand_layers_are_drawn() -> None:
    """A long chain is written without trouble, one card below the other."""
    net = [{"name": f"b{n}", "op": "conv", "width": n % 3 + 1} for n in range(5_000)]
    cards = [box for box in picture(built(net)).boxes if "card" in box.styles]
    assert [f"b{n}" for n in range(5_000)] == [card.title for card in cards]
    assert all(a.bottom < b.top for a, b in pairwise(cards))


def names_shown(texts: Iterable[Area]) -> list[str]:
    """The names on the cards, apart from the title above."""
    return [text.text for text in texts if "name" in text.styles][1:]


def test_names_are_literal_in_svg() -> None:
    """Whole names are the titles of their cards; what is seen is the name, or begins and ends like it."""
    drawing = picture(hostile())
    titles = [box.title for box in drawing.boxes if "card" in box.styles]
    assert [name.replace("\ufffe", "\\ufffe") for name in HOSTILE] == titles
    for name, shown in zip(HOSTILE, names_shown(drawing.texts), strict=True):
        head, cut, tail = shown.partition("…")
        if len(name) < 1_000:
            assert (visible(name), "") == (shown, cut)
        else:
            assert "…" == cut
            assert name.startswith(head)
            assert name.endswith(tail)
        assert name == shown or not name.isprintable() or len(name) > 1_000


def test_no_invisible_character_reaches_the_svg() -> None:
    """Marks that turn text around stand in the file by their numbers only, so that a review sees them."""
    svg = as_svg(drawn(hostile()))
    assert set() == {c for c in svg if not c.isprintable()} - {"\n"}
    assert "&#8238;abc" in svg


def test_shortened_names_fit() -> None:
    """A shortened text takes at most the columns it may, and is whole where it fits."""
    rng = Random(0)
    for _ in range(300):
        text = "".join(rng.choice("ab猫é\u202eש👩") for _ in range(rng.choice((3, 30, 80, 300))))
        limit = rng.randint(6, 60)
        found = shortened(text, limit)
        assert cells(found) <= limit
        assert cells(visible(text)) > limit or visible(text) == found


def test_equal_neighbours_become_one_card() -> None:
    """Neighbours alike but for their names are one card with ×N and all names; others stay apart."""
    block = {"op": "conv", "shortcut": "identity", "residual": {"hidden": 5}}
    net: list[dict[str, Any]] = [{"name": "stem", "op": "conv", "width": 3}]
    net += [{"name": f"b{n}", **block} for n in range(4)]
    net += [{"name": "last", **block, "residual": {"hidden": 6}}]
    drawing = picture(built(net), look=Look())
    assert ["stem", "b0 … b3", "last"] == names_shown(drawing.texts)
    assert 1 == drawing.said().count("×4")
    assert "b0\nb1\nb2\nb3" in [box.title for box in drawing.boxes]
    assert ["stem", "b0", "b1", "b2", "b3", "last"] == names_shown(picture(built(net)).texts)


def test_merged_cards_lose_no_neuron() -> None:
    """With ×N counted, the numbers of the merged picture are those of the whole one."""
    for tree in TREES:
        counted: list[int] = []
        drawing = picture(tree, look=Look())
        for card in (box for box in drawing.boxes if "card" in box.styles):
            inside = Picture(card, drawing.boxes, tuple(t for t in drawing.texts if card.holds(t)), ())
            many = [int(t.text[1:]) for t in inside.texts if "many" in t.styles]
            counted += numbers(inside) * (many or [1])[0]
        assert sorted(site.neurons for site in sites(tree).values()) == sorted(counted)


def test_depth_and_collapse_fold_nodes_into_their_sums() -> None:
    """What lies deeper, or under a given path, is one box that tells how many neurons are inside."""
    inner = {"residual": {"hidden": 7, "second": {"residual": {"hidden": 9}}}}
    arch = built([{"name": "a", "op": "conv", "width": 3, "residual": {"hidden": 5, "first": inner}}])
    shown = {depth: numbers(picture(arch, look=Look(depth=depth))) for depth in range(4)}
    assert {0: [3], 1: [3, 5], 2: [3, 5, 7], 3: [3, 5, 7, 9]} == shown
    assert "21 neurons inside" in picture(arch, look=Look(depth=0)).said()
    folded = picture(arch, look=Look(collapse=frozenset(["a.first"])))
    assert ([3, 5], True) == (numbers(folded), "16 neurons inside" in folded.said())


def test_macs_colour_boxes_from_light_to_dark() -> None:
    """The most expensive leaf is darkest, a cheap one lightest, and the legend gives the steps."""
    net = [
        {"name": "big", "op": "conv", "width": 30},
        {"name": "small", "op": "conv", "width": 1, "kernel": 1},
    ]
    drawing = picture(built(net), look=Look(macs=True))
    heats = [style for box in drawing.boxes for style in box.styles if style.startswith("heat") and box.title]
    assert ["heat5", "heat0"] == heats
    assert 6 == sum("MACs" in line for line in drawing.said() if line.startswith("≥"))
    assert "heat" not in as_svg(drawn(built(net))).partition("</style>")[2]
