"""`nhnas gc`: which snapshots somebody needs, and dropping the weights of the others; never imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from nhnas.compiler.collect import Collected, collect, ids_in, newest, slot_ids
from nhnas.compiler.family import load_family
from nhnas.compiler.files import one_line, storing, sweep
from nhnas.compiler.lock import hold
from nhnas.compiler.place import snapshots_folder, spec_key, store_folder
from nhnas.git_read import find_repository
from nhnas.spec.document import YAML
from nhnas.spec.errors import InputError

STORE = ".nhnas"
_SPECIAL, _ESCAPED = r"([\\*?\[])", r"\\\1"
"""What stands for more than itself in a pattern of git, and how it stands for itself."""
_FOLDER_HASH = re.compile(r"-[0-9a-f]{8}\Z")
"""What a lock of a shared store has behind the name of the spec."""


@dataclass(frozen=True)
class Options:
    """What `nhnas gc` takes.

    `keep` newest versions of every lineage stay anyway; `reflog`: what only a reflog leads to stays too;
    `only_these`: nothing outside the given places uses the store.
    """

    keep: int = 0
    dry_run: bool = False
    reflog: bool = False
    only_these: bool = False
    wait: bool = False


@dataclass(frozen=True)
class Result:
    """A store with what was dropped from it; `kept_tips`: git names none of its versions."""

    store: Path
    collected: Collected
    kept_tips: bool


def collect_places(places: Sequence[Path], options: Options) -> list[Result]:
    """Drop what nobody needs from the stores of the places: specs, or folders with all stores below them.

    Raises InputError (no store, one that others may use, a repository that cannot be read), BusyError
    while a command works on one of the specs, StorageError.
    """
    stores = _stores(places, options.only_these)
    folders = sorted({folder for found in stores.values() for folder in found})
    names = {name for store in stores for name in _spec_names(store)}
    with ExitStack() as locks:
        if not options.dry_run:
            for path in (*stores, *folders):
                sweep(path)
            for store, key in _spec_keys(stores, folders, names):
                locks.enter_context(hold(store, key, options.wait, "nhnas gc"))
        committed = _committed(folders, names, options.reflog)
        # read after the locks: a step that was running has replaced its file
        working = {found for _, ids in _working(folders, names, stores) for found in ids}
        return [_collect(store, committed, working, options) for store in stores]


def _collect(store: Path, committed: set[str], working: set[str], options: Options) -> Result:
    family = load_family(store)
    is_known = bool(committed & (family.heads.keys() | family.damaged.keys()))
    keep = options.keep if is_known else max(options.keep, 1)
    needed = committed | working | slot_ids(store) | newest(family, working & family.heads.keys(), keep)
    return Result(store, collect(store, needed, dry_run=options.dry_run), keep > options.keep)


def _stores(places: Sequence[Path], only_these: bool) -> dict[Path, list[Path]]:
    """The stores of the places, each with the folders whose files name its versions."""
    found: dict[Path, list[Path]] = {}
    for store, folder in (pair for place in places for pair in _stores_of(place)):
        if not only_these and (os.environ.get("NHNAS_STORE") or store.is_symlink()):
            raise InputError(
                f"{one_line(store)}: other folders may use this store too, and what they need is not known; "
                "name all folders that use it, with --only-these"
            )
        found.setdefault(Path(os.path.realpath(store)), []).append(Path(os.path.realpath(folder)))
    return dict(sorted(found.items()))


def _stores_of(place: Path) -> list[tuple[Path, Path]]:
    if not os.path.exists(place):  # unlike Path.exists no error for a name that is too long
        raise InputError(f"{one_line(place)}: no such file or folder")
    folder = place.parent if place.name == STORE else place
    if folder.is_file():
        found = [(store_folder(folder), Path(os.path.realpath(folder)).parent)]
    elif os.environ.get("NHNAS_STORE"):
        found = [(store_folder(folder / "spec.yaml"), folder)]
    else:
        found = [(here / STORE, here) for here, _ in _walk(folder)]
    found = [(store, folder) for store, folder in found if snapshots_folder(store).is_dir()]
    if not found:
        raise InputError(f"{one_line(place)}: has no store with trained versions: there is nothing to drop")
    return found


def _spec_names(store: Path) -> set[str]:
    """File names of the specs that were trained in a store, whatever their ending.

    What may be the hash of a folder may also be the end of a name: then both are taken for names.
    """
    keys = [path.name.removesuffix(".lock") for path in store.glob("*.lock")]
    return {name for key in keys for name in (key, _FOLDER_HASH.sub("", key)) if name}


def _spec_keys(
    stores: Collection[Path], folders: Sequence[Path], names: Collection[str]
) -> list[tuple[Path, str]]:
    """Of every spec that was trained in the stores, or may be now, the store and the name of its lock."""
    trained = {(store, path.name.removesuffix(".lock")) for store in stores for path in store.glob("*.lock")}
    named = [path for path, ids in _working(folders, names, stores) if ids]
    files = {(Path(os.path.realpath(store_folder(path))), spec_key(path)) for path in named}
    return sorted(trained | {(store, key) for store, key in files if store in stores})


def _committed(folders: Iterable[Path], names: Collection[str], reflog: bool) -> set[str]:
    """Ids that some commit or index of the folders' repositories names in a spec file."""
    others = sorted(name for name in names if not _is_yaml(name))
    patterns = [f"*{end}" for end in (*YAML, *(re.sub(_SPECIAL, _ESCAPED, name) for name in others))]
    repositories = {one.common: one for one in map(find_repository, folders) if one is not None}
    contents = (c for one in repositories.values() for c in one.committed(patterns, reflog=reflog))
    return {found for content in contents for found in ids_in(content)}


def _working(
    folders: Iterable[Path], names: Collection[str], stores: Collection[Path]
) -> Iterator[tuple[Path, set[str]]]:
    """The spec files in the folders and in all worktrees of their repositories, with the ids in them."""
    repositories = [one for one in map(find_repository, folders) if one is not None]
    roots = {top for one in repositories for top in one.worktrees()} | set(folders)
    for root in sorted(root for root in roots if not roots & set(root.parents)):
        for folder, files in _walk(root, stores):
            for path in (folder / name for name in files if _is_yaml(name) or name in names):
                if path.is_file():
                    yield path, ids_in(_content(path, names))


def _content(path: Path, names: Collection[str]) -> bytes:
    """What is in a file; InputError where a spec of ours is empty."""
    with storing(path):
        content = path.read_bytes()
    if path.name in names and not content.strip():
        raise InputError(
            f"{one_line(path)}: is empty, so that what it needs is not known, and nothing was dropped; "
            "restore it, or remove it"
        )
    return content


def _is_yaml(name: str) -> bool:
    return name.lower().endswith(YAML)


def _walk(root: Path, stores: Collection[Path] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Folders with their files' names, without stores and what is git's own.

    Links are not followed, and what this user may not list holds nothing that they can train.
    """
    for folder, below, files in os.walk(root):
        here = Path(folder)
        below[:] = sorted(name for name in below if name not in (STORE, ".git") and here / name not in stores)
        yield here, sorted(files)
