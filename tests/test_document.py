"""Reading a spec: what is accepted, what it means, and every error in one pass."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nhnas.spec.config import Data, Search, Train
from nhnas.spec.document import parse_document, read_document, search_at
from nhnas.spec.errors import InputError
from nhnas.spec.first_line import FIRST_LINE
from nhnas.spec.model import Architecture, Conv, Dense, GlobalAvgPool, Node, Residual
from nhnas.spec.new_document import new_document
from nhnas.spec.scalars import resolve, scalar_text
from nhnas.spec.upgrade import upgrade
from nhnas.spec.yaml_tree import parse_yaml, plain

DESIGN = """\
# yaml-language-server: $schema=./nhnas.schema.json
format: 1                     # of this file
name: cifar10
version: 12
state: s3f9c2ab41d7e5c60      # the snapshot
input: [3, 32, 32]            # or [features]
net:
  - {name: stem, op: conv, kernel: 3, width: 26}
  - name: block1
    op: conv
    width: 106                # neurons
    residual:                 # present
      hidden: 150
      first: {residual: {hidden: 71}}
      second: {residual: {hidden: 51}}
  - {name: block2, op: conv, stride: 2, width: 60, residual: {hidden: 0}}
  - {name: pool, op: global_avg_pool}
  - {name: head, op: dense, width: 10}
data: {dataset: cifar10, root: data, augment: [crop, flip]}
train: {optimizer: adam, lr: 1.0e-3, batch: 128, seed: 0}
search: {add: 50, add_fraction: 0.07, add_to_remove: 2.0, min_epochs: 1, max_epochs: 10, fade_epochs: 2}
"""

FAULTY = """\
format: 1
name: 12
version: "1"
state: abc
input: [3, 32, 32.0]
net:
  - {name: stem, op: conv, kernel: 4, width: "26"}
  - name: block1
    op: conv
    width: 106
    hidden: 3
    residual:
      hiden: 150
      act: rellu
      scale: 2
      first: {residual: {hidden: true}}
      second: 4
  - {name: block1, op: cnv}
  - {name: bare}
  - {name: w, op: dense, width: 3, shortcut: idnetity}
  - {name: v, op: dense, width: 010, shortcut: {kernel: 3, nrm: batch}}
  - 5
lr: 3
trian: {}
train: {lr: true, btach: 3, betas: [0.9], momentum: 1}
search:
  policy: auto
  target: {a: 1}
  schedule:
    - {until: 3, add: 4, lr: 1e-3}
    - {until: 2, ad: 4, lr: "1"}
    - {schedule: 3, promote: x}
    - 4
