"""The commands that read specs and write new ones, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nhnas.check import check
from nhnas.init import init, template_text, templates
from nhnas.show import show
from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.spec.measure import measure
from nhnas.spec.model import Architecture, Conv, Dense
from nhnas.spec.structure import sites

EXAMPLES = Path(__file__).parent.parent / "examples"

SPEC = """\
format: 1
name: small
version: 3
input: [3, 8, 8]
net:
  - {name: stem, op: conv, width: 4}
  - {name: 猫, op: conv, stride: 2, width: 6, shortcut: {kernel: 1}, act: relu, residual: {hidden: 5}}
  - {name: open, op: conv, shortcut: identity, residual: {hidden: 0}}
  - {name: pool, op: max_pool}
  - {name: flat, op: flatten}
  - {name: head, op: dense, width: 2, residual: {hidden: 12, first: {residual: {hidden: 1}}}}
"""
TABLE = """\
small, version 3, untrained, input 3×8×8

layer         what                               output  neurons  parameters   MACs  depth
stem          conv 3×3                           4×8×8         4         116  6,912      1
猫            conv 1×1/2 + 5 relu, then relu     6×4×4        11         508  7,584      2
├ shortcut    1×1/2                              6×4×4                    36    384      1
├ first       3×3/2                              5×4×4                   190  2,880      1
└ second      3×3                                6×4×4                   282  4,320      1
open          conv identity + 0 relu             6×4×4                     0      0      0
pool          max_pool kernel 2                  6×2×2
flat          flatten                            24
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A small spec file with one of everything."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_show_prints_the_tree_with_its_counts(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers and the nodes inside, aligned also where characters are wide, and totals at the end."""
    show([spec])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in TABLE.splitlines()] == [
        line.split() for line in lines[: len(TABLE.splitlines())]
    ]
    assert len({line.index(" conv ") + line.count("猫") for line in lines if " conv " in line}) == 1
    totals = measure(read_document(spec).architecture)
    assert f"total: {totals.neurons} neurons, {totals.parameters:,} parameters" in lines[-2]


