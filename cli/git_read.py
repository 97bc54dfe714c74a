"""What a git repository says about spec files; only reads, and never runs a hook, a filter or a shell.

Plumbing commands alone: what they print depends on nobody's configuration.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nhnas.spec.errors import InputError
from nhnas.spec.shown import shown

BATCH = 1000
"""Files whose content is read at a time."""
_MOVING = ("MERGE_HEAD", "MERGE_AUTOSTASH", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD")
_STASHED = ("rebase-merge/autostash", "rebase-apply/autostash")
_FILES = (b"100644", b"100755", b"120000")
"""Modes of what has a content here: no folder, no submodule, nothing deleted."""
_STATE = re.compile(rb"""(?<![^\s{,])["']?state["']?[ \t]*:[ \t]*["']?(s[0-9a-f]{16})\b""")
_COMMENT, _QUOTED = re.compile(rb"(?:^|(?<=\s))#"), re.compile(rb"""\"[^"]*"|'[^']*'""")
_OBJECT = re.compile(r"^(?:[0-9a-f]{40}|[0-9a-f]{64})\b", re.MULTILINE)


@dataclass(frozen=True)
class Repository:
    """A repository, seen from `folder` in one of its worktrees; `common` is what its worktrees share."""

    folder: Path
    common: Path

    def worktrees(self) -> list[Path]:
        """The folders of all worktrees that are there."""
        lines = run_git(self.folder, "worktree", "list", "--porcelain").split(b"\n")
        named = [line.removeprefix(b"worktree ") for line in lines if line.startswith(b"worktree ")]
        up = run_git(self.folder, "rev-parse", "--show-cdup").strip()
        # of a submodule git lists the folder under .git/modules, so the one that we are in comes on top
        paths = [self.folder / os.fsdecode(up), *(Path(os.fsdecode(name)) for name in named)]
        return sorted({Path(os.path.realpath(path)) for path in paths if path.is_dir()})

    def committed(self, patterns: Sequence[str], *, reflog: bool = False) -> Iterator[bytes]:
        """Every content that files of these names (`patterns` of git) ever had.

        In all commits that a branch, a remote branch, a tag, a stash or a worktree's HEAD leads to, also
        of a merge or rebase that is going on, with `reflog` in those of the reflogs as well; and in the
        indexes of all worktrees. Raises InputError.
        """
        paths = [f":(top,icase){pattern}" for pattern in patterns]
        objects = self._changed(paths, reflog) | self._indexed(paths)
        for name, content in zip(names := sorted(objects), read_objects(self.folder, names), strict=True):
            if content is None:
                raise InputError(f"{shown(self.folder, 300)}: git does not have the content {name}")
            yield content

    def _changed(self, paths: Sequence[str], reflog: bool) -> set[str]:
        """Ids of the contents that the commits gave to `paths`; of a merge, against each parent."""
        starts = "\n".join([*self._loose(), ""]).encode()
        options = ["--all", "--full-history", "--ignore-missing", *(["--reflog"] if reflog else [])]
        commits = run_git(self.folder, "rev-list", *options, "--stdin", "--", *paths, given=starts)
        diff = ["diff-tree", "--stdin", "--root", "-r", "-m", "-z", "--no-renames", "--no-commit-id"]
        changes = run_git(self.folder, *diff, "--", *paths, given=commits)
        # ":<old mode> <new mode> <old id> <new id> <letter>" NUL path NUL
        heads = [part.split() for part in changes.split(b"\0") if part.startswith(b":")]
        return {head[3].decode() for head in heads if len(head) == 5 and head[1] in _FILES}

    def _loose(self) -> Iterator[str]:
        """Commits that are in use without a ref: older stashes, and what is being merged or rebased."""
        if run_git(self.folder, "for-each-ref", "refs/stash"):
            stashes = run_git(self.folder, "rev-list", "--walk-reflogs", "refs/stash", "--")
            yield from stashes.decode().split()
        for folder in self._folders():
            for name in (*_MOVING, *_STASHED):
                if (folder / name).is_file():
                    yield from _OBJECT.findall((folder / name).read_text("utf-8", "replace"))

    def _indexed(self, paths: Sequence[str]) -> set[str]:
        """Ids of the contents in the indexes of all worktrees, those of a conflict included."""
        found = set()
        for folder in self._folders():
            if (folder / "index").is_file():
                entries = run_git(folder, f"--git-dir={folder}", "ls-files", "--stage", "-z", "--", *paths)
                heads = [entry.split() for entry in entries.split(b"\0") if entry]
                found |= {head[1].decode() for head in heads if head[0] in _FILES}
        return found

    def _folders(self) -> list[Path]:
        """Where the worktrees keep what is their own."""
        return [self.common, *sorted((self.common / "worktrees").glob("*"))]


