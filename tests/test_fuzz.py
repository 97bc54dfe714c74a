"""Specs after accidents, and odd little texts: read right or refused with a position, never anything else."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.spec.document import Document, parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.new_document import new_document
from nhnas.spec.notes import notes
from nhnas.spec.rewrite import rewrite
from nhnas.spec.yaml_nodes import UnsafeYaml
from nhnas.spec.yaml_plain import read_plain
from nhnas.spec.yaml_tree import decode, read_any
from tests.mutations import mutated, odd_text, random_spec

SEEDS = st.integers(0, 2**63)
TEMPLATES = sorted((Path(__file__).parent.parent / "cli" / "templates").glob("*.yaml"))
LINE = re.compile(r"spec\.yaml:[1-9]\d*:[1-9]\d*: \S.*")


def read_or_refused(text: bytes) -> Document | None:
    """The document, or None after each line of its error was found to be one with a position."""
    try:
        return parse_document(text, Path("spec.yaml"))
    except InputError as error:
        lines = str(error).splitlines()
    assert lines
    assert [] == [line for line in lines if not (LINE.fullmatch(line) and line.isprintable())]
    return None


def survives(text: bytes) -> None:
    """Refused, or kept byte for byte where nothing changes and said again in other words."""
    document = read_or_refused(text)
    if document is None:
        return
    arch = document.architecture
    assert text == rewrite(document, arch)
    again = parse_document(new_document(document.name, arch, document.data, document.train, document.search))
    assert (arch, notes(arch)) == (again.architecture, notes(again.architecture))
    assert (document.data, document.train, document.search) == (again.data, again.train, again.search)


@settings(max_examples=500)
@given(seed=SEEDS)
def test_a_mutated_spec_is_refused_with_positions_or_means_something(seed: int) -> None:
    """No exception but InputError; what is read can be written back, and written anew."""
    rng = Random(seed)
    survives(mutated(rng, random_spec(rng)))


def read_alike(text: str) -> None:
    """What the quick reader reads, ruamel reads the same way, positions included."""
    quick = read_plain(text)
    if quick is not None:
        assert quick == read_any(text)


@settings(max_examples=500)
@given(seed=SEEDS)
def test_the_quick_reader_sees_in_a_spec_what_ruamel_sees(seed: int) -> None:
    """Before and after accidents; it accepts nothing that ruamel refuses."""
    rng = Random(seed)
    text = random_spec(rng)
    for data in (text, mutated(rng, text)):
        try:
            decoded = decode(data)
        except UnsafeYaml:
            continue
        read_alike(decoded)


@settings(max_examples=1000)
@given(seed=SEEDS)
def test_the_quick_reader_sees_in_odd_little_texts_what_ruamel_sees(seed: int) -> None:
    """Indentation, dashes, colons, quotes, brackets and comments in every mixture."""
    read_alike(odd_text(Random(seed)))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_quick_reader_reads_the_templates(path: Path) -> None:
    """Else the speed would be gone, and nothing else would tell."""
    text = path.read_text()
    assert read_plain(text) is not None
    assert read_plain(text.replace("\n", "\r\n")) is not None


def test_many_odd_texts_are_read_by_both() -> None:
    """The comparison above compares something: of the texts that ruamel reads, many are read quickly."""
    quick = slow = 0
    for seed in range(1000):
        text = odd_text(Random(seed))
        try:
            read_any(text)
        except UnsafeYaml:
            continue
        slow += 1
        quick += read_plain(text) is not None
    assert slow > 100
    assert quick > 0.2 * slow
