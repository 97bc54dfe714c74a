"""The Python interface: what `import nhnas` gives, and that it is all there is to the command line."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import torch

import nhnas
from nhnas.commit import Saved
from nhnas.compiler.merged import merged
from nhnas.compiler.network import Network
from nhnas.compiler.store import load_snapshot
from nhnas.spec.apply import site_size
from nhnas.spec.canonical import bare
from nhnas.spec.document import read_document
from nhnas.spec.edits import AddNeurons
from nhnas.spec.errors import BusyError, InputError, Interrupted, StorageError, TrainingError
from tests import tiny

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def test_importing_it_imports_nothing_heavy() -> None:
    """`import nhnas` alone leaves torch, numpy and pydantic out; using edits still leaves torch out."""
    code = (
        "import sys, nhnas; first = {'torch', 'numpy', 'pydantic'} & sys.modules.keys();"
        "nhnas.diff, nhnas.apply, nhnas.Architecture; print(first, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set() False\n" == done.stdout


def test_a_folder_of_the_same_name_does_not_hide_it(tmp_path: Path) -> None:
    """As where a clone lies in the folder in which Python is started."""
    (tmp_path / "nhnas" / "cli").mkdir(parents=True)
    command = [sys.executable, "-c", "import nhnas; print(nhnas.load.__name__)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("load\n", "") == (done.stdout, done.stderr)


def test_every_name_is_there_typed_and_described() -> None:
    """All names of `__all__` have a docstring, and the functions types for everything."""
    for name in nhnas.__all__:
        thing = getattr(nhnas, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, name
            untyped = [
                p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty
            ]
            assert [] == untyped, name
    assert {"load", "build", "load_model", "diff", "apply", "step", "run", "train"} <= set(nhnas.__all__)
    assert (Path(inspect.getfile(nhnas)).parent / "py.typed").exists()


def test_no_module_takes_the_place_of_a_function(spec: Path) -> None:
    """Importing every module of the package leaves the interface as it was."""
    for module in pkgutil.walk_packages(nhnas.__path__, "nhnas."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert [] == [name for name in nhnas.__all__ if inspect.ismodule(getattr(nhnas, name))]
    assert [1, 2] == [saved.version for saved in (nhnas.step(spec), nhnas.step(spec)) if saved]


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="module 'nhnas' has no attribute 'steps'"):
        nhnas.steps  # noqa: B018


def test_load_gives_the_document(spec: Path) -> None:
    """Architecture, settings and the exact text; a broken file raises with all its errors."""
    document = nhnas.load(str(spec))
    assert (spec.read_bytes(), "points", 0, None) == (
        document.text,
        document.name,
        document.version,
        document.state,
    )
    assert (0.05, 8, "mydata:points") == (document.train.lr, document.search.add, document.data.dataset)
    spec.write_text("format: 1\nname: a\ninput: [2]\nnet: [{name: a, op: dens}]\ntrain: {lr: -1}\n")
    with pytest.raises(nhnas.NhnasError) as caught:
        nhnas.load(spec)
    assert 2 == len(str(caught.value).splitlines())


def test_build_diff_and_apply(spec: Path) -> None:
    """Edits are found and applied without a file; a module is built from an architecture and a seed."""
    old = nhnas.load(spec).architecture
    tiny.edit(spec, "hidden: 3", "hidden: 5")
    new = nhnas.load(spec).architecture
    edits = nhnas.diff(old, new)
    assert (AddNeurons(site="block.hidden", at=(3, 4)),) == edits
    assert new == nhnas.apply(old, edits) == nhnas.apply(old, edits[0])
    first, again, other = (nhnas.build(new, seed=seed) for seed in (1, 1, 2))
    assert isinstance(first, Network)
    assert (7, 2) == tuple(first(torch.zeros(7, 2)).shape)
    assert torch.equal(first.tensors()["block.weight"], again.tensors()["block.weight"])
    assert not torch.equal(first.tensors()["block.weight"], other.tensors()["block.weight"])
    rebuilt = nhnas.build(new, first.tensors())
    assert all(torch.equal(tensor, rebuilt.tensors()[name]) for name, tensor in first.tensors().items())


def test_load_model_is_the_trained_network_in_evaluation_mode(tmp_path: Path) -> None:
    """The weights of the snapshot, no dropout, batch norm at rest; `fresh` gives untrained ones."""
    spec = tiny.make(tmp_path / "work", tiny.CONV)
    saved = nhnas.step(spec)
    assert saved is not None
    before = tiny.outcome(spec)
    network = nhnas.load_model(spec)
    assert not any(module.training for module in network.modules())
    snapshot = load_snapshot(spec.parent / ".nhnas", saved.state)
    assert network.tensors().keys() == snapshot.weights.keys()
    assert all(torch.equal(snapshot.weights[name], t) for name, t in network.tensors().items())
    images = torch.randn(6, 2, 5, 5)
    assert torch.equal(network(images), network(images))
    assert not torch.equal(network(images), nhnas.load_model(spec, fresh=True)(images))
    assert before == tiny.outcome(spec)


def test_load_model_carries_hand_edits_over_in_memory(spec: Path) -> None:
    """Neurons that a person added are there and change nothing; no file is written."""
    nhnas.step(spec)
    points = torch.rand(9, 2)
    before = nhnas.load_model(spec)(points)
    document = nhnas.load(spec)
    wider = nhnas.apply(document.architecture, AddNeurons(site="block.hidden", at=(0, 1)))
    hidden = wider.net[0].residual.hidden  # type: ignore[union-attr]
    tiny.edit(spec, f"hidden: {hidden - 2}", f"hidden: {hidden}")
    files = tiny.outcome(spec)
    network = nhnas.load_model(spec)
    assert bare(wider) == network.arch
    assert torch.allclose(before, network(points), atol=1e-6)
    assert files == tiny.outcome(spec)


def test_step_run_and_train_save_versions(spec: Path) -> None:
    """Each returns what it saved; a version that is there already gives None, or nothing."""
    first = nhnas.step(spec)
    assert isinstance(first, Saved)
    assert (1, spec, {"loss", "accuracy"}) == (first.version, first.path, set(first.test))
    assert nhnas.step(spec, to=1) is None
    assert [2, 3] == [saved.version for saved in nhnas.run(spec, steps=2)]
    assert [] == list(nhnas.run(spec, to=3))
    trained = nhnas.train(spec, epochs=1)
    assert (4, []) == (trained.version, trained.edits)
    assert trained.state == nhnas.load(spec).state


def test_a_report_hears_of_it(spec: Path) -> None:
    """Lines, epochs and batches; without a report nothing is printed."""
    report = tiny.Counting()
    nhnas.step(spec, report=report)
    assert 12 == report.batches
    *lines, last = report.lines
    assert ["spec.yaml: version 1", "grow", "fade"] == [line.partition(": block")[0] for line in lines]
    assert last.startswith("version 1 (")


def test_nothing_is_printed(spec: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The interface is silent."""
    nhnas.step(spec)
    assert ("", "") == capfd.readouterr()