"""
OPS = "conv, dense, activation, max_pool, avg_pool, global_avg_pool, flatten"
EXPECTED = f"""\
2:7: name: expected text, not 12; put it in quotes
3:10: version: expected a whole number, not the text '1'; remove the quotes
4:8: state: expected s and 16 hex digits, not 'abc'; remove it to start untrained
5:16: input[2]: expected a whole number, not 32.0
7:36: stem.kernel: a kernel is odd, so that padding can be (kernel-1)/2; not 4
7:46: stem.width: expected a whole number, not the text '26'; remove the quotes
11:5: block1.hidden: unknown key; it belongs inside residual
13:7: block1.residual.hiden: unknown key; did you mean hidden?
14:12: block1.residual.act: expected relu, gelu, silu or tanh, not the text 'rellu'; did you mean relu?
15:14: block1.residual.scale: scale: 2, the U-Net form, is not supported yet; remove it
16:34: block1.residual.first.residual.hidden: expected a whole number, not true
17:15: block1.residual.second: expected keys and values, not 4
18:12: block1.name: the name 'block1' is taken by layer 2 of net
18:24: block1.op: expected {OPS} or dropout, not the text 'cnv'; did you mean conv?
19:5: bare: op is missing; expected one of {OPS}, dropout
20:46: w.shortcut: expected true, false, identity or {{kernel, norm, init}}, not the text 'idnetity'; \
did you mean identity?
21:33: v.width: expected a whole number, not the text '010'; write it without the leading zero
21:60: v.shortcut.nrm: unknown key; did you mean norm?
22:5: net[6]: expected a layer (name, op, …), not 5
23:1: lr: unknown key; it belongs inside train
24:1: trian: unknown key; did you mean train?
25:13: train.lr: expected a number, not true
25:19: train.btach: unknown key; did you mean batch?
25:36: train.betas: entry 2 is missing
25:53: train.momentum: expected less than 1.0, not 1
28:12: search.target.a: unknown key; expected one of params, macs, accuracy
31:15: search.schedule[1].until: expected a whole number of epochs, more than 3
31:18: search.schedule[1].ad: unknown key; did you mean add?
31:29: search.schedule[1].lr: expected a number, not the text '1'; remove the quotes
32:7: search.schedule[2]: until is missing: the epoch up to which this entry holds
32:18: search.schedule[2].schedule: schedule cannot be scheduled
32:30: search.schedule[2].promote: expected auto or authors, not the text 'x'
33:7: search.schedule[3]: expected keys and values, not 4
"""


def errors_of(text: str) -> list[str]:
    """Error lines without the file's name."""
    with pytest.raises(InputError) as caught:
        parse_document(text.encode(), Path("spec.yaml"))
    return [line.removeprefix("spec.yaml:") for line in str(caught.value).splitlines()]


def test_the_example_of_the_design_says_what_it_says(tmp_path: Path) -> None:
    """Every key of the file arrives where it belongs, and the text is kept."""
    path = tmp_path / "spec.yaml"
    path.write_bytes(DESIGN.encode())
    document = read_document(path)
    deep = Residual(
        hidden=150,
        first=Node(residual=Residual(hidden=71)),
        second=Node(residual=Residual(hidden=51)),
    )
    net = (
        Conv(name="stem", kernel=3, width=26),
        Conv(name="block1", width=106, residual=deep),
        Conv(name="block2", stride=2, width=60, residual=Residual(hidden=0)),
        GlobalAvgPool(name="pool"),
        Dense(name="head", width=10),
    )
    assert Architecture(input=(3, 32, 32), net=net) == document.architecture
    assert ("cifar10", 12, "s3f9c2ab41d7e5c60") == (document.name, document.version, document.state)
    assert Data(dataset="cifar10", root="data", augment=("crop", "flip")) == document.data
    assert (Train(), Search()) == (document.train, document.search)
    assert (path, DESIGN.encode(), 1) == (document.path, document.text, document.format)


def test_all_errors_come_in_one_pass_with_exact_positions() -> None:
    """One line each, in the order of the file, without consequences of other errors."""
    assert EXPECTED.splitlines() == errors_of(FAULTY)


def test_a_misspelled_key_does_not_hide_errors_of_shape() -> None:
    """The rest is understood as if the key had been spelled right."""
    text = DESIGN.replace("width: 106", "widht: 106").replace("hidden: 150", "hiden: 150")
    text = text.replace("  - {name: pool, op: global_avg_pool}\n", "")
    assert [
        "11:5: block1.widht: unknown key; did you mean width?",
        "13:7: block1.residual.hiden: unknown key; did you mean hidden?",
        "17:22: head.op: dense reads features, not a map [60, 16, 16]; flatten or pool first",
    ] == errors_of(text)


def test_a_key_with_blanks_around_it_is_told_in_quotes() -> None:
    """Else the line would say that `input` is unknown and ask whether `input` was meant."""
    text = 'format: 1\nname: x\n" input": [2]\nnet: [{name: "  ", op: dense, width: 2, "": 3}]\n'
    options = "kernel, norm, shortcut, residual, note, name, renamed_from, width, act, fixed, op"
    assert [
        "3:1: ' input': unknown key; did you mean input?",
        "4:14: '  '.name: a name is any text without '.', '/' and control characters",
        f"4:41: '  '.'': unknown key; expected one of {options}",
    ] == errors_of(text)


