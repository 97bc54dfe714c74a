"""Sites that cannot grow or shrink for a while, or must never be emptied."""

from __future__ import annotations

from pathlib import Path

import pytest

from nhnas.compiler.place import store_folder
from nhnas.compiler.store import load_snapshot
from nhnas.planning import plan_spec
from nhnas.spec.document import read_document
from nhnas.spec.edits import RemoveNeurons
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")

ALONE = """\
format: 1
name: neurons alone
input: [2]
net:
  - {name: a, op: dense, shortcut: identity, residual: {hidden: 3}}
data: {dataset: "mydata:points"}
train: {batch: 8, deterministic: true}
search: {add: 2, add_to_remove: 0.2, threshold_max: 100.0, max_epochs: 1, fade_epochs: 1, settle_epochs: 0}
"""


def importances(spec: Path) -> dict[str, list[float]]:
    """By site, as the last version keeps them."""
    document = read_document(spec)
    snapshot = load_snapshot(store_folder(spec), str(document.state))
    found: dict[str, list[float]] = snapshot.state["exact"]["importance"]
    return found


def test_what_was_measured_before_a_site_was_fixed_is_kept(tmp_path: Path) -> None:
    """Opened again and made smaller by hand, the site gives up its least important neuron, not its last."""
    spec = tiny.make(tmp_path / "work")
    tiny.step(spec)
    before = importances(spec)["block.hidden"]
    tiny.edit(spec, "    residual:\n", "    residual:\n      fixed: true\n")
    tiny.step(spec)
    assert before == importances(spec)["block.hidden"]
    tiny.edit(spec, "      fixed: true\n", "")
    tiny.edit(spec, f"hidden: {len(before)}", f"hidden: {len(before) - 1}")
    least = min(range(len(before)), key=lambda n: (before[n], -n))
    assert len(before) - 1 != least
    (edit,) = (edit for edit in plan_spec(spec).edits if isinstance(edit, RemoveNeurons))
    assert ("block.hidden", (least,)) == (edit.site, edit.at)


def test_neurons_that_are_all_there_is_do_not_all_go(tmp_path: Path) -> None:
    """Of identities alone a network without neurons would have no weights: one neuron stays."""
    spec = tiny.make(tmp_path / "work", ALONE)
    for _ in range(2):
        tiny.step(spec)
    assert "hidden: 1}" in spec.read_text()
