"""`nhnas plan` and `nhnas apply`: what becomes of the weights when a person edits the net."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nhnas.application import apply_spec
from nhnas.base import load_base
from nhnas.command import Options
from nhnas.compiler.store import Snapshot, load_snapshot
from nhnas.edits_file import EditsFile, edits_yaml, read_edits
from nhnas.plan_text import as_text
from nhnas.planning import plan_spec, tensor_changes
from nhnas.spec.apply import apply
from nhnas.spec.document import read_document
from nhnas.spec.edits import AddNeurons, RemoveNeurons, Rename
from nhnas.spec.errors import BusyError, InputError
from tests import tiny
from tests.here import Here
from tests.laws.case import random_case
from tests.laws.checks import remapped
from tests.laws.tensors import numbered_tensors

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec at version 1, its block 4 + x wide."""
    path = tiny.make(tmp_path / "work")
    tiny.step(path)
    return path


@pytest.fixture
def here(spec: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands in the spec's folder."""
    monkeypatch.chdir(spec.parent)
    return Here(capfd)


def number(spec: Path, key: str) -> int:
    """What stands behind `width:` or `hidden:` of the block."""
    return int(spec.read_text().split(f"{key}: ")[1].split()[0])


def resize(spec: Path, key: str, by: int) -> None:
    """A person writes another number there."""
    old = number(spec, key)
    spec.write_text(spec.read_text().replace(f"{key}: {old}\n", f"{key}: {old + by}\n", 1))


def snapshot_of(spec: Path) -> Snapshot:
    """The snapshot that the file names."""
    return load_snapshot(spec.parent / ".nhnas", read_document(spec).state or "")


def applied(spec: Path, edits: EditsFile | None = None) -> Snapshot:
    """Apply, and the one version that it saved."""
    saved = apply_spec(spec, edits, Options())
    assert [read_document(spec).state] == [one.state for one in saved]
    return snapshot_of(spec)


def test_kept_new_and_dropped_cells_of_every_tensor() -> None:
    """Against 150 random edit lists carried out on networks in which every cell holds another number."""
    lost = 0
    for seed in range(150):
        case = random_case(seed)
        old = numbered_tensors(case.arch)
        _, _, tensors = remapped(case, old)
        homes = {float(value): name for name, t in old.items() for value in t.reshape(-1).tolist()}
        changes = {change.name: change for change in tensor_changes(case.arch, case.edits, old)}
        found = {name: changes[name] for name in tensors}
        for name, tensor in tensors.items():
            values = tensor.reshape(-1).tolist()
            kept = [value for value in values if value in homes]
            change = found[name]
            assert (len(kept), len(values) - len(kept)) == (change.kept, change.added), (seed, name)
            assert tuple(tensor.shape) == change.new
            assert {homes[value] for value in kept} <= {change.source}
        dropped = sum(change.dropped for change in changes.values())
        lost += dropped
        assert sum(t.numel() for t in old.values()) == dropped + sum(c.kept for c in found.values())
    assert lost > 1000


def test_growth_preserves_the_function_and_plan_says_so(here: Here, spec: Path) -> None:
    """Neurons that a person adds change nothing; the tensors that grow are listed with their shapes."""
    width = number(spec, "width")
    resize(spec, "width", 2)
    code, out, err = here("plan", "spec.yaml")
    assert (0, "") == (code, err)
    assert f"block\n  + width {width} → {width + 2} (+2)\n" in out
    assert "function: preserved (largest |Δoutput| " in out
    assert "over 256 random inputs (plan never imports a data set))" in out
    row = next(line for line in out.splitlines() if line.startswith("head.weight")).split("  ")
    cells = [cell.strip() for cell in row if cell.strip()]
    assert ["head.weight", f"[2, {width}]", f"[2, {width + 2}]", f"{2 * width}", "4", "0"] == cells


def test_shrinking_by_hand_says_by_how_much_the_output_moves(spec: Path) -> None:
    """Nothing fades: the largest change, as measured by hand, and how many predictions change."""
    resize(spec, "width", -3)
    plan = plan_spec(spec)
    assert plan.output is not None
    assert plan.output.preserved is False
    inputs = torch.randn(256, 2, generator=torch.Generator().manual_seed(0)).double()
    base = load_base(read_document(spec), spec)
    outputs = []
    for arch, weights in ((base.before, base.before_weights), (base.architecture, base.weights)):
        assert arch is not None
        outputs.append(two_layers(weights, inputs))
    assert pytest.approx((outputs[0] - outputs[1]).abs().max().item(), rel=1e-9) == plan.output.max_change
    assert (outputs[0].argmax(1) != outputs[1].argmax(1)).sum().item() == plan.output.changed
    assert "function: changes; largest |Δoutput|" in as_text(plan)


def two_layers(weights: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """The tiny network, written out: a residual block and a head without one."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    assert not [name for name in w if name.count(".") > 2], "nothing nested yet"
    hidden = torch.relu(inputs @ w["block.first.weight"].T + w["block.first.bias"])
    block = inputs @ w["block.weight"].T + hidden @ w["block.second.weight"].T + w["block.bias"]
    return block @ w["head.weight"].T + w["head.bias"]


def test_a_data_set_that_can_be_read_is_what_the_outputs_are_compared_over(tmp_path: Path) -> None:
    """Test samples, and the accuracy of these before and after."""
    text = tiny.DENSE.replace('"mydata:points"', "spirals").replace("batch: 8", "batch: 400")
    spec = tiny.make(tmp_path / "work", text)
    tiny.step(spec)
    resize(spec, "width", -2)
    plan = plan_spec(spec)
    assert plan.output is not None
    assert (256, "test samples") == (plan.output.samples, plan.output.inputs)
    assert plan.output.accuracy is not None
    assert "accuracy of these " in as_text(plan)


def test_outputs_of_another_shape_are_not_compared(spec: Path) -> None:
    """A head with more classes: everything else is kept."""
    tiny.edit(spec, "op: dense, width: 2", "op: dense, width: 3")
    plan = plan_spec(spec)
    assert plan.output is not None
    assert (None, None) == (plan.output.preserved, plan.output.max_change)
    assert "function: the outputs have another shape" in as_text(plan)


def test_plan_and_eval_write_nothing_and_import_nothing(here: Here, spec: Path) -> None:
    """Every file stays as it is; a data set that explodes on import does not explode in plan."""
    resize(spec, "width", 1)
    (spec.parent / "mydata.py").write_text("raise SystemExit('imported')\n")
    before = tiny.outcome(spec)
    for words in ((), ("--json",), ("--yaml",), ("--full",)):
        assert (0, "") == here("plan", "spec.yaml", *words)[::2]
    (spec.parent / "mydata.py").write_text(tiny.DATA.format(classes=2))
    assert 0 == here("eval", "spec.yaml")[0]
    assert before == tiny.outcome(spec)


def test_json_has_edits_tensors_output_and_totals(here: Here, spec: Path) -> None:
    """The documented keys; --exit-code tells whether there is something to carry over."""
    state = read_document(spec).state
    assert 0 == here("plan", "spec.yaml", "--exit-code")[0]
    resize(spec, "width", 1)
    code, out, _ = here("plan", "spec.yaml", "--json", "--exit-code")
    found = json.loads(out)
    assert 6 == code
    assert ["version", "state", "edits", "tensors", "output", "before", "after"] == list(found)
    assert (1, state) == (found["version"], found["state"])
    assert found["before"]["neurons"] + 1 == found["after"]["neurons"]
    assert ["add_neurons"] == [edit["kind"] for edit in found["edits"]]


def test_nothing_to_do(here: Here, spec: Path) -> None:
    """At the version's own net, and without any weights, plan and apply say so; no version is saved."""
    before = tiny.outcome(spec)
    assert "nothing to carry over" in here("plan", "spec.yaml")[1]
    assert (0, "spec.yaml: nothing to carry over\n", "") == here("apply", "spec.yaml")
    assert before == tiny.outcome(spec)
    spec.write_text(tiny.DENSE)
    assert "untrained" in here("plan", "spec.yaml")[1]
    assert (0, "spec.yaml: nothing to carry over\n", "") == here("apply", "spec.yaml")
    assert tiny.DENSE == spec.read_text()


def test_apply_saves_the_edited_net_as_a_version(spec: Path) -> None:
    """Weights and moments are those that every command would start from; comments and notes stay."""
    parent = snapshot_of(spec)
    resize(spec, "hidden", 2)
    base = load_base(read_document(spec), spec)
    text = spec.read_text()
    found = applied(spec)
    assert (2, parent.id, [], base.exact["epochs"]) == (
        found.version,
        found.parent,
        found.metrics,
        found.state["exact"]["epochs"],
    )
    for mine, theirs in ((found.weights, base.weights), (found.optimizer, base.optimizer)):
        assert mine.keys() >= theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    changed = [
        (a, b) for a, b in zip(text.splitlines(), spec.read_text().splitlines(), strict=True) if a != b
    ]
    assert [
        ("version: 1", "version: 2"),
        (f"state: {parent.id}", f"state: {found.id}"),
    ] == changed
    assert found.state["info"]["max_change"] == found.state["info"]["changes"][0]["max_change"]


def test_apply_again_changes_nothing(spec: Path) -> None:
    """The net is that of the version now."""
    resize(spec, "hidden", 2)
    applied(spec)
    before = tiny.outcome(spec)
    assert [] == apply_spec(spec, None, Options())
    assert before == tiny.outcome(spec)


def test_a_renamed_layer_takes_everything_along(spec: Path) -> None:
    """`renamed_from`, with other edits at once: weights, moments, importances; the key goes when saved."""
    before = snapshot_of(spec)
    tiny.edit(spec, "- name: block ", "- name: trunk\n    renamed_from: block ")
    resize(spec, "width", -1)
    plan = plan_spec(spec)
    assert ["rename", "remove_neurons"] == [edit.kind for edit in plan.edits]
    values = before.state["exact"]["importance"]["block.width"]
    gone = min(range(len(values)), key=lambda n: (values[n], -n))
    assert (gone,) == plan.edits[1].at  # type: ignore[union-attr]
    found = applied(spec)
    rest = [n for n in range(len(values)) if n != gone]
    assert torch.equal(before.weights["block.weight"][rest], found.weights["trunk.weight"])
    assert [values[n] for n in rest] == found.state["exact"]["importance"]["trunk.width"]
    assert "renamed_from" not in spec.read_text()
    assert "- name: trunk\n" in spec.read_text()
    assert "note: the way back" in spec.read_text()


def test_names_can_be_swapped(tmp_path: Path) -> None:
    """Two layers that take each other's name keep their own weights."""
    two = "  - {name: a, op: dense, width: 3}\n  - {name: b, op: dense, width: 3}\n  - {name: head"
    spec = tiny.make(tmp_path / "work", tiny.DENSE.replace("  - {name: head", two))
    tiny.train(spec, epochs=1)
    before = snapshot_of(spec)
    tiny.edit(spec, "{name: a,", "{name: x, renamed_from: a,")
    tiny.edit(spec, "{name: b,", "{name: a, renamed_from: b,")
    tiny.edit(spec, "{name: x,", "{name: b,")
    found = applied(spec)
    assert torch.equal(before.weights["b.weight"], found.weights["a.weight"])
    assert torch.equal(before.weights["a.weight"], found.weights["b.weight"])
    assert "renamed_from" not in spec.read_text()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("x\n    renamed_from: nope", "renamed_from: nope is no layer of s"),
        ("block\n    renamed_from: block", "spec.yaml:9:19: block.renamed_from: this is the layer's name"),
        ("x\n    renamed_from: head", "x.renamed_from: a layer 'head' is still there"),
        ("x\n    renamed_from: 3", "x.renamed_from: "),
    ],
)
def test_a_renaming_that_cannot_be_is_one_line(edit: str, message: str, here: Here, spec: Path) -> None:
    """With the place in the file; nothing is saved."""
    tiny.edit(spec, "- name: block ", f"- name: {edit} ")
    before = tiny.outcome(spec)
    code, out, err = here("apply", "spec.yaml")
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert message in err
    assert before == tiny.outcome(spec)


