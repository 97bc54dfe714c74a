"""The command line as a person meets it: exit codes, one line an error, JSON, and files left alone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from nhnas.compiler.lock import hold
from nhnas.spec.document import read_document
from nhnas.spec.errors import Interrupted
from tests import tiny
from tests.here import Here

pytestmark = pytest.mark.usefixtures("no_fsync")

DEFINED = (
    *("init", "check", "show", "diff", "render", "plan", "apply", "step", "run", "train", "eval"),
    *("log", "plot", "gc", "schema"),
)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An untrained spec."""
    return tiny.make(tmp_path / "work")


def nhnas(spec: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A real `nhnas` in the spec's folder."""
    command = [sys.executable, "-m", "nhnas", *words]
    return subprocess.run(command, cwd=spec.parent, capture_output=True, text=True, check=False)


@pytest.fixture
def here(spec: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands in the spec's folder."""
    monkeypatch.chdir(spec.parent)
    return Here(capfd)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder with its size and time of change."""
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in [folder, *folder.rglob("*")]}


def test_step_eval_and_log(spec: Path) -> None:
    """Real commands: a version is saved; eval and log agree on it to the last digit and write nothing."""
    done = nhnas(spec, "step", "spec.yaml")
    assert (0, "") == (done.returncode, done.stderr)
    state = read_document(spec).state
    assert f"version 1 ({state}) in spec.yaml: test " in done.stdout
    assert "\nspec.yaml: version 1\ngrow: " in f"\n{done.stdout}"
    assert "\r" not in done.stdout
    before = files(spec.parent)
    told, found = nhnas(spec, "log", "spec.yaml", "--json"), nhnas(spec, "eval", "spec.yaml", "--json")
    assert [(0, ""), (0, "")] == [(done.returncode, done.stderr) for done in (told, found)]
    (record,) = [json.loads(line) for line in told.stdout.splitlines()]
    assert {"split": "test", **record["test"]} == json.loads(found.stdout)
    assert ["split", "loss", "accuracy"] == list(json.loads(found.stdout))
    assert state == record["state"]
    assert before == files(spec.parent)


def test_a_spec_that_is_held(spec: Path) -> None:
    """While another process works on it: exit code 3 and one line that says who; reading goes on."""
    with hold(spec.parent / ".nhnas", "spec.yaml", command="nhnas run"):
        before = tiny.outcome(spec)
        done = nhnas(spec, "step", "spec.yaml")
        assert (3, "") == (done.returncode, done.stdout)
        who = f"process {os.getpid()} (nhnas run)"
        assert done.stderr.startswith(f"spec.yaml is held by {who} on ")
        assert done.stderr.endswith("; try later, or --wait\n")
        assert 1 == done.stderr.count("\n")
        assert 0 == nhnas(spec, "log", "spec.yaml").returncode
        assert before == tiny.outcome(spec)


def test_a_loss_that_is_not_finite(spec: Path) -> None:
    """Exit code 4, one line, and the spec is as it was."""
    tiny.edit(spec, "lr: 0.05", "lr: 1.0e30")
    before = spec.read_bytes()
    done = nhnas(spec, "step", "spec.yaml")
    assert 4 == done.returncode
    tried = "after 3 rollbacks, each at half the rate"
    assert f"the loss is nan at epoch 1, batch 2 {tried}; nothing was saved; lower train.lr\n" == done.stderr
    assert before == spec.read_bytes()


def test_a_store_that_cannot_be_written(spec: Path) -> None:
    """A file where the store should be: exit code 5 and one line that names it."""
    (spec.parent / ".nhnas").write_text("no folder")
    done = nhnas(spec, "step", "spec.yaml")
    assert (5, 1) == (done.returncode, done.stderr.count("\n"))
    assert ".nhnas" in done.stderr


def test_another_command_while_one_waits(spec: Path, here: Here) -> None:
    """Exit code 2, the way out in one line; `--discard` takes it."""
    with pytest.raises(Interrupted):
        tiny.run(spec, tiny.Counting(batch=3), steps=2)
    code, out, error = here("train", "spec.yaml", "--epochs", "1")
    assert (2, "") == (code, out)
    words = "`nhnas run --steps 2` was interrupted; go on with the same command, or --discard it"
    assert f"spec.yaml: {words}\n" == error
    code, out, error = here("train", "spec.yaml", "--epochs", "1", "--discard")
    assert (0, "", True) == (code, error, "version 1 (" in out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("step nope.yaml", "nope.yaml: no such file; `nhnas init` writes one to start from"),
        ("eval nope.yaml", "nope.yaml: no such file; `nhnas init` writes one to start from"),
        ("log nope.yaml", "nope.yaml: no such file; `nhnas init` writes one to start from"),
        ("plot nope.yaml", "nope.yaml: no such file; `nhnas init` writes one to start from"),
        ("run spec.yaml", "run needs either --steps N or --to VERSION"),
        ("step spec.yaml --to 9", "spec.yaml is at version 0: one step leads to 1, not to 9"),
        (
            "eval spec.yaml --split dev",
            "spec.yaml: there is no split 'dev', only train, test; data.val holds",
        ),
        ("plot spec.yaml -o picture.txt", "picture.txt: a plot is written as .png, .svg or .pdf"),
        ("step", "nhnas: Missing argument 'SPEC'. (see nhnas --help)"),
        ("init", "name a template, one of cifar10, cifar100, fashion, mnist-conv, "),
        ("step spec.yaml --two", "nhnas: No such option: --two"),
        ("run spec.yaml --steps 0", "nhnas: Invalid value for '--steps'"),
        ("train spec.yaml", "nhnas: Missing option '--epochs'"),
        ("fly spec.yaml", "nhnas: No such command 'fly'"),
    ],
)
def test_what_cannot_be_used(words: str, message: str, here: Here) -> None:
    """Exit code 2, nothing on stdout, one line on stderr."""
    code, out, error = here(*words.split())
    assert (2, "", 1) == (code, out, error.count("\n"))
    assert error.startswith(message)


def test_a_version_without_its_state_is_told(spec: Path, here: Here) -> None:
    """It counts for nothing, as does one that is not the state's; not where `--fresh` asks for a start."""
    assert 0 == here("train", "spec.yaml", "--epochs", "1")[0]
    tiny.edit(spec, "version: 1", "version: 7")
    code, out, _ = here("train", "spec.yaml", "--epochs", "1")
    assert (0, "the file says version 7, its state is of version 1: that counts") == (
        code,
        out.split("\n")[0],
    )
    assert "version 2 (" in out
    kept = [line for line in spec.read_text().splitlines(True) if not line.startswith("state:")]
    spec.write_text("".join(kept))
    for words, told in (((), True), (("--fresh",), False)):
        before = spec.read_text()
        out = here("train", "spec.yaml", "--epochs", "1", *words)[1]
        assert told == out.startswith("version 2 without a state: starts untrained (")
        assert "version 1 (" in out
        spec.write_text(before)


def test_a_broken_spec_has_a_line_an_error(spec: Path, here: Here) -> None:
    """All of them, with their places, from every command."""
    tiny.edit(spec, "hidden: 3", "hiden: 3")
    tiny.edit(spec, "lr: 0.05", "lr: fast")
    for command in ("step", "eval", "log", "plot"):
        code, out, error = here(command, "spec.yaml")
        assert (2, "", 2) == (code, out, error.count("\n")), command
        assert all(line.startswith("spec.yaml:") for line in error.splitlines())


def test_what_no_batch_could_be_trained_on(spec: Path, here: Here) -> None:
    """Maps at the end, a batch norm over one value: one line each and 2, before anything is written."""
    text = spec.read_text()
    before = sorted(path.name for path in spec.parent.iterdir())
    convolution = "net:\n  - {name: end, op: conv, width: 2}\n"
    maps = text.replace("input: [2]", "input: [2, 1, 1]")
    spec.write_text(maps[: maps.index("net:")] + convolution + maps[maps.index("data:") :])
    code, _, told = here("train", "spec.yaml", "--epochs", "1")
    assert (2, 2) == (code, told.count("\n")), told
    assert "net: the last layer writes maps [2, 1, 1], points has 2 classes; add global_avg_pool or" in told
    spec.write_text(text.replace("width: 4", "width: 4\n    norm: batch").replace("batch: 8", "batch: 1"))
    code, _, told = here("train", "spec.yaml", "--epochs", "1")
    assert (2, 1) == (code, told.count("\n")), told
    assert told.startswith("spec.yaml:"), told
    assert "train.batch: block normalises over the batch, and a batch of 1 gives it one value" in told
    assert (2, "", told) == here("check", "spec.yaml")
    assert before == sorted(path.name for path in spec.parent.iterdir() if path.name != ".nhnas")


def test_data_that_is_missing(spec: Path, here: Here) -> None:
    """The message says where it looked, whatever the command."""
    (spec.parent / "mydata.py").unlink()
    for words in ("step spec.yaml", "eval spec.yaml", "plot spec.yaml --figure boundary"):
        code, _, error = here(*words.split())
        assert (2, 1) == (code, error.count("\n"))
        assert "data.dataset: mydata: mydata is not in the spec's folder" in error


def test_without_a_command_the_help_is_shown(here: Here) -> None:
    """As it is laid out, and exit code 2: a script that forgot the command should not go on."""
    for words in ((), ("git",)):
        code, out, error = here(*words)
        assert (2, "") == (code, out)
        assert error.startswith("Usage: ")
        assert "\nCommands:\n" in error


def test_version(here: Here) -> None:
    """That of the installed package."""
    assert (0, f"nhnas {metadata.version('nhnas')}\n", "") == here("--version")


def test_a_run_tells_each_version_when_it_is_saved(spec: Path) -> None:
    """Not after the last one: whoever stops it in the third step has the figures of two."""
    done = nhnas(spec, "run", "spec.yaml", "--steps", "2")
    lines = done.stdout.splitlines()
    told = [at for at, line in enumerate(lines) if line.startswith(("spec.yaml: version", "version "))]
    starts = [lines[at].split("(")[0].strip() for at in told]
    assert ["spec.yaml: version 1", "version 1", "spec.yaml: version 2", "version 2"] == starts


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", ".nhnas"), "nhnas: .nhnas: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "nhnas: No space left on device"),
    ],
)
def test_what_the_disk_refuses_is_no_bug(
    error: OSError, told: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes up: one line, exit code 5."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("nhnas.log.history", fails)
    assert (5, "", f"{told}\n") == here("log", "spec.yaml")


def test_output_on_a_full_disk(spec: Path) -> None:
    """Real command: what is lost is told, exit code 5."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nhnas", "show", spec.name]
        done = subprocess.run(command, cwd=spec.parent, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (5, "nhnas: No space left on device\n") == (done.returncode, done.stderr)


def test_our_own_bug(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and one line; `--debug`, anywhere, shows the traceback before it."""

    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("nhnas.log.history", broken)
    code, out, error = here("log", "spec.yaml")
    assert (1, "") == (code, out)
    assert "nhnas: internal error: KeyError: 'x' (--debug shows where)\n" == error
    for words in (("--debug", "log", "spec.yaml"), ("log", "spec.yaml", "--debug")):
        code, _, error = here(*words)
        assert (1, True, True) == (code, "Traceback" in error, "KeyError: 'x'" in error)


def test_a_user_error_has_its_traceback_with_debug(here: Here) -> None:
    """The code stays 2."""
    code, _, error = here("step", "nope.yaml", "--debug")
    assert (2, True) == (code, "Traceback" in error)


def test_a_second_interrupt_ends_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """130 and one line."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nhnas.log.history", interrupted)
    assert (130, "", "nhnas: stopped\n") == here("log", "spec.yaml")


def test_run_train_and_their_goals(spec: Path, here: Here) -> None:
    """A line a version; where the version is there already, that is said and nothing else happens."""
    code, out, error = here("run", "spec.yaml", "--steps", "2", "--probe", "5")
    assert (0, "") == (code, error)
    assert 2 == sum(line.startswith("version ") for line in out.splitlines())
    assert 2 == sum("largest |Δoutput| " in line for line in out.splitlines())
    before = tiny.outcome(spec)
    for words in ("run spec.yaml --to 2", "step spec.yaml --to 2"):
        told = "spec.yaml: this version is there already; nothing to do\n"
        assert (0, told, "") == here(*words.split())
    assert before == tiny.outcome(spec)
    code, out, error = here("train", "spec.yaml", "--epochs", "2")
    assert (0, "", True) == (code, error, "  edits: none; largest |Δoutput| 0.0e+00\n" in out)
    assert 3 == read_document(spec).version


def test_fresh(spec: Path, here: Here) -> None:
    """`--fresh` starts untrained, `eval --fresh` looks at untrained weights."""
    here("run", "spec.yaml", "--steps", "2")
    trained = here("eval", "spec.yaml", "--json")[1]
    assert trained != here("eval", "spec.yaml", "--json", "--fresh")[1]
    assert 0 == here("step", "spec.yaml", "--fresh")[0]
    assert 1 == read_document(spec).version


def test_log_as_text_and_as_json(here: Here) -> None:
    """One object a line, oldest first, with the documented keys; or a table; or that there is nothing."""
    assert (0, "spec.yaml: untrained, no version yet\n", "") == here("log", "spec.yaml")
    assert (0, "", "") == here("log", "spec.yaml", "--json")
    here("run", "spec.yaml", "--steps", "2")
    records = [json.loads(line) for line in here("log", "spec.yaml", "--json")[1].splitlines()]
    keys = "version state parent neurons parameters macs depth test edits max_change"
    assert [1, 2] == [record["version"] for record in records]
    assert all(set(keys.split()) <= record.keys() for record in records)
    lines = here("log", "spec.yaml")[1].splitlines()
    assert (3, True) == (len(lines), lines[0].split()[:2] == ["version", "state"])


def test_show_as_json(here: Here) -> None:
    """The documented keys, and the same totals as `log`."""
    here("step", "spec.yaml")
    code, out, error = here("show", "spec.yaml", "--json")
    shown, (record,) = json.loads(out), map(json.loads, here("log", "spec.yaml", "--json")[1].splitlines())
    assert (0, "") == (code, error)
    assert {"name", "version", "neurons", "parameters", "macs", "depth", "layers"} <= shown.keys()
    same = ("version", "neurons", "parameters", "macs", "depth")
    assert [record[key] for key in same] == [shown[key] for key in same]


def test_eval_as_text(spec: Path, here: Here) -> None:
    """The split and its figures on one line, which says so where nothing was trained yet."""
    code, out, _ = here("eval", "spec.yaml", "--split", "train")
    words = out.split()
    assert (0, ["train", "loss", "accuracy"], 6) == (code, [words[0], words[1], words[3]], len(words))
    assert "(untrained)" == words[-1]
    tiny.train(spec, epochs=1)
    assert 5 == len(here("eval", "spec.yaml")[1].split())
    assert here("eval", "spec.yaml", "--fresh")[1].endswith("  (untrained)\n")


def test_plot_says_where_the_picture_lies(spec: Path, here: Here) -> None:
    """Its path is all that is printed."""
    assert (0, "spec.boundary.png\n", "") == here("plot", "spec.yaml", "--figure", "boundary")
    assert spec.with_name("spec.boundary.png").exists()


def test_the_commands_and_their_options_are_frozen(here: Here) -> None:
    """A name on the command line is a promise: none goes or changes by accident."""
    options = {
        "step": "--to --fresh --discard --wait --allow-import --probe",
        "run": "--steps --to --until --fresh --discard --wait --allow-import --probe",
        "train": "--epochs --fresh --discard --wait --allow-import",
        "eval": "--split --json --fresh --allow-import",
        "diff": "--full --json --yaml --exit-code",
        "plan": "--full --json --yaml --exit-code",
        "apply": "--discard --wait --allow-import",
        "render": "--output --diff --format --layout --macs --depth --collapse --each",
        "log": "--json --lineage --full",
        "gc": "--dry-run --keep --reflog --only-these --wait --json",
        "plot": "--output --figure --baseline --json --fresh --allow-import",
        "show": "--json --timing",
        "schema": "--output",
    }
    listed = here("--help")[1]
    assert [] == [command for command in DEFINED if f"  {command} " not in listed]
    for command, expected in options.items():
        words = here(command, "--help")[1].replace(",", " ").split()
        found = {word for word in words if word.startswith("--")} - {"--help"}
        assert set(expected.split()) == found, command
