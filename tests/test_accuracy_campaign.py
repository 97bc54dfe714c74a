"""`python benchmarks/accuracy`: tables of runs, each resumable, from a file of experiments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from PIL import Image

from nhnas.log import history
from nhnas.spec.document import read_document

ROOT = Path(__file__).parent.parent
CAMPAIGN = ROOT / "benchmarks" / "accuracy"
TOY = """
toy:
  about: two spirals in a second
  reach: 0.4
  settings:
    data: {dataset: spirals, augment: null}
    train: {deterministic: true, batch: 200, evaluate: true}
    search: {schedule: null, add: 4, min_epochs: 1, max_epochs: 1, fade_epochs: 1, settle_epochs: 0}
  rows:
    grown:
      about: a step, then the rest of five epochs
      spec: examples/spirals/spec.yaml
      commands: [{kind: run, to: 1}, {kind: train, total: 5, settings: {train: {lr: 0.02}}}]
      seeds: [0, 1]
    again:
      about: the last architecture, untrained
      of: grown
      commands: [{kind: train, total: 3}]
"""


def campaign(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, with the toy experiments."""
    (folder / "toy.yaml").write_text(TOY)
    command = [sys.executable, str(CAMPAIGN), *words, "--file", "toy.yaml", "--out", "runs"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole campaign, and the table that it printed."""
    folder = tmp_path_factory.mktemp("campaign")
    done = campaign(folder, "toy")
    assert (0, "") == (done.returncode, done.stderr)
    return folder, done.stdout


def test_every_row_runs_with_every_seed(ran: tuple[Path, str]) -> None:
    """Steps, then training up to the total of epochs, with the settings of experiment, row and command."""
    for seed in (0, 1):
        spec = ran[0] / "runs" / "toy" / "grown" / f"seed{seed}" / "spec.yaml"
        first, last = history(spec)
        assert (5, 0.02, seed) == (last["epochs"], *_settings(spec))
        assert first["edits"]
        figures = json.loads(spec.with_name("done.json").read_text())
        assert last["test"] == figures["test"]
        assert (5, last["parameters"]) == (figures["epochs"], figures["parameters"])


def _settings(spec: Path) -> tuple[float, int]:
    train = read_document(spec).train
    return train.lr, train.seed


def test_a_control_begins_untrained_with_the_architecture_of_the_other(ran: tuple[Path, str]) -> None:
    """Its only version has the other's network, and no parent."""
    grown, again = (ran[0] / "runs" / "toy" / row / "seed0" / "spec.yaml" for row in ("grown", "again"))
    assert read_document(grown).architecture == read_document(again).architecture
    (version,) = history(again)
    assert (None, 3) == (version["parent"], version["epochs"])


def test_a_control_needs_no_more_than_what_is_kept(ran: tuple[Path, str], tmp_path: Path) -> None:
    """`done.json` alone, as in the repository, holds the architecture: the same network and figures."""
    _keep(ran[0], tmp_path, without="nothing")
    done = campaign(tmp_path, "toy")
    there, here = (folder / "runs" / "toy" / "again" / "seed0" for folder in (ran[0], tmp_path))
    assert (0, "") == (done.returncode, done.stderr)
    assert (there / "spec.yaml").read_bytes() == (here / "spec.yaml").read_bytes()
    theirs, ours = (json.loads((folder / "done.json").read_text()) for folder in (there, here))
    assert theirs["curve"] == ours["curve"]


def test_what_is_kept_belongs_to_no_machine(ran: tuple[Path, str]) -> None:
    """Neither the state, which is not kept, nor where data lie, nor how many threads there were."""
    spec = json.loads((ran[0] / "runs" / "toy" / "grown" / "seed0" / "done.json").read_text())["spec"]
    assert {"format", "name", "input", "net", "data", "train", "search"} == set(spec)
    assert ({"dataset"}, False) == (set(spec["data"]), "threads" in spec["train"])


def test_a_control_needs_the_architecture_itself(ran: tuple[Path, str], tmp_path: Path) -> None:
    """Where only the figures of a run were kept, the control says so: exit code 1."""
    _keep(ran[0], tmp_path, without="spec")
    done = campaign(tmp_path, "toy")
    log = (tmp_path / "runs" / "toy" / "again" / "seed0" / "log.txt").read_text()
    assert 1 == done.returncode
    assert log.strip().endswith("has kept its figures alone; run it with another --out")


def _keep(folder: Path, copy: Path, without: str) -> None:
    """The results of the grown rows, without one of their keys."""
    for seed in (0, 1):
        there, here = (to / "runs" / "toy" / "grown" / f"seed{seed}" for to in (folder, copy))
        kept = json.loads((there / "done.json").read_text())
        here.mkdir(parents=True)
        (here / "done.json").write_text(json.dumps({k: v for k, v in kept.items() if k != without}))


def test_the_table_has_a_line_a_row(ran: tuple[Path, str]) -> None:
    """Mean and deviation where there are several seeds."""
    grown, again = ran[1].splitlines()[2:]
    assert ("grown", "2", "5") == (_cell(grown, 1), _cell(grown, 2), _cell(grown, 6))
    assert "±" in _cell(grown, 3)
    assert ("again", "1", "3") == (_cell(again, 1), _cell(again, 2), _cell(again, 6))


def test_the_table_says_when_an_accuracy_was_met(ran: tuple[Path, str]) -> None:
    """The first epoch whose test accuracy is that good, in the mean over the seeds, from the kept curves."""
    runs = ran[0] / "runs" / "toy" / "grown"
    curves = [json.loads((runs / f"seed{seed}" / "done.json").read_text())["curve"] for seed in (0, 1)]
    assert [[1, 2, 3, 4, 5]] * 2 == [[epochs for epochs, _ in curve] for curve in curves]
    last = json.loads((runs / "seed1" / "done.json").read_text())["test"]["accuracy"]
    assert last == curves[1][-1][1]
    met = [next(epochs for epochs, accuracy in curve if accuracy >= 0.4) for curve in curves]
    head, _, grown, _ = ran[1].splitlines()
    assert ("40% after", f"{sum(met) / 2:.0f}") == (_cell(head, -2), _cell(grown, -2).split(" ")[0])


def test_a_run_that_grew_and_shrank_is_compared_at_five_sizes(ran: tuple[Path, str], tmp_path: Path) -> None:
    """Smoothed over three versions: 15, 20, 33, 40, 45% right at 100, 200, 300, 200, 100 parameters."""
    _keep(ran[0], tmp_path, without="nothing")
    sizes, tests = (100, 200, 300, 200, 100), (0.1, 0.2, 0.3, 0.5, 0.4)
    versions = [{"parameters": n, "test": {"accuracy": a}} for n, a in zip(sizes, tests, strict=True)]
    file = tmp_path / "runs" / "toy" / "grown" / "seed0" / "done.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "versions": versions}))
    expected = [
        "| grown: parameters | growing | shrinking |",
        "| --- | --- | --- |",
        "| 133 | 16.67% | 43.33% |",
        "| 167 | 18.33% | 41.67% |",
        "| 200 | 20.00% | 40.00% |",
        "| 233 | 24.44% | 37.78% |",
        "| 267 | 28.89% | 35.56% |",
    ]
    assert expected == campaign(tmp_path, "toy", "--table").stdout.splitlines()[-7:]


def _cell(line: str, at: int) -> str:
    return line.split("|")[at].strip()


def test_the_same_command_runs_nothing_twice(ran: tuple[Path, str]) -> None:
    """What is done stays as it is; what lacks its last command goes on with that."""
    folder = ran[0]
    runs = folder / "runs" / "toy"
    before = {file: file.read_bytes() for file in runs.glob("*/*/spec.yaml")}
    (runs / "again" / "seed0" / "done.json").unlink()
    done = campaign(folder, "toy")
    assert (0, ran[1]) == (done.returncode, done.stdout)
    assert before == {file: file.read_bytes() for file in runs.glob("*/*/spec.yaml")}


def test_without_a_name_it_lists_what_there_is(tmp_path: Path) -> None:
    """A line an experiment; an unknown name ends with 2."""
    line = "toy                two spirals in a second\n"
    for words, code in (((), 0), (("tow",), 2)):
        done = campaign(tmp_path, *words)
        assert (code, line) == (done.returncode, done.stdout)


def test_results_that_are_kept_are_printed_as_a_table() -> None:
    """Those in the repository belong to rows that there still are; their curves, if any, are whole."""
    results = CAMPAIGN / "results"
    for experiment in sorted(folder.name for folder in results.iterdir()):
        command = [sys.executable, str(CAMPAIGN), experiment, "--out", str(results), "--table"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        kept = {file.parent.parent.name for file in (results / experiment).glob("*/seed*/done.json")}
        rows = takewhile(bool, lines[2:])  # a comparison of two ways may follow
        assert kept == {_cell(line, 1) for line in rows}
    for file in results.glob("*/*/seed*/done.json"):
        figures = json.loads(file.read_text())
        last = [figures["epochs"], figures["test"]["accuracy"]]
        evaluates = "spec" not in figures or figures["spec"]["train"].get("evaluate", False)
        assert ([last] if evaluates else []) == figures["curve"][-1:]
        assert 0 == figures["changed"]


def test_without_the_folder_of_the_data_nothing_is_written(tmp_path: Path) -> None:
    """One line; with the variable set the same command begins, and says what is missing in one line, too."""
    command = [sys.executable, str(CAMPAIGN), "cifar10-gpu", "--rows", "resnet-20", "--seeds", "0"]
    environment = {key: value for key, value in os.environ.items() if key != "NHNAS_DATA"}
    text = (CAMPAIGN / "experiments.yaml").read_text().replace("download: true, ", "")
    (tmp_path / "here.yaml").write_text(text)
    told = []
    for data in ({}, {"NHNAS_DATA": str(tmp_path)}):
        done = subprocess.run(
            [*command, "--file", "here.yaml", "--out", "runs"],
            cwd=tmp_path,
            env={**environment, **data},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 1 == done.returncode
        run = tmp_path / "runs" / "cifar10-gpu" / "resnet-20" / "seed0"
        assert bool(data) == (run / "spec.yaml").exists()
        told.append((run / "log.txt").read_text().splitlines()[-1])
        assert "Traceback" not in (run / "log.txt").read_text()
    assert "$NHNAS_DATA: is not set; export NHNAS_DATA=FOLDER, in which the data sets lie" == told[0]
    assert told[1].startswith(f"data: cifar10 is missing or incomplete, looked for {tmp_path}/cifar")


def test_a_row_for_a_gpu_grows_to_its_size_on_the_cpu(tmp_path: Path) -> None:
    """Its own spec, settings and commands on twenty images, but for 200 epochs in all: 0.27 M parameters."""
    for split in ("train", "test"):
        for kind in range(10):
            folder = tmp_path / "images" / split / str(kind)
            folder.mkdir(parents=True)
            for at in range(2):
                Image.new("RGB", (32, 32), (25 * kind, 99 * at, 40)).save(folder / f"{at}.png")
    text = (CAMPAIGN / "experiments.yaml").read_text()
    ours = "{dataset: image_folder, root: $NHNAS_DATA/images, "
    for old, new in (
        ("{dataset: cifar10, root: $NHNAS_DATA, download: true, ", ours),
        ("{kind: train, total: 200}", "{kind: train, total: 16}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "small.yaml").write_text(text)
    words = ["cifar10-gpu", "--rows", "grown-0.27M", "--seeds", "0", "--file", "small.yaml", "--out", "runs"]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), *words],
        cwd=tmp_path,
        env={**os.environ, "NHNAS_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    folder = tmp_path / "runs" / "cifar10-gpu" / "grown-0.27M" / "seed0"
    figures = json.loads((folder / "done.json").read_text())
    assert (16, 0) == (figures["epochs"], figures["changed"])
    assert 262_000 <= figures["parameters"] <= 278_000


def test_every_experiment_begins_with_a_sound_spec() -> None:
    """Of all that we offer: the file that each row writes is accepted, and its commands have a goal."""
    code = (
        "from pathlib import Path\n"
        "from experiment import FILE, load_experiments\n"
        "from start import start_text\n"
        "from nhnas.spec.document import parse_document\n"
        "for name, experiment in load_experiments(FILE).items():\n"
        "    for title, row in experiment.rows.items():\n"
        "        assert row.commands and row.seeds, title\n"
        "        if row.of is None:\n"
        "            text = start_text(experiment, row, {'seed': 3, 'threads': 1}, None)\n"
        "            document = parse_document(text, Path(title))\n"
        "            print(name, title, document.state, document.train.seed)\n"
        "        else:\n"
        "            assert row.of in experiment.rows\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CAMPAIGN,
        env={**os.environ, "NHNAS_DATA": "data"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert len(lines) > 20
    assert ["None 3"] * len(lines) == [" ".join(line.split()[2:]) for line in lines]