def test_the_probe_has_as_many_samples_as_asked_for(spec: Path) -> None:
    """`probe_samples` of the 40 test points; more than there are is all of them."""
    for asked, used in ((7, 7), (1000, 40)):
        saved = nhnas.step(spec, probe_samples=asked)
        assert saved is not None
        info = load_snapshot(spec.parent / ".nhnas", saved.state).state["info"]
        assert {used} == {change["samples"] for change in info["changes"]}


def test_all_errors_share_a_base_and_have_their_codes() -> None:
    """`except nhnas.NhnasError` catches what is not our bug."""
    codes = {InputError: 2, BusyError: 3, TrainingError: 4, StorageError: 5}
    assert codes == {kind: kind.exit_code for kind in codes}
    assert all(issubclass(kind, nhnas.NhnasError) for kind in (*codes, Interrupted))
    assert [130, 143] == [Interrupted("", number).exit_code for number in (2, 15)]


def test_the_types_of_the_interface_resolve() -> None:
    """`step` is said to return what it returns."""
    names = {"Saved": Saved, "Report": object, "Network": Network}
    assert typing.get_type_hints(nhnas.step, localns=names)["return"] == Saved | None


def test_torch_is_left_as_it_was(spec: Path) -> None:
    """Threads and random numbers are the caller's; under `inference_mode` a step is the same step."""
    text = read_document(spec).text.decode().replace("train: {", "train: {threads: 1, ")
    other = tiny.make(spec.parent / "other", text)
    spec.write_text(text)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        state = torch.random.get_rng_state()
        first = nhnas.step(spec)
        with torch.inference_mode():
            second = nhnas.step(other)
            assert nhnas.evaluate(spec) == nhnas.evaluate(other)
            assert torch.is_inference_mode_enabled()
        assert 2 == torch.get_num_threads()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first is not None
    assert second is not None
    assert first.state == second.state


