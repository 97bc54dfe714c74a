"""A commit killed before each of its writing calls; each of them failing; their order (strace; DESIGN §7)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import tiny
from tests.crash.commands import Done, Server, Start, check_one_line
from tests.crash.table import counted, often
from tests.crash.tracing import Call, Traced, sampled, traced, writes_of

pytestmark = pytest.mark.system

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
EVAL = ("eval", "spec.yaml")
COMMITS = {
    "apply": ("apply", "spec.yaml"),
    "step": ("step", "spec.yaml", "--to", "2"),
    "first step": ("step", "spec.yaml", "--to", "1"),
}
EVERY, FEWER = often("every", 1, 7), often("every", 1, 20)


@pytest.fixture(params=COMMITS)
def start(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Start:
    """A hand edit that `apply` saves, a step, and a step from an untrained file without a store."""
    spec = tiny.make(tmp_path / "start")
    if request.param == "first step":
        return Start(server, spec, COMMITS["first step"])
    assert 0 == server.run(spec.parent, ("step", "spec.yaml")).code
    if request.param == "apply":
        hidden = re.findall(r"hidden: \d+", spec.read_text())[0]
        tiny.edit(spec, hidden, "hidden: 7")
    return Start(server, spec, COMMITS[request.param])


class Commit:
    """What a commit writes, and which of the two versions there is after something happened to it."""

    def __init__(self, server: Server, start: Start) -> None:
        self._server, self.start = server, start
        folder = start.fresh()
        self.before = self._loaded(folder)
        self.calls = writes_of(server, folder, start.words)
        start.check(folder)
        self.after = self._loaded(folder)
        (self.last,) = [i for i, call in enumerate(self.calls) if _is_point_of_no_return(call)]

    def disturbed(self, folder: Path, call: Call, what: str) -> Traced:
        """The command, with `what` happening to the call, which is the one that was meant."""
        result = traced(
            self._server, folder, self.start.words, "-e", f"inject={call.name}:{what}:when={call.number}"
        )
        (hit,) = [one for one in result.calls if (one.name, one.number) == (call.name, call.number)]
        assert hit.failed
        assert hit.touches(folder)
        return result

    def check(self, folder: Path, call: Call) -> None:
        """Old or new version, whole; the same command brings the new one, and sweeps what is left over."""
        text = (folder / "spec.yaml").read_bytes()
        is_new = self.calls.index(call) > self.last
        assert (self.start.after if is_new else self.start.text) == text
        assert (self.after if is_new else self.before) == self._loaded(folder)
        again = self.start.run(folder)
        assert (0, "") == (again.code, again.err)
        self.start.check(folder)

    def _loaded(self, folder: Path) -> Done:
        """What `eval` says of the version; one that is there is loaded without a word on stderr."""
        done = self._server.run(folder, EVAL)
        assert (0, "") == (done.code, done.err)
        return done


def _is_point_of_no_return(call: Call) -> bool:
    return call.name.startswith("rename") and call.paths[-1].endswith("/spec.yaml")


@EVERY
def test_killed_before_every_writing_call(every: int, server: Server, start: Start) -> None:
    """Always the old or the new version, never a third state."""
    commit = Commit(server, start)
    count_order(commit)
    chosen = sampled(commit.calls, every)
    for call in chosen:
        folder = start.fresh()
        assert commit.disturbed(folder, call, "signal=KILL").done.killed
        commit.check(folder, call)
    counted(
        f"kill -9 before {'every' if every == 1 else 'a'} writing call of {' '.join(start.words)}",
        len(chosen),
        len(chosen),
        "leave old or new, and the same command ends in the same bytes",
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda number: errno.errorcode[number])
@FEWER
def test_every_writing_call_failing_once(every: int, error: int, server: Server, start: Start) -> None:
    """Exit code 5, one line with path and reason; no temporary file is left after the next run."""
    commit = Commit(server, start)
    name = errno.errorcode[error]
    chosen = sampled(commit.calls, every, first=7 * ERRORS.index(error) % every)
    for call in chosen:
        folder = start.fresh()
        done = commit.disturbed(folder, call, f"error={name}").done
        check_refusal(done, os.strerror(error))
        commit.check(folder, call)
    counted(
        f"{name} at {'every' if every == 1 else 'a'} writing call of {' '.join(start.words)}",
        len(chosen),
        len(chosen),
        "end with 5, path and reason, old or new, and go on",
    )


def check_refusal(done: Done, reason: str) -> None:
    """AssertionError unless the command ended with 5 and one line, with path and reason."""
    assert 5 == done.code, (done.code, done.err, done.out)
    check_one_line(done.err)
    assert reason in done.err
    assert re.search(r"spec\.yaml|\.nhnas", done.err.partition(reason)[0]), done.err


def test_the_order_of_the_calls(server: Server, start: Start) -> None:
    """No rename of what was not fsync'd, no commit without the parent's fsync, the spec file last."""
    count_order(Commit(server, start))


def count_order(commit: Commit) -> None:
    """Check the order of a commit's calls, and count its renames."""
    check_order(commit.calls)
    renames = [call for call in commit.calls if call.name.startswith("rename")]
    counted(f"renames of {' '.join(commit.start.words)}", len(renames), len(renames), "come after all fsyncs")


def check_order(calls: Sequence[Call]) -> None:
    """AssertionError unless a power cut after any call leaves a whole old or new version."""
    unsynced: set[str] = set()
    renamed: list[str] = []
    for call in calls:
        path = call.paths[-1]
        parent = os.path.dirname(path)
        if call.name in ("fsync", "fdatasync"):
            unsynced.discard(path)
        elif call.name.startswith("rename"):
            source = call.paths[-2]
            assert [] == sorted(name for name in unsynced if f"{name}/".startswith(f"{source}/")), call
            if _is_point_of_no_return(call):
                assert any("/snapshots/" in name for name in renamed)
                assert [] == sorted(name for name in unsynced if "/snapshots" in name), call
            unsynced.add(parent)
            renamed.append(path)
        elif call.name.startswith(("open", "mkdir", "creat")):
            unsynced |= {path, parent}
        elif call.name.startswith(("write", "pwrite", "ftruncate")):
            unsynced.add(path)
    assert renamed
    assert [] == sorted(unsynced & {os.path.dirname(path) for path in renamed})


def _call(name: str, *paths: str) -> Call:
    return Call(name, 1, "O_CREAT", paths, failed=False, injected=False)


WHOLE = [
    _call("mkdir", "/a/snapshots/.tmp"),
    _call("openat", "/a", "/a/snapshots/.tmp/x"),
    _call("write", "/a/snapshots/.tmp/x"),
    _call("fsync", "/a/snapshots/.tmp/x"),
    _call("fsync", "/a/snapshots/.tmp"),
    _call("rename", "/a/snapshots/.tmp", "/a/snapshots/s1"),
    _call("fsync", "/a/snapshots"),
    _call("openat", "/a", "/a/.tmp"),
    _call("write", "/a/.tmp"),
    _call("fsync", "/a/.tmp"),
    _call("rename", "/a/.tmp", "/a/spec.yaml"),
    _call("fsync", "/a"),
]


def test_a_missing_fsync_is_seen() -> None:
    """The check of the order is one: it passes the right calls, and none of them with an fsync left out."""
    check_order(WHOLE)
    for index, call in enumerate(WHOLE):
        if call.name == "fsync":
            with pytest.raises(AssertionError):
                check_order(WHOLE[:index] + WHOLE[index + 1 :])
    with pytest.raises(AssertionError):
        check_order(WHOLE[7:] + WHOLE[:7])