def find_repository(folder: Path) -> Repository | None:
    """The repository that `folder` lies in, or None.

    Raises InputError where there is one that cannot be read, also because git is not installed.
    """
    folder = Path(os.path.realpath(folder))
    if not _in_repository(folder):
        return None
    common = run_git(folder, "rev-parse", "--git-common-dir")
    return Repository(folder, Path(os.path.realpath(folder / os.fsdecode(common.removesuffix(b"\n")))))


def _in_repository(folder: Path) -> bool:
    return "GIT_DIR" in os.environ or any(os.path.lexists(up / ".git") for up in (folder, *folder.parents))


def named_states(spec: Path) -> dict[str, list[str]]:
    """State → the refs whose committed spec names it: `HEAD`, `main`, `origin/main`, `tag: v1`.

    Empty outside a repository, where git is not installed, and where it cannot be read.
    """
    path = Path(os.path.realpath(spec))
    try:
        if not _in_repository(path.parent):
            return {}
        found: dict[str, list[str]] = {}
        for name, content in _specs_of_refs(path):
            if content is not None and (state := _state_in(content)):
                found.setdefault(state, []).append(name)
    except InputError:
        return {}
    return found


def _state_in(spec: bytes) -> str | None:
    """The state that a spec names, not one that a comment speaks of."""
    found = (match for match in _STATE.finditer(spec) if not _COMMENT.search(_before(spec, match)))
    return next((match[1].decode() for match in found), None)


def _before(text: bytes, match: re.Match[bytes]) -> bytes:
    """What the line of a match has before it, without what is quoted."""
    start = 1 + max(text.rfind(end, 0, match.start()) for end in (b"\n", b"\r"))
    return _QUOTED.sub(b"", text[start : match.start()])


def _specs_of_refs(spec: Path) -> Iterator[tuple[str, bytes | None]]:
    listed = run_git(
        spec.parent, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/remotes"
    )
    refs = ["HEAD", *listed.decode("utf-8", "surrogateescape").split()]
    contents = read_objects(spec.parent, [f"{ref}:./{spec.name}" for ref in refs])
    return zip(map(_short, refs), contents, strict=True)


def _short(ref: str) -> str:
    for prefix, shown_as in (("refs/heads/", ""), ("refs/remotes/", ""), ("refs/tags/", "tag: ")):
        if ref.startswith(prefix):
            return shown(f"{shown_as}{ref.removeprefix(prefix)}")
    return ref


def read_objects(folder: Path, names: Sequence[str]) -> Iterator[bytes | None]:
    """The content of each object, None where there is none of that name. Raises InputError."""
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        given = "".join(f"{name}\n" for name in batch).encode("utf-8", "surrogateescape")
        output = run_git(folder, "cat-file", "--batch", given=given)
        at = 0
        for _ in batch:
            end = output.index(b"\n", at)
            size = output[at:end].rpartition(b" ")[2]
            at = end + 1
            if size.isdigit():
                yield output[at : at + int(size)]
                at += int(size) + 1
            else:
                yield None


def run_git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git prints in `folder`. Raises InputError where it fails or is not installed."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, env=environment)
    except OSError as error:
        raise InputError(f"{shown(folder, 300)}: git cannot be run ({error.strerror})") from None
    if done.returncode:
        reason = shown(done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: "), 300)
        raise InputError(f"{shown(folder, 300)}: git {arguments[0]} failed: {reason}")
    return done.stdout