def test_show_json_is_one_object_a_file(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sums over the layers are the totals; nodes are nested as in the file."""
    show([spec, spec], as_json=True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    totals = measure(read_document(spec).architecture)
    assert first == second
    assert {"name": "small", "version": 3, **totals.as_dict()} == {
        key: value for key, value in first.items() if key != "layers"
    }
    for key in ("neurons", "parameters", "macs", "depth"):
        assert first[key] == sum(layer[key] for layer in first["layers"])
    head = first["layers"][-1]
    assert ("head", "dense", [2], 12) == (head["name"], head["op"], head["shape"], head["hidden"])
    assert 1 == head["first"]["hidden"]
    assert "head.first.second" == head["first"]["second"]["path"]
    assert ["identity", 0] == [first["layers"][2][key] for key in ("shortcut", "hidden")]


def test_show_prints_the_sound_files_and_raises_for_the_others(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad file does not hide the others."""
    with pytest.raises(InputError, match="no such file"):
        show([tmp_path / "none.yaml", spec], as_json=True)
    assert "small" == json.loads(capsys.readouterr().out)["name"]


def test_check_reports_every_error_of_every_file(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors on stderr with file, line and column; code 2 if there are any, else 0."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(SPEC.replace("width: 4", "width: 4.0").replace("hidden: 5", "hiden: 5"), encoding="utf-8")
    assert 0 == check([spec])
    assert (f"{spec}: ok, 6 layers\n", "") == capsys.readouterr()
    assert 2 == check([bad, spec, tmp_path])
    out, err = capsys.readouterr()
    assert f"{spec}: ok, 6 layers\n" == out
    assert [
        f"{bad}:6:35: stem.width: expected a whole number, not 4.0",
        f"{bad}:7:91: 猫.residual.hiden: unknown key; did you mean hidden?",
        f"{tmp_path}: is a folder, not a spec file",
    ] == err.splitlines()


@pytest.mark.parametrize("template", templates())
def test_every_template_is_a_committed_example(template: str, tmp_path: Path) -> None:
    """`nhnas init` writes exactly `examples/TEMPLATE/spec.yaml`, untrained and commented."""
    path = tmp_path / "spec.yaml"
    init(template, path)
    text = path.read_bytes()
    assert text == (EXAMPLES / template / "spec.yaml").read_bytes()
    document = parse_document(text)
    assert (0, None) == (document.version, document.state)
    assert text.startswith(b"# ")


def test_there_is_a_template_for_each_task() -> None:
    """The list that the documentation promises."""
    tasks = [
        "cifar10",
        "cifar100",
        "fashion",
        "mnist-conv",
        "mnist-dense",
        "regression2d",
        "spirals",
        "resnet",
    ]
    assert tasks == templates()


@pytest.mark.parametrize("template", ["spirals", "regression2d"])
def test_toy_templates_start_with_at_most_four_neurons(template: str) -> None:
    """Linear at first, open to neurons, and the same on every machine."""
    document = parse_document(template_text(template))
    assert measure(document.architecture).neurons <= 4
    assert document.train.deterministic
    assert {0} == {s.neurons for s in sites(document.architecture).values() if not s.chain}


@pytest.mark.parametrize("template", ["cifar10", "cifar100"])
def test_image_templates_start_near_linear(template: str) -> None:
    """A stem, three stages, and in each several identity blocks that compute nothing yet."""
    arch = parse_document(template_text(template)).architecture
    blocks = [layer for layer in arch.net if isinstance(layer, Conv) and layer.shortcut == "identity"]
    assert 9 == len(blocks)
    assert {0} == {layer.residual.hidden for layer in blocks if layer.residual is not None}
    assert 3 == len([layer for layer in arch.net if isinstance(layer, Conv) and layer.width is not None])


@pytest.mark.parametrize(("width", "parameters"), [(8, 68_786), (11, 129_359), (16, 272_474)])
def test_resnets_have_the_published_numbers_of_parameters(width: int, parameters: int) -> None:
    """Identity inside a stage and 1×1 between stages, as in the model zoos."""
    document = parse_document(template_text("resnet", width, 3))
    assert parameters == measure(document.architecture).parameters


def test_a_resnet_for_a_hundred_classes(tmp_path: Path) -> None:
    """ResNet-56 for CIFAR-100, with the parameters of the model zoos (0.86 M)."""
    init("resnet", tmp_path / "spec.yaml", blocks=9, classes=100)
    document = read_document(tmp_path / "spec.yaml")
    last = document.architecture.net[-1]
    assert ("cifar100", 100) == (document.data.dataset, last.width if isinstance(last, Dense) else 0)
    assert 861_620 == measure(document.architecture).parameters


def test_init_overwrites_only_when_told(tmp_path: Path) -> None:
    """A file that is there is somebody's work."""
    path = tmp_path / "spec.yaml"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        init("spirals", path)
    assert "mine" == path.read_text()
    init("spirals", path, force=True)
    assert template_text("spirals") == path.read_bytes()


def test_init_explains_what_it_cannot_do(tmp_path: Path) -> None:
    """An unknown template and a missing folder."""
    with pytest.raises(InputError, match="did you mean spirals"):
        init("spiral", tmp_path / "spec.yaml")
    with pytest.raises(InputError, match="no such folder"):
        init("spirals", tmp_path / "a" / "spec.yaml")
    with pytest.raises(InputError, match="--width 250001: at most 250,000"):
        init("resnet", tmp_path / "spec.yaml", width=250_001)


def test_reading_commands_never_import_torch() -> None:
    """They answer at once."""
    code = "import sys, nhnas.check, nhnas.show, nhnas.init; sys.exit('torch' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize(("hidden", "shortcut", "expected"), [(9, True, 2), (10, True, 3), (9, False, 3)])
def test_small_residuals_count_as_absent_in_depth10(hidden: int, shortcut: bool, expected: int) -> None:
    """With fewer than 10 neurons, unless the layer has no other way through; `depth` counts them all."""
    net = [
        {"name": "a", "op": "dense", "width": 2, "shortcut": shortcut, "residual": {"hidden": hidden}},
        {"name": "head", "op": "dense", "width": 2},
    ]
    totals = measure(Architecture.model_validate({"input": [2], "net": net}))
    assert (3, expected) == (totals.depth, totals.depth10)