def test_a_layer_that_was_renamed_long_ago_may_still_say_so(spec: Path) -> None:
    """E.g. after a merge: the new name is there already, so there is nothing to do."""
    tiny.edit(spec, "- name: block ", "- name: block\n    renamed_from: earlier ")
    assert () == plan_spec(spec).edits


def test_commands_that_train_carry_over_first_and_say_so(here: Here, spec: Path) -> None:
    """step, run and train tell which edits of a person they took along, and how far the output moved."""
    for words in (("step",), ("run", "--steps", "1"), ("train", "--epochs", "1")):
        resize(spec, "hidden", 1)
        code, out, _ = here(words[0], "spec.yaml", *words[1:])
        assert 0 == code
        (line,) = [line for line in out.splitlines() if "carried the weights over" in line]
        assert "carried the weights over to your edits: block.hidden +1; largest |Δoutput| " in line


def test_a_plan_is_applied_exactly_or_refused(here: Here, spec: Path, tmp_path: Path) -> None:
    """It names state and net: after another edit, or at another version, it must be made again."""
    resize(spec, "width", -2)
    plan = tmp_path / "plan.yaml"
    plan.write_text(here("plan", "spec.yaml", "--yaml")[1])
    removed = read_edits(plan).edits[0]
    assert isinstance(removed, RemoveNeurons)
    other = tmp_path / "other.yaml"
    chosen = (removed.at[0], next(n for n in range(20) if n not in removed.at))
    other.write_text(
        edits_yaml([RemoveNeurons(site=removed.site, at=tuple(sorted(chosen)))], read_edits(plan).plan)
    )
    resize(spec, "hidden", 1)
    code, out, err = here("apply", "spec.yaml", str(plan))
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert "but the plan was made for version 1 (s" in err
    resize(spec, "hidden", -1)
    before = snapshot_of(spec)
    assert 0 == here("apply", "spec.yaml", str(other))[0]  # a person may choose other neurons in the plan
    rest = [n for n in range(len(before.weights["block.bias"])) if n not in chosen]
    assert torch.equal(before.weights["block.bias"][rest], snapshot_of(spec).weights["block.bias"])
    assert 2 == here("apply", "spec.yaml", str(plan))[0]


