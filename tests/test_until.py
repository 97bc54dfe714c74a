"""`nhnas run --until`: goals, their directions, bounds, resuming, and files that a person edits meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from nhnas.command import Options
from nhnas.command import run as run_command
from nhnas.commit import Saved
from nhnas.compiler.history import load_info
from nhnas.figures import Figures, figures
from nhnas.log import history
from nhnas.report import Report
from nhnas.settings import changed, changes_text
from nhnas.spec.document import parse_document, read_document
from nhnas.spec.errors import InputError, Interrupted
from nhnas.until import Until, check_until, directed, is_met, parse_until
from tests import tiny
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")

GROWING = tiny.DENSE.replace("add: 8", "add: 8, add_to_remove: 4.0")
SHRINKING = "add: 2, add_fraction: 0.0, add_to_remove: 0.2, threshold_max: 9.0"
LONG = GROWING.replace("max_epochs: 2", "min_epochs: 40, max_epochs: 40")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """24 points in the plane, growing by about six neurons a step."""
    return tiny.make(tmp_path / "spec", GROWING)


def run_until(spec: Path, *until: str, report: Report | None = None, **goal: Any) -> list[Saved]:
    """`nhnas run --until …` in this process, perhaps with a bound."""
    options = Options(**{key: goal.pop(key) for key in ("fresh", "discard") if key in goal})
    return run_command(spec, goal.get("steps"), goal.get("to"), options, report, until)


def nhnas(spec: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, on `spec.yaml` in its folder."""
    command = [sys.executable, "-m", "nhnas", words[0], spec.name, *words[1:]]
    return subprocess.run(command, cwd=spec.parent, capture_output=True, text=True, check=False)


def parameters(spec: Path) -> int:
    """Of the file as it is."""
    return int(figures(read_document(spec)).now["params"])


@pytest.mark.parametrize(
    ("text", "name", "sign", "value"),
    [
        ("params=70000", "params", "=", 70000.0),
        (" parameters <= 70_000 ", "params", "<=", 70000.0),
        ("macs>=1e6", "macs", ">=", 1e6),
        ("neurons=12", "neurons", "=", 12.0),
        ("accuracy=0.92", "accuracy", ">=", 0.92),
        ("epochs=40", "epochs", ">=", 40.0),
        ("mse=0.01", "mse", "<=", 0.01),
    ],
)
def test_goals_are_read(text: str, name: str, sign: str, value: float) -> None:
    """Name, sign and number; accuracy and epochs come from below, mse from above; the text reads back."""
    (goal,) = parse_until([text])
    assert Until(name, sign, value) == goal
    assert (goal,) == parse_until([str(goal)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params", "write NAME=VALUE, e.g. params=70000, or in quotes 'params>=70000'"),
        ("params>70000", "write NAME=VALUE"),
        ("parms=7", "unknown figure parms; did you mean params?"),
        ("loss=7", "unknown figure loss; expected one of params, macs, neurons, accuracy, epochs, mse"),
        ("params=many", "expected a number above 0, not many"),
        ("params=nan", "expected a number above 0, not nan"),
        ("params=-4", "expected a number above 0, not -4"),
        ("params=0.5", "params are counted; expected a whole number, not 0.5"),
        ("epochs=1.5", "epochs are counted; expected a whole number, not 1.5"),
        ("accuracy=92", "accuracy is a fraction; write 0.92 for 92%"),
        ("accuracy<=0.5", "nobody trains for that; write accuracy>=0.5"),
        ("epochs<=5", "nobody trains for that; write epochs>=5"),
        ("mse>=0.5", "nobody trains for that; write mse<=0.5"),
    ],
)
def test_goals_that_are_none(text: str, message: str) -> None:
    """One line that quotes the goal and says what to write."""
    with pytest.raises(InputError) as caught:
        parse_until([text])
    assert str(caught.value).startswith(f"--until {text}: {message}")
    assert "\n" not in str(caught.value)