def test_what_a_function_for_data_does_to_torch_ends_with_the_command(spec: Path) -> None:
    """It may draw random numbers and set threads: evaluate and train leave both as they were."""
    module = spec.parent / "mydata.py"
    module.write_text(f"{module.read_text()}\ntorch.manual_seed(3)\ntorch.set_num_threads(1)\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for act in (lambda: nhnas.train(spec, epochs=1), lambda: nhnas.evaluate(spec)):
            state = torch.random.get_rng_state()
            act()
            assert torch.equal(state, torch.random.get_rng_state())
            assert 2 == torch.get_num_threads()
    finally:
        torch.set_num_threads(threads)


def test_completion_shows_every_name() -> None:
    """Also those that are imported on first use."""
    assert set(nhnas.__all__) <= set(dir(nhnas))


def test_a_network_goes_through_pickle_and_export() -> None:
    """It computes the same afterwards, and its tensors are real ones by the same names."""
    text = {"name": "a", "op": "conv", "width": 4, "residual": {"hidden": 3}}
    layers = [text, {"name": "g", "op": "global_avg_pool"}, {"name": "h", "op": "dense", "width": 3}]
    model = nhnas.build(nhnas.Architecture.model_validate({"input": [2, 8, 8], "net": layers})).eval()
    inputs = torch.randn(2, 2, 8, 8)
    for network in (model, merged(model)):
        assert torch.equal(network(inputs), pickle.loads(pickle.dumps(network))(inputs))
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    torch.export.export(model, (inputs,))
    after = model.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_edits_are_planned_applied_and_compared(tmp_path: Path) -> None:
    """The same as `nhnas plan`, `apply` and `diff`, with edits from Python."""
    spec = tiny.make(tmp_path / "work")
    first = nhnas.step(spec)
    assert first is not None
    width = site_size(read_document(spec).architecture, "block.width")
    edits = (AddNeurons(site="block.width", at=(width,)),)
    plan = nhnas.plan(spec, edits)
    assert edits == plan.edits
    assert plan.output is not None
    assert plan.output.preserved
    saved = nhnas.apply_edits(spec, edits)
    assert saved is not None
    assert 2 == saved.version
    assert nhnas.apply_edits(spec) is None
    assert edits == nhnas.compare(first.state, spec).edits


@pytest.mark.parametrize("words", [{"steps": 0}, {"steps": -1}])
def test_a_run_of_no_steps_is_refused(words: dict[str, int], spec: Path) -> None:
    """As the command line does; nothing is written."""
    with pytest.raises(InputError, match=r"^steps: expected a whole number, 1 or more, found (0|-1)$"):
        nhnas.run(spec, **words)  # type: ignore[arg-type]
    assert not (spec.parent / ".nhnas").exists()


def test_a_part_of_an_epoch_is_refused(spec: Path) -> None:
    """Before anything happens: an epoch is a whole one."""
    with pytest.raises(InputError, match=r"^epochs: expected a whole number, 1 or more, found 1\.5$"):
        nhnas.train(spec, epochs=1.5)  # type: ignore[arg-type]
    assert nhnas.load(spec).state is None


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("run", {"to": "9"}, "to: expected a whole number, 0 or more, found '9'"),
        ("step", {"to": 1.0}, "to: expected a whole number, 0 or more, found 1.0"),
        ("step", {"probe_samples": 0}, "probe_samples: expected a whole number, 1 or more, found 0"),
        ("run", {"until": 5}, "until: expected a goal such as params=70000, or a list of them, found 5"),
        ("run", {"until": [5]}, "--until 5: write NAME=VALUE"),
    ],
)
def test_arguments_of_another_kind_are_one_line(
    name: str, given: dict[str, typing.Any], message: str, spec: Path
) -> None:
    """An InputError like any other, before anything happens."""
    with pytest.raises(InputError, match="^" + re.escape(message)):
        getattr(nhnas, name)(spec, **given)
    assert not (spec.parent / ".nhnas").exists()