def test_edits_on_top_of_the_file(here: Here, spec: Path, tmp_path: Path) -> None:
    """What `diff --yaml` wrote is applied to file and weights; comments stay, a renamed one's too."""
    tiny.edit(spec, "# neurons grow here", "# grow")
    width = number(spec, "width")
    edits = tmp_path / "edits.yaml"
    edits.write_text(
        edits_yaml([Rename(old="block", new="x: y"), AddNeurons(site="x: y.width", at=(0, width + 1))])
    )
    before, document = snapshot_of(spec), read_document(spec)
    preview = here("plan", "spec.yaml", str(edits))[1]
    assert f"  + width {width} → {width + 2} (+2)" in preview
    assert "function: preserved" in preview
    code, _, err = here("apply", "spec.yaml", str(edits))
    assert (0, "") == (code, err)
    found = snapshot_of(spec)
    assert torch.equal(before.weights["block.weight"], found.weights["x: y.weight"][1:-1])
    expected = apply(document.architecture, read_edits(edits).edits)
    assert expected == read_document(spec).architecture
    assert '- name: "x: y"   # grow' in spec.read_text()
    assert "note: the way back" in spec.read_text()


def test_edits_of_an_untrained_file_change_the_file_alone(here: Here, spec: Path, tmp_path: Path) -> None:
    """There are no weights: no version is saved."""
    spec.write_text(tiny.DENSE)
    edits = tmp_path / "edits.yaml"
    edits.write_text(edits_yaml([AddNeurons(site="block.hidden", at=(3, 4))]))
    versions = len(list((spec.parent / ".nhnas" / "snapshots").iterdir()))
    expected = "spec.yaml: nothing to carry over; the edits are in the file\n"
    assert (0, expected, "") == here("apply", "spec.yaml", str(edits))
    assert tiny.DENSE.replace("hidden: 3", "hidden: 5") == spec.read_text()
    assert versions == len(list((spec.parent / ".nhnas" / "snapshots").iterdir()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty"),
        ("edits: 3", "expected format: 1"),
        ("format: 1\nedits: 3", ":2:8: expected a list of edits"),
        ("format: true\nedits: []", "expected format: 1"),
        ("format: 1\nedits: []\nx: 1", "expected the keys format, edits and perhaps plan"),
        ("format: 1\nedits:\n- {kind: add_neurons, site: block.hidden, at: [-1]}", ":3:3: no edit: "),
        ("format: 1\nedits:\n- {kind: explode}", ":3:3: no edit: "),
        ("format: 1\nedits:\n- 3", ":3:3: no edit: "),
        ("format: 1\nedits: []\nplan: 3", "plan must have the keys state, version and net"),
        ("format: 1\nedits: &a []", ":2:8: anchors"),
        ("format: 1\nedits:\n- {kind: add_neurons, site: nope.hidden, at: [0]}", "there is no layer 'nope'"),
        ("format: 1\nedits:\n- {kind: add_neurons, site: block.hidden, at: [99]}", "positions must rise"),
    ],
)
def test_edits_that_are_none_are_one_line(text: str, message: str, here: Here, spec: Path) -> None:
    """With file, line and column where there is one; nothing is changed."""
    edits = spec.parent / "edits.txt"
    edits.write_text(text)
    before = tiny.outcome(spec)
    code, out, err = here("apply", "spec.yaml", "edits.txt")
    assert (2, "", 1) == (code, out, err.count("\n")), err
    assert message in err
    assert before == tiny.outcome(spec)
    assert 2 == here("plan", "spec.yaml", "edits.txt")[0]
    for missing in ("nope", "n" * 300):
        code, _, err = here("apply", "spec.yaml", missing)
        assert (2, True) == (code, "no such file of edits" in err)
        assert 2 == here("gc", missing)[0]