def test_missing_keys_are_named() -> None:
    """What a file must have is said at its beginning."""
    missing = ["2:1: format is missing", "2:1: input is missing", "2:1: net is missing"]
    assert missing == sorted(errors_of("\nname: x\n"))


def test_an_empty_or_wrong_net_is_explained() -> None:
    """A chain needs layers, and at least one with weights."""
    head = "format: 1\nname: x\ninput: [2]\n"
    assert ["4:6: net: expected 1 or more entries, not 0"] == errors_of(head + "net: []\n")
    assert ["4:6: net: expected a list, not keys and values"] == errors_of(head + "net: {}\n")
    assert ["5:5: net[0]: name is missing"] == errors_of(head + "net:\n  - {op: dense, width: 2}\n")
    no_weights = "net: [{name: a, op: activation, act: relu}]\n"
    assert ["4:6: net: no layer has weights; add a conv or dense layer"] == errors_of(head + no_weights)
    empty = "net: [{name: a, op: dense, shortcut: identity, residual: {hidden: %d}}]\n"
    told = "4:6: net: no layer has weights; add a conv or dense layer; an identity without neurons has none"
    assert [told] == errors_of(head + empty % 0)
    assert "a" == parse_document((head + empty % 1).encode()).architecture.net[0].name


def test_an_identity_cannot_follow_a_flattened_input() -> None:
    """One neuron of the data is many features there; a matrix between makes neurons of them."""
    head = "format: 1\nname: x\ninput: [1, 3, 3]\nnet:\n  - {name: flat, op: flatten}\n"
    block = "  - {name: a, op: dense, shortcut: identity, residual: {hidden: 2}}\n"
    told = "6:36: a.shortcut: an identity cannot continue a flattened map; put a dense layer before"
    assert [told] == errors_of(head + block)
    between = "  - {name: in, op: dense, width: 2}\n"
    assert 3 == len(parse_document((head + between + block).encode()).architecture.net)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("-0", 0), ("9" * 18, 10**18 - 1)],
        *[("1.5", 1.5), ("1e-3", 0.001), ("1.0e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("1.", 1.0)],
        *[
            (".inf", math.inf),
            ("-.INF", -math.inf),
            ("true", True),
            ("False", False),
            ("~", None),
            ("", None),
        ],
        *[
            ("010", "010"),
            ("0x1F", "0x1F"),
            ("1_000", "1_000"),
            ("yes", "yes"),
            ("off", "off"),
            ("tRue", "tRue"),
        ],
        *[
            ("2020-01-01", "2020-01-01"),
            ("1:30", "1:30"),
            ("00.5", "00.5"),
            ("1e", "1e"),
            (".", "."),
            ("٣", "٣"),
        ],
    ],
)
def test_plain_scalars_follow_the_core_schema_strictly(text: str, value: object) -> None:
    """Numbers that other readers take otherwise are text."""
    found = resolve(text)
    assert (type(value), value) == (type(found), found)


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        st.sampled_from(["yes", "null", "12", "1e5", "010", "a b", "a: b", "#", "- a", "x\u2028y", "\ufeff"]),
        st.booleans(),
        st.none(),
        st.integers(-(10**18) + 1, 10**18 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.booleans(),
)
def test_every_scalar_reads_back_as_it_was_written(value: str | bool | float | None, quoted: bool) -> None:
    """In block style, in a list and as a key's value."""
    text = scalar_text(value, quoted)
    found = plain(parse_yaml(f"a: {text}\nb: [{text}, {{c: {text}}}]\n".encode())[1])
    assert {"a": value, "b": [value, {"c": value}]} == found
    assert type(value) is type(found["a"])