def test_the_same_goals_are_the_same_command() -> None:
    """Whatever their order, repetition and spelling."""
    assert parse_until(["params=70000", "accuracy=0.9"]) == parse_until(
        ["accuracy>=0.90", "parameters = 7e4", "params=70000"]
    )


@pytest.mark.parametrize(
    ("now", "before", "met", "sign"),
    [
        (5.0, 3.0, False, ">="),
        (7.0, None, True, "<="),
        (8.0, 6.0, True, "<="),
        (8.0, 9.0, False, "<="),
        (6.0, 9.0, True, ">="),
        (8.0, None, False, "<="),
    ],
)
def test_a_size_is_reached_by_the_step_that_passes_it(
    now: float, before: float | None, met: bool, sign: str
) -> None:
    """`params=7` is met at 7 or between two versions; else it lies ahead, above or below."""
    goal = Until("params", "=", 7.0)
    known = Figures({"params": now}, None if before is None else {"params": before})
    assert (met, sign) == (is_met(goal, known), directed(goal, known).sign)


def test_a_run_grows_until_a_size_is_passed_and_then_there_is_nothing_to_do(spec: Path) -> None:
    """The last version is the first one beyond the goal; the same command again changes no file."""
    saved = run_until(spec, "params=120")
    sizes = [one.totals["parameters"] for one in saved]
    assert sizes[-1] >= 120 > max(sizes[:-1])
    before = tiny.outcome(spec)
    assert [] == run_until(spec, "params=120")
    assert [] == run_until(spec, "params>=120", steps=5)
    assert before == tiny.outcome(spec)


def test_a_run_shrinks_to_a_size_below(spec: Path) -> None:
    """Where the network is larger, the same words mean to shrink."""
    tiny.run(spec, steps=4)
    old = spec.read_text()
    spec.write_text(old[: old.index("search:")] + f"search: {{max_epochs: 2, fade_epochs: 1, {SHRINKING}}}\n")
    large = parameters(spec)
    sizes = [one.totals["parameters"] for one in run_until(spec, f"params={large // 2}")]
    assert sizes[-1] <= large // 2 < min([large, *sizes[:-1]])
    assert [] == run_until(spec, f"params<={large // 2}")


def test_training_and_hand_edits_do_not_hide_that_a_size_was_passed(spec: Path) -> None:
    """Versions of the same size in between change nothing; after a cut by hand, the goal is ahead again."""
    run_until(spec, "params=60")
    tiny.train(spec, epochs=1)
    assert [] == run_until(spec, "params=60")
    layer: Any = read_document(spec).architecture.net[0]
    tiny.edit(spec, f"hidden: {layer.residual.hidden}", "hidden: 1")
    tiny.edit(spec, f"width: {layer.width}", "width: 3")
    assert parameters(spec) < 60
    assert run_until(spec, "params=60")[-1].totals["parameters"] >= 60


def test_epochs_accuracy_and_the_first_of_several(spec: Path) -> None:
    """Epochs of the lineage; test accuracy as it is saved; whatever is met first ends the run."""
    saved = run_until(spec, "epochs=7", "params=100000")
    counts = [record["epochs"] for record in history(spec)]
    assert counts[-1] >= 7 > max(counts[:-1])
    best = saved[-1].test["accuracy"]
    assert [] == run_until(spec, f"accuracy={best}", "neurons=5000")
    assert 1 == len(run_until(spec, "accuracy=1.0", "neurons=5000", steps=1))


def test_held_out_samples_decide_where_there_are_any(tmp_path: Path) -> None:
    """With data.val the goal is the accuracy of these, which the version's record holds."""
    text = GROWING.replace('"mydata:points"', '"mydata:points", val: 0.25')
    spec = tiny.make(tmp_path / "val", text)
    tiny.step(spec)
    document = read_document(spec)
    info = load_info(spec.parent / ".nhnas", str(document.state)).state["info"]
    found = figures(document)
    assert ("val", info["val"]["accuracy"]) == (found.split, found.now["accuracy"])
    assert info["val"] == history(spec)[0]["val"] != info["test"]
    tiny.edit(spec, ", val: 0.25", "")
    assert "val" == figures(read_document(spec)).split