def test_apply_waits_its_turn(spec: Path) -> None:
    """While another command holds the spec it leaves at once; an interrupted step comes first."""
    from nhnas.compiler.lock import hold

    resize(spec, "hidden", 1)
    with hold(spec.parent / ".nhnas", spec.name), pytest.raises(BusyError):
        apply_spec(spec, None, Options())
    with pytest.raises(BaseException, match="stopped"):
        tiny.step(spec, tiny.Counting(batch=2))
    with pytest.raises(InputError, match="was interrupted; go on with the same command, or --discard it"):
        apply_spec(spec, None, Options())
    assert 1 == len(apply_spec(spec, None, Options(discard=True)))


def test_a_kill_between_snapshot_and_file_loses_nothing(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command again ends in the same version."""
    import nhnas.commit as commit

    resize(spec, "hidden", 1)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commit, "replace_text", killed)
        with pytest.raises(KeyboardInterrupt):
            apply_spec(spec, None, Options())
    assert 1 == read_document(spec).version
    found = applied(spec)
    assert 2 == found.version
    assert 2 == len(list((spec.parent / ".nhnas" / "snapshots").iterdir()))


def test_reading_commands_download_nothing(here: Here, spec: Path) -> None:
    """`download: true` is for commands that train: eval says what is missing, plan takes random inputs."""
    tiny.edit(spec, '{dataset: "mydata:points"}', "{dataset: mnist, download: true}")
    resize(spec, "width", 1)
    code, _, err = here("eval", "spec.yaml")
    assert (2, True) == (code, "mnist is missing or incomplete" in err)
    assert "random inputs (data: mnist is missing or incomplete" in here("plan", "spec.yaml")[1]
    assert not (spec.parent / "data").exists()