def test_figures_and_history_are_those_of_the_command_line(spec: Path) -> None:
    """Of an untrained file there is no history; a version's figure is what evaluating it gives."""
    assert [] == nhnas.history(spec)
    saved = nhnas.train(spec, epochs=1)
    assert {"split": "test", **saved.test} == nhnas.evaluate(spec)
    assert "train" == nhnas.evaluate(spec, split="train")["split"]
    (record,) = nhnas.history(spec)
    assert (1, saved.state, saved.test) == (record["version"], record["state"], record["test"])
    assert importlib.metadata.version("nhnas") == nhnas.__version__


def test_one_goal_is_a_text(spec: Path) -> None:
    """It need not be a list of one."""
    assert 1 == len(nhnas.run(spec, until="epochs=1"))


def test_an_interrupted_command_is_dropped_or_the_file_begun_anew(spec: Path) -> None:
    """As on the command line: `discard`, `fresh`."""
    with pytest.raises(Interrupted):
        nhnas.step(spec, report=tiny.Counting(batch=2))
    with pytest.raises(InputError, match="was interrupted"):
        nhnas.train(spec, epochs=1)
    assert 1 == nhnas.train(spec, epochs=1, discard=True).version
    assert 1 == nhnas.train(spec, epochs=1, fresh=True).version


def test_a_training_killed_after_its_last_write_is_over(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call gives the version that was saved."""
    with monkeypatch.context() as patch:
        patch.setattr("nhnas.command.clear_slot", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            nhnas.train(spec, epochs=1)
    saved = nhnas.train(spec, epochs=1)
    (record,) = nhnas.history(spec)
    assert (1, record["state"], record["test"]) == (saved.version, saved.state, saved.test)
    assert (spec, 0.0, []) == (saved.path, saved.max_change, saved.edits)


def test_what_is_printed_of_a_plan_fits_on_a_screen(spec: Path) -> None:
    """No weights, which a notebook would show by the million."""
    nhnas.step(spec)
    printed = repr(nhnas.plan(spec, [AddNeurons(site="block.hidden", at=(0,))]))
    assert "tensor(" not in printed
    assert "AddNeurons" in printed


def test_the_page_names_everything() -> None:
    """docs/python.md has a heading or a row for each name, and no other."""
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    named = set(re.findall(r"^\| `nhnas\.(\w+)", page, re.MULTILINE))
    assert {*nhnas.__all__, "__version__"} == named


def test_the_example_of_the_page_runs(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, in the folder of a spec; the copy that it builds is the same network."""
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(spec.parent)
    names: dict[str, typing.Any] = {}
    exec(compile(example, "docs/python.md", "exec"), names)
    inputs = torch.ones(3, 2)
    assert torch.equal(names["model"](inputs), names["copy"].eval()(inputs))
    assert (8, 2) == names["outputs"].shape
    assert nhnas.load(spec).version in (1, 2, 3, 4)


def test_a_training_of_no_epochs_is_refused(spec: Path) -> None:
    """As the command line does; nothing is written."""
    with pytest.raises(InputError, match=r"^epochs: expected a whole number, 1 or more, found -2$"):
        nhnas.train(spec, epochs=-2)
    assert not (spec.parent / ".nhnas").exists()