def test_a_hold_out_that_is_new_has_no_accuracy_yet(spec: Path) -> None:
    """Test accuracy does not stand in for that of samples which were not held out yet."""
    tiny.step(spec)
    tiny.edit(spec, '"mydata:points"', '"mydata:points", val: 0.25')
    assert "accuracy" not in figures(read_document(spec)).now
    assert 1 <= len(run_until(spec, "accuracy=0.01", steps=3)) <= 3


def test_bounds_and_goals_work_together(spec: Path) -> None:
    """What comes first ends the run: the goal before --to 9, --steps 2 before a goal far away; it is said."""
    report = tiny.Counting()
    saved = run_until(spec, "params=90", to=9, report=report)
    assert saved[-1].version < 9
    size = f"{saved[-1].totals['parameters']} params at version {saved[-1].version}"
    assert f"reached params>=90: {size}" == report.lines[-1]
    report = tiny.Counting()
    assert 2 == len(run_until(spec, "params=90000", steps=2, report=report))
    assert report.lines[-1].startswith(
        f"version {saved[-1].version + 2} is there; not reached: params>=90000 ("
    )


def test_fresh_starts_untrained_whatever_the_file_has_reached(spec: Path) -> None:
    """Epochs and accuracy of the old version do not count; sizes are those of the file's net."""
    run_until(spec, "epochs=7", to=3)
    assert [1, 2] == [saved.version for saved in run_until(spec, "epochs=7", fresh=True, to=3)]
    assert [] == run_until(spec, f"params={parameters(spec)}", fresh=True, to=3)


@pytest.mark.parametrize(
    ("old", "new", "goal", "message"),
    [
        ("x", "x", "mse=0.1", "with train.loss cross_entropy there is no mse; write accuracy=VALUE"),
        (
            "lr: 0.05",
            "lr: 0.05, loss: mse",
            "accuracy=0.9",
            "with train.loss mse there is no accuracy; write mse=VALUE",
        ),
        (
            "width: 4\n    residual:\n      hidden: 3\n      second: {note: the way back}",
            "width: 4\n    fixed: true",
            "params=900",
            "no layer may grow or shrink",
        ),
        ("add: 8", "policy: auto, target: {params: 500}", "params=900", "search.target keeps params at 500"),
        ("add: 8", "policy: auto, target: {params: 500}", "params<=20", "search.target keeps params at 500"),
        (
            "add: 8",
            "add: 0, add_fraction: 0.0",
            "params=900",
            "search.add and search.add_fraction are 0, so nothing grows",
        ),
    ],
)
def test_goals_that_can_never_be_met(old: str, new: str, goal: str, message: str, spec: Path) -> None:
    """One line with the reason, before anything is trained, written or torch is imported."""
    spec.write_text(spec.read_text().replace(old, new))
    before = tiny.outcome(spec)
    with pytest.raises(InputError) as caught:
        run_until(spec, goal)
    written = parse_until([goal])[0]
    assert f"{spec}: --until {written} cannot be met: {message}" == str(caught.value)
    assert before == tiny.outcome(spec)


def left(number: int, _: object) -> None:
    """What a signal does between the batches; the command line leaves the process."""
    raise Interrupted("left", number)


def stopped(report: tiny.Counting, command: Callable[..., object]) -> bool:
    """Run until the report's signal stops the command; False where it was over before."""
    before = signal.signal(signal.SIGTERM, left)
    try:
        command(report=report)
    except Interrupted:
        return True
    finally:
        signal.signal(signal.SIGTERM, before)
    return False


