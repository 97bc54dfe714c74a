"""Laws of the merge over random specs, written down as nobody would but anybody may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.git_merge import text_merge
from nhnas.spec.apply import apply
from nhnas.spec.document import Document, parse_document
from nhnas.spec.emit import minimal_net
from nhnas.spec.merge import merge
from nhnas.spec.merge_meaning import root_of
from nhnas.spec.merge_text import remarks, written
from nhnas.spec.model import Architecture
from nhnas.spec.renames import renames
from nhnas.spec.verify import problems
from tests.laws.architectures import random_architecture as law_architecture
from tests.laws.edit_lists import random_edits
from tests.merging import chosen, read
from tests.random_specs import Pen, random_architecture, random_residual, spelled_out

SETTINGS: dict[str, dict[str, list[Any]]] = {
    "data": {"val": [0.1, 0.2], "root": ["d", "e f"]},
    "train": {"lr": [0.01, 0.5], "batch": [1, 32]},
    "search": {"add": [1, 2], "max_epochs": [3, 4]},
}


def grown(rng: Random, arch: Architecture, places: list[int]) -> Architecture:
    """The architecture with changes of the layers at some places, sound."""
    while True:
        net = minimal_net(arch)
        for at in places:
            _grow(rng, net[at])
        drop = [at for at in places if net[at]["op"] == "activation" and rng.random() < 0.3]
        found = Architecture.model_validate(
            {"input": list(arch.input), "net": [layer for n, layer in enumerate(net) if n not in drop]}
        )
        if not problems(found):
            return found


def _grow(rng: Random, layer: dict[str, Any]) -> None:
    if layer["op"] == "activation":
        layer["act"] = rng.choice(["relu", "gelu", "silu", "tanh"])
    elif layer["op"] == "dropout":
        layer["p"] = rng.choice([0.1, 0.2, 0.3])
    elif layer["op"] == "conv":
        if "width" in layer:
            layer["width"] += rng.randint(0, 9)
        if rng.random() < 0.3:
            layer["note"] = rng.choice(["x # y", "it's", "猫"])
        if "residual" not in layer or (layer.get("shortcut") is not False and rng.random() < 0.2):
            layer["residual"] = random_residual(rng, 1)
        elif layer["residual"]["hidden"]:
            layer["residual"]["hidden"] += rng.randint(0, 9)


def random_branches(rng: Random) -> list[bytes]:
    """Texts of a base and of two branches that changed other layers of it, each comments of its own."""
    arch = random_architecture(rng)
    body = list(range(len(arch.net) - 2))
    rng.shuffle(body)
    cut = rng.randint(0, len(body))
    nets = [minimal_net(grown(rng, arch, sorted(places))) for places in ((), body[:cut], body[cut:])]
    pen, lines = rng.random(), []
    for n, net in enumerate(nets):
        root = {"format": 1, "name": "x", "version": n, "input": list(arch.input), "net": net}
        lines.append(Pen(Random(pen)).spec(root))
    return lines


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_branches_that_changed_other_layers_merge_to_both_changes_in_any_order(seed: int) -> None:
    """For odd but legal texts: both changes are in, the order of the branches does not matter for the net."""
    rng = Random(seed)
    base, ours, theirs = (read(text) for text in random_branches(rng))
    there, back = merge(base, ours, theirs, text_merge), merge(base, theirs, ours, text_merge)
    texts = [root_of(document)["net"] for document in (base, ours, theirs)]
    before, mine, other = ({layer["name"]: layer for layer in net} for net in texts)
    expected = [
        mine[name] if mine.get(name) != layer else other[name]
        for name, layer in before.items()
        if name in mine and name in other
    ]
    for found in (there, back):
        if found.clean:
            assert expected == root_of(read(found.text))["net"]
        else:  # only comments, of which each text has its own
            assert () == found.conflicts
            assert expected == root_of(read(chosen(found.text, 0)))["net"]


@given(st.integers(0, 10**9))
@settings(max_examples=40)
def test_a_branch_that_did_nothing_or_the_same_changes_not_a_byte(seed: int) -> None:
    """merge(base, a, base) == merge(base, base, a) == merge(base, a, a) == a."""
    base, ours, _ = (read(text) for text in random_branches(Random(seed)))
    for pair in ((ours, base), (base, ours), (ours, ours)):
        found = merge(base, *pair, text_merge)
        assert (ours.text, True) == (found.text, found.clean)


def random_side(rng: Random, base: Document, tag: str) -> Document:
    """A branch: edits of all kinds, settings, another state, and comments of its own."""
    edits = random_edits(rng, base.architecture) if rng.random() < 0.9 else ()
    root = root_of(base) | {"net": minimal_net(apply(base.architecture, edits))}
    if rng.random() < 0.6:
        section = rng.choice(list(SETTINGS))
        key = rng.choice(list(SETTINGS[section]))
        root[section] = root[section] | {key: rng.choice(SETTINGS[section][key])}
    if rng.random() < 0.7:
        root |= {"version": base.version + 1, "state": f"s{rng.getrandbits(64):016x}"}
    document = parse_document(written(base, root))
    for n in range(rng.choice((0, 0, 1, 2, 3))):
        document = _with_comment(rng, document, f"# {tag}{n}")
    return document


def _with_comment(rng: Random, document: Document, comment: str) -> Document:
    """On a line of its own, or behind one, where that is no part of a text in quotes."""
    lines = document.text.decode().splitlines(keepends=True)
    at = rng.randrange(len(lines) - 1)  # the last line may have no end
    body = lines[at].rstrip("\r\n")
    end = lines[at][len(body) :]
    margin = " " * (len(body) - len(body.lstrip(" ")))
    lines[at] = rng.choice((f"{body}  {comment}{end}", f"{margin}{comment}{end}{lines[at]}"))
    found = parse_document("".join(lines).encode())
    grew = remarks(found) == remarks(document) + Counter([comment])
    return found if grew and root_of(found) == root_of(document) else document


def random_branching(rng: Random) -> tuple[Document, Document, Document]:
    """A base, trained or not, and two branches of it."""
    arch = random_architecture(rng) if rng.random() < 0.6 else law_architecture(rng)
    root: dict[str, Any] = {"format": 1, "name": "x", "input": list(arch.input), "net": minimal_net(arch)}
    root |= {"version": 3, "state": "s" + "0" * 16} if rng.random() < 0.7 else {}
    root |= {"train": {"lr": 0.1, "batch": 7}} if rng.random() < 0.5 else {}
    base = read(Pen(rng).spec(spelled_out(rng, root)))
    return base, random_side(rng, base, "a"), random_side(rng, base, "b")


def values(document: Document) -> dict[tuple[str, ...], Any]:
    """Every value by its path, a layer by its name; what is empty is absent."""
    root = root_of(document)
    layers = {layer["name"]: layer for layer in root["net"]}
    del root["version"], root["state"]
    return dict(_leaves(root | {"net": layers}, ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, below in value.items():
        yield from _leaves(below, (*path, key))


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_whatever_both_did_the_text_is_a_spec_with_both_or_has_a_conflict(seed: int) -> None:
    """Slow reference: each value by itself. Either branch may be ours; no comment is lost without a word."""
    base, ours, theirs = random_branching(Random(seed))
    found, back = merge(base, ours, theirs, text_merge), merge(base, theirs, ours, text_merge)
    assert found.clean == back.clean == (b"<<<<<<<" not in found.text)
    texts = [found.text] if found.clean else [chosen(found.text, side) for side in (0, 1)]
    results = [read(text) for text in texts]
    renamed = any(renames(base.architecture, side.architecture) for side in (ours, theirs))
    if found.clean:
        assert () == found.conflicts
        assert results[0].architecture == read(back.text).architecture
        assert (results[0].version, results[0].state) in [(x.version, x.state) for x in (ours, theirs)]
        _check_comments([remarks(x) for x in (base, ours, theirs, results[0])], Counter(found.lost))
    if not renamed and found.reason is None:
        for side, result in enumerate(results):
            _check_values([values(x) for x in (base, ours, theirs, result)], found.clean, side)


def _check_comments(said: list[Counter[str]], lost: Counter[str]) -> None:
    base, ours, theirs, result = said
    for text in ours | theirs:
        counts = {ours[text], theirs[text]}
        expected = max(counts - {base[text]} or counts)
        assert expected <= result[text] + lost[text], text


def _check_values(all_values: list[dict[tuple[str, ...], Any]], clean: bool, side: int) -> None:
    """A value that one side changed is that side's; one that both changed needs a conflict."""
    base, ours, theirs, result = all_values
    contested = set()
    for path in base.keys() | ours.keys() | theirs.keys():
        before, mine, other = (found.get(path) for found in (base, ours, theirs))
        if before not in (mine, other) and mine != other:
            contested.add(path[:2])
            assert not clean, path
    for path in base.keys() | ours.keys() | theirs.keys() | result.keys():
        before, mine, other = (found.get(path) for found in (base, ours, theirs))
        if clean:
            assert (mine if other == before else other) == result.get(path), path
        elif path[:2] not in contested and mine == other:
            assert mine == result.get(path), (path, side)