def test_a_schedule_holds_until_its_epochs_are_over() -> None:
    """The first entry whose end is not reached wins; after the last the base settings hold."""
    schedule = "schedule: [{until: 3, add: 5, lr: 0.1}, {until: 6, promote: authors}]"
    text = DESIGN.replace("search: {add: 50,", f"search: {{{schedule}, add: 50,")
    document = parse_document(text.encode())
    found = [search_at(document, epoch) for epoch in (0, 2.9, 3, 5, 6, 100)]
    assert [5, 5, 50, 50, 50, 50] == [search.add for search, _ in found]
    assert [0.1, 0.1, 0.001, 0.001, 0.001, 0.001] == [train.lr for _, train in found]
    assert ["auto", "auto", "authors", "authors", "auto", "auto"] == [search.promote for search, _ in found]


def test_formats_are_upgraded_step_by_step() -> None:
    """Each step turns one format into the next, and the number says so."""
    steps = {1: lambda d: {**d, "b": d["a"] + 1}, 2: lambda d: {**d, "c": d["b"] + 1}}
    data = {"format": 1, "a": 1}
    assert {"format": 3, "a": 1, "b": 2, "c": 3} == upgrade(data, 1, 3, steps)
    assert {"format": 3, "a": 1} == upgrade({"format": 3, "a": 1}, 3, 3, steps)
    assert {"format": 1, "a": 1} == data


def test_a_format_from_the_future_is_reported_alone() -> None:
    """Its other keys may mean anything."""
    [line] = errors_of(FAULTY.replace("format: 1", "format: 2"))
    assert line == "1:9: format: format 2 is too new: this nhnas reads up to 1; update it"


def test_a_new_document_says_what_it_was_made_of() -> None:
    """Written and read again, with odd names and settings."""
    net = (
        Dense(name="it's: {odd} #1", width=3, note="a\nb", residual=Residual(hidden=0)),
        Dense(name="1", width=2),
    )
    arch = Architecture(input=(2,), net=net)
    settings = (
        Data(root="../x y"),
        Train(lr=1e-5, betas=(0.5, 0.9)),
        Search(schedule=({"until": 3, "add": 2},)),
    )
    document = parse_document(new_document("yes", arch, *settings, header=("one", "", "two")))
    assert ("yes", arch) == (document.name, document.architecture)
    assert settings == (document.data, document.train, document.search)
    assert document.text.startswith(f"# {FIRST_LINE}\n# one\n#\n# two\nformat: 1\n".encode())


@pytest.mark.parametrize(("first", "second", "at"), [(3, 3, 1), (0, 3, 0)])
def test_an_entry_of_a_schedule_that_never_holds_is_refused(first: int, second: int, at: int) -> None:
    """Each must last longer than the one before it, the first longer than nothing."""
    schedule = f"search: {{schedule: [{{until: {first}, add: 1}}, {{until: {second}, add: 2}}]}}"
    head = "format: 1\nname: x\ninput: [2]\nnet: [{name: d, op: dense, width: 2}]\n"
    message = f"search.schedule\\[{at}\\].until: expected a whole number of epochs, more than {first * at}$"
    with pytest.raises(InputError, match=message):
        parse_document(f"{head}{schedule}\n".encode())


def test_a_number_with_a_decimal_comma() -> None:
    """The line says how it is written."""
    (line,) = errors_of(
        DESIGN.replace("train: {optimizer: adam, lr: 1.0e-3, batch: 128, seed: 0}", "train:\n  lr: 0,005")
    )
    assert line.endswith("train.lr: expected a number, not the text '0,005'; write 0.005, with a point")


def test_a_file_that_is_no_yaml_by_its_name() -> None:
    """What is said about YAML's syntax comes with the question whether this is the file that was meant."""
    told = "aliases (**A**) are not read; write the value out; is this a spec? Its name has no .yaml"
    with pytest.raises(InputError) as caught:
        parse_document(b"**A** tool\n", Path("README.md"))
    assert f"README.md:1:1: {told}" == str(caught.value)