@pytest.mark.parametrize("goals", [("params=110",), ("params>=110", "accuracy=0.999")])
def test_a_stopped_run_goes_on_with_the_same_command(goals: tuple[str, ...], tmp_path: Path) -> None:
    """Stopped at every third batch or line, again and again, it ends in the same bytes as the whole one."""
    whole, again = (tiny.make(tmp_path / name, GROWING) for name in ("whole", "again"))
    counting = tiny.Counting()
    run_until(whole, *goals, report=counting)
    stops, line = 0, 1
    while stopped(tiny.Counting(batch=3), partial(run_until, again, *goals)):
        stops += 1
    assert stops >= counting.batches // 3 - 2
    assert tiny.outcome(whole) == tiny.outcome(again)
    for line in range(1, len(counting.lines) + 1):
        other = tiny.make(tmp_path / f"line{line}", GROWING)
        if stopped(tiny.Counting(line=line), partial(run_until, other, *goals)):
            run_until(other, *goals)
        assert tiny.outcome(whole) == tiny.outcome(other), counting.lines[line - 1]


def test_the_direction_is_that_of_the_start(spec: Path) -> None:
    """A goal that is passed by hand while the run waits is still reached from the side where it began."""
    report = tiny.Counting(batch=2)
    assert stopped(report, partial(run_until, spec, "params=70"))
    assert run_until(spec, " parameters = 70 ")[-1].totals["parameters"] >= 70


