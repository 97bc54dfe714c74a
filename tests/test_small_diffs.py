"""The diff of a step is small: over random specs in odd formatting, numbers change where they stand."""

from __future__ import annotations

import re
from random import Random

import pytest

from nhnas.spec.apply import apply
from nhnas.spec.document import parse_document
from nhnas.spec.edits import AddNeurons, Edit, Promote, RemoveNeurons, Rename
from nhnas.spec.model import Architecture, Residual
from nhnas.spec.rewrite import rewrite
from nhnas.spec.structure import nodes, sites
from tests.laws.edit_lists import fits
from tests.random_specs import Pen, random_architecture, root_of, spelled_out

STATES = ("s" + "0" * 16, "s" + "1" * 16)


def written_down(seed: int, **more: object) -> tuple[Random, Architecture, bytes]:
    """A random architecture, as somebody may have written it."""
    rng = Random(seed)
    arch, pen = random_architecture(rng), Pen(rng)
    return rng, arch, pen.spec(spelled_out(rng, root_of(arch, **more)))


def resized(rng: Random, arch: Architecture) -> list[Edit]:
    """Some sites larger, some smaller, as a step leaves them."""
    edits: list[Edit] = []
    for key, site in sites(arch).items():
        choice = rng.random()
        if choice < 0.3:
            edits.append(
                AddNeurons(site=key, at=tuple(range(site.neurons, site.neurons + rng.randint(1, 9))))
            )
        elif choice < 0.5 and site.neurons > 2:
            edits.append(RemoveNeurons(site=key, at=(rng.randrange(site.neurons),)))
    return edits if fits(arch, edits) else []


def numbers(text: str) -> tuple[list[str], list[str]]:
    """What stands between the numbers, and the numbers."""
    pieces = re.split(r"(\d+)", text)
    return pieces[::2], pieces[1::2]


@pytest.mark.parametrize("block", range(4))
def test_a_resized_site_is_one_number_replaced(block: int) -> None:
    """Nothing but that number, `version` and `state` differs, wherever comments and blanks stand."""
    changes = 0
    for seed in range(50 * block, 50 * block + 50):
        rng, arch, text = written_down(seed, version=3, state=STATES[0])
        edits = resized(rng, arch)
        written = rewrite(parse_document(text), apply(arch, edits), version=4, state=STATES[1])
        before, after = numbers(text.decode()), numbers(written.decode())
        assert before[0] == after[0], seed
        different = sum(a != b for a, b in zip(before[1], after[1], strict=True))
        assert len({edit.site for edit in edits}) + 2 == different, seed  # type: ignore[union-attr]
        changes += len(edits)
    assert changes > 50


@pytest.mark.parametrize("block", range(4))
def test_a_promotion_takes_no_line_away(block: int) -> None:
    """Lines come, or the line of a node in braces grows; all others stay as they are, in their order."""
    grown = 0
    for seed in range(50 * block, 50 * block + 50):
        rng, arch, text = written_down(seed)
        plain = [node.path for node in nodes(arch) if node.residual is None and node.path.count(".") < 3]
        edit = Promote(path=rng.choice(plain), residual=Residual(hidden=0)) if plain else None
        if edit is None or not fits(arch, edit):
            continue
        old, new = (
            text.decode().splitlines(),
            rewrite(parse_document(text), apply(arch, edit)).decode().splitlines(),
        )
        missing = [line for line in old if line not in new]
        assert len(missing) <= 1, seed
        assert len(new) - len(old) in (0, 1, 2, 3), seed
        grown += 1
    assert grown > 30


@pytest.mark.parametrize("block", range(4))
def test_a_renamed_layer_changes_its_name_alone(block: int) -> None:
    """Its comments and everything in it stay."""
    renamed = 0
    for seed in range(50 * block, 50 * block + 50):
        rng, arch, text = written_down(seed)
        edit = Rename(old=rng.choice(arch.net).name, new="quite_another")
        old, new = (
            text.decode().splitlines(),
            rewrite(parse_document(text), apply(arch, edit)).decode().splitlines(),
        )
        assert len(old) == len(new), seed
        (pair,) = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert "quite_another" in pair[1]
        renamed += 1
    assert renamed == 50


def test_renamed_from_takes_its_own_text_away() -> None:
    """When the version is saved the key goes, in either style, and its neighbours' comments stay."""
    for text in (
        "  - name: a   # one\n    renamed_from: b   # two\n    op: dense   # three\n    width: 2\n",
        "  - {name: a, renamed_from: b, op: dense, width: 2}   # one two three\n",
    ):
        spec = f"format: 1\nname: x\ninput: [2]\nnet:\n{text}".encode()
        document = parse_document(spec)
        (layer,) = document.architecture.net
        bare = document.architecture.model_copy(
            update={"net": (layer.model_copy(update={"renamed_from": None}),)}
        )
        written = rewrite(document, bare).decode()
        assert "renamed_from" not in written
        assert all(word in written for word in ("one", "two", "three", "name: a", "op: dense"))