def test_what_is_reached_is_known_without_torch(spec: Path) -> None:
    """The command line says where it is, and loads no torch; a goal that cannot be met neither."""
    run_until(spec, "params=60")
    size, version = parameters(spec), read_document(spec).version
    code = (
        "import sys; from nhnas.main import _guarded; code = _guarded(sys.argv[1:], False);"
        "print(code, 'torch' in sys.modules)"
    )

    def told(*words: str) -> tuple[str, str]:
        command = [sys.executable, "-c", code, "run", spec.name, *words]
        done = subprocess.run(command, cwd=spec.parent, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    reached = f"spec.yaml: already reached params=60: {size} params at version {version}"
    way = ", which passed it (back to it: --until 'params<=60')"
    assert size > 60
    assert (f"{reached}{way}; nothing to do\n0 False\n", "") == told("--until", "params=60", "--steps", "4")
    exactly = reached.replace("params=60", f"params={size}")
    assert (f"{exactly}; nothing to do\n0 False\n", "") == told("--until", f"params={size}")
    reason = "with train.loss cross_entropy there is no mse; write accuracy=VALUE"
    refused = f"spec.yaml: --until mse<=1 cannot be met: {reason}\n"
    assert ("2 False\n", refused) == told("--until", "mse=1")


def test_a_size_that_a_person_wrote_is_in_the_file_alone(
    spec: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No version has it, and the line does not say so."""
    tiny.step(spec)
    tiny.edit(spec, "- {name: head", "- {name: more, op: dense, width: 40}\n  - {name: head")
    code, told, _ = Here(capfd)("run", str(spec), "--until", "params>=100")
    assert 0 == code
    assert re.search(r"already reached params>=100: \d+ params in the file, edited since version 1 \(", told)


def test_a_file_edited_while_a_run_works(tmp_path: Path) -> None:
    """Real process: settings that are saved during a step hold from the next one on, are said and logged."""
    spec = tiny.make(tmp_path / "spec", LONG)
    command = [sys.executable, "-m", "nhnas", "run", spec.name, "--until", "epochs=84", "--to", "3"]
    edited, lines = False, []
    with subprocess.Popen(command, cwd=spec.parent, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if not edited and line.startswith("grow:"):
                tiny.edit(spec, "lr: 0.05", "lr: 0.02")
                edited = True
        assert "" == process.communicate()[1]
    said = "settings changed since version 1: train.lr 0.05 → 0.02\n"
    assert [said] == [line for line in lines if line.startswith("settings")]
    records = history(spec)
    assert [None, {"train.lr": [0.05, 0.02]}] == [record["settings"] for record in records[:2]]
    assert "lr: 0.02" in spec.read_text()
    assert "settings: train.lr 0.05 → 0.02" in nhnas(spec, "log").stdout
    assert records[-1]["epochs"] >= 84


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("val: 0.25", "val: 0.5", True),
        ("train: {", "train: {seed: 7, ", True),
        ("lr: 0.05", "lr: 0.02", False),
        ('points", val: 0.25', 'points"', False),
    ],
)
def test_samples_that_come_to_be_held_out_midway_are_told(
    old: str, new: str, told: bool, tmp_path: Path
) -> None:
    """What was trained on and is held out now flatters the network: one line says so."""
    text = tiny.DENSE.replace('"mydata:points"', '"mydata:points", val: 0.25')
    spec, report = tiny.make(tmp_path / "spec", text), tiny.Counting()
    tiny.step(spec)
    tiny.edit(spec, old, new)
    tiny.step(spec, report)
    lines = [line for line in report.lines if line.startswith("other samples are held out from now on")]
    assert told == bool(lines), report.lines


@pytest.mark.parametrize("target", ["{params: 500, macs: 100}", "{params: 500, accuracy: 0.1}"])
def test_a_size_that_another_part_of_the_target_may_lead_to_is_no_error(target: str, spec: Path) -> None:
    """MACs may hold the parameters far below their own limit, and an accuracy lets a network shrink."""
    text = spec.read_text().replace("add: 8", f"policy: auto, target: {target}")
    figures = Figures({"params": 300.0, "macs": 300.0, "neurons": 30.0}, None)
    document = parse_document(text.replace('"mydata:points"', '"mydata:points", val: 0.25').encode(), spec)
    check_until(parse_until(["params<=20"]), document, figures)


def _width(spec: Path) -> None:
    tiny.edit(spec, "width: 4", "width: 5")


def _half_a_file(spec: Path) -> None:
    spec.write_text("format: 1\nnet: [{name")


@pytest.mark.parametrize("change", [_width, _half_a_file, Path.unlink])
def test_a_net_edited_while_a_run_works_ends_it(change: Callable[[Path], None], spec: Path) -> None:
    """What the person left stays, the result lies beside, and the last lines say that the run is over."""

    class Editing(tiny.Counting):
        def batch(self, *_: Any, **__: Any) -> None:
            super().batch()
            if self.batches == 3:
                change(spec)

    report, before = Editing(), spec.read_bytes()
    saved = run_until(spec, "params=5000", report=report)
    assert [spec.with_name("spec.v1.yaml")] == [one.path for one in saved]
    assert not spec.exists() or before != spec.read_bytes()
    seen, own = ("edited meanwhile and stays", ", or with your own spec.yaml")
    if not spec.exists():
        seen, own = "taken away meanwhile", ""
    assert f"spec.yaml was {seen}; version 1 is in spec.v1.yaml" in report.lines
    assert f"the run ends here: go on with spec.v1.yaml{own}" == report.lines[-1]


def test_what_changed_in_the_settings() -> None:
    """Values old and new, long ones by name alone; a key that the older record does not know is no change."""
    old = {"train": {"lr": 0.1, "schedule": "cosine"}, "search": {"schedule": [], "add": 3, "target": None}}
    new = {
        "train": {"lr": 0.2, "schedule": "cosine", "new": 1},
        "search": {
            "schedule": [{"until": 300, "lr": 0.1, "add": 20}],
            "add": 3,
            "target": {"params": 900, "macs": None},
        },
    }
    found = changed(old, new)
    assert {"train.lr", "search.schedule", "search.target"} == found.keys()
    told = "train.lr 0.1 → 0.2, search.schedule changed, search.target none → {params: 900}"
    assert told == changes_text(found)


def test_a_process_that_is_stopped_goes_on_to_its_goal(tmp_path: Path) -> None:
    """SIGTERM during an epoch ends it with 143; the same command line ends in the bytes of a whole run."""
    whole, again = (tiny.make(tmp_path / name, LONG) for name in ("whole", "again"))
    run_until(whole, "params=60")
    words = ("run", "--until", "params=60")
    command = [sys.executable, "-m", "nhnas", words[0], again.name, *words[1:]]
    with subprocess.Popen(command, cwd=again.parent, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.communicate()
    assert 143 == process.returncode
    done = nhnas(again, *words)
    assert (0, "") == (done.returncode, done.stderr)
    assert "reached params>=60: " in done.stdout
    assert tiny.outcome(whole) == tiny.outcome(again)
