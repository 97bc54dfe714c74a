"""A spec file: its exact text, and what it says (DESIGN §3)."""

from __future__ import annotations

import os
import stat
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from nhnas.spec.config import Data, Search, Train
from nhnas.spec.errors import InputError
from nhnas.spec.explain import Finding, explain, report
from nhnas.spec.model import Architecture, Layer
from nhnas.spec.policy_findings import policy_findings
from nhnas.spec.schedule import schedule_findings, settings_at
from nhnas.spec.search_findings import search_findings
from nhnas.spec.shown import shown
from nhnas.spec.train_findings import train_findings
from nhnas.spec.upgrade import CURRENT, upgrade
from nhnas.spec.verify import local_problems, problems, repeated_names
from nhnas.spec.yaml_tree import MAX_BYTES, Mapping, UnsafeYaml, parse_yaml, plain

YAML = (".yaml", ".yml")
"""Endings of YAML files; others are read as well."""


def _printable(name: str) -> str:
    if not name.strip() or not all(c.isprintable() for c in name):
        raise ValueError("a name is any text without control characters")
    return name


class Spec(Architecture):
    """All keys of the file."""

    format: Annotated[int, Field(ge=CURRENT, le=CURRENT)]
    name: Annotated[str, AfterValidator(_printable)]
    version: Annotated[int, Field(ge=0)] = 0
    state: Annotated[str, AfterValidator(lambda s: _state(s))] | None = None
    data: Data = Data.model_construct()
    train: Train = Train.model_construct()
    search: Search = Search.model_construct()


@dataclass(frozen=True)
class Document:
    """A spec as read; `text` are the file's exact bytes, `version` is 0 and `state` None if absent."""

    path: Path | None
    text: bytes = field(repr=False)
    format: int
    name: str
    version: int
    state: str | None
    architecture: Architecture
    data: Data
    train: Train
    search: Search
    tree: Mapping = field(repr=False, compare=False)


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read and check a spec file; raises InputError, one line for each error in it."""
    return parse_document(_read(Path(path)), Path(path))


def parse_document(text: bytes, path: Path | None = None, *, source: str | None = None) -> Document:
    """Check the text of a spec. Raises InputError, one line an error.

    `path` is its file; `source` what messages call it, where the text is another than the file's: of a
    revision, `HEAD:spec.yaml`.
    """
    file = source or ("spec" if path is None else shown(path, 300))
    try:
        tree = parse_yaml(text)[1]
    except UnsafeYaml as error:
        is_yaml = path is None or path.suffix.lower() in YAML
        hint = "" if is_yaml else "; is this a spec? Its name has no .yaml"
        raise InputError(f"{file}:{error.line + 1}:{error.column + 1}: {error}{hint}") from None
    if not isinstance(tree, Mapping):
        where = f"{file}:{tree.line + 1}:{tree.column + 1}"
        raise InputError(f"{where}: expected keys and values (format: {CURRENT}, name: …)")
    spec, findings = _validated(tree)
    if spec is None or findings:
        raise InputError("\n".join(report(file, tree, findings)))
    return Document(
        path=path,
        text=text,
        format=spec.format,
        name=spec.name,
        version=spec.version,
        state=spec.state,
        architecture=Architecture.model_construct(input=spec.input, net=spec.net),
        data=spec.data,
        train=spec.train,
        search=spec.search,
        tree=tree,
    )


def search_at(document: Document, epoch: float) -> tuple[Search, Train]:
    """The settings in force at an epoch of the lineage, counted from 0 (`search.schedule`)."""
    return settings_at(document.search, document.train, epoch)


def _state(state: str) -> str:
    digits = state.removeprefix("s")
    if len(state) != 17 or len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"expected s and 16 hex digits, not '{shown(state)}'; remove it to start untrained")
    return state


def _open_at_once(path: str, flags: int) -> int:
    """Opening a pipe would else wait for its writer, for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    """All bytes of a regular file, and one more than the limit of a larger one."""
    file = shown(path, 300)
    try:
        with open(path, "rb", opener=_open_at_once) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise InputError(f"{file}: is not a regular file")
            return opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; `nhnas init` writes one to start from") from None
    except IsADirectoryError:
        raise InputError(f"{file}: is a folder, not a spec file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file}: cannot be read: {reason}") from None


def _validated(tree: Mapping) -> tuple[Spec | None, list[Finding]]:
    """What the file says, if it can be said, and everything that is wrong with it."""
    data, spec = plain(tree), None
    found: list[Finding] = []
    try:
        data = _upgraded(data)
        spec = Spec.model_validate(data)
        found += _about_architecture(spec)
    except ValidationError as error:
        found += explain(error)
        found += _salvaged(data, found)
    except ValueError as error:
        return None, [Finding(("format",), str(error))]
    found += [*policy_findings(data), *schedule_findings(data), *search_findings(data)]
    return spec, [*found, *train_findings(data)]


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    number = data.get("format")
    return upgrade(data, number) if type(number) is int else data


def _about_architecture(arch: Architecture) -> list[Finding]:
    return [Finding(problem.loc, problem.message) for problem in problems(arch)]


def _salvaged(data: dict[str, Any], found: list[Finding]) -> list[Finding]:
    """What else is wrong with the architecture, as far as it can be understood in spite of what was found."""
    rest = _respelled(data, [f for f in found if f.unknown and f.loc[0] == "net"])
    try:
        return _about_architecture(Architecture.model_validate(rest))
    except ValidationError:
        return _about_layers(rest["net"])


def _respelled(data: dict[str, Any], unknown: list[Finding]) -> dict[str, Any]:
    """`input` and `net` with each unknown key spelled as it was meant, or gone."""
    rest = deepcopy({key: data.get(key) for key in ("input", "net")})
    for finding in unknown:
        parent: Any = rest
        for part in finding.loc[:-1]:
            parent = parent[part]
        value = parent.pop(finding.loc[-1])
        if finding.meant is not None:
            parent.setdefault(finding.meant, value)
    return rest


def _about_layers(net: object) -> list[Finding]:
    """What is wrong with names, and inside the layers that are valid by themselves."""
    layers = list(enumerate(net if isinstance(net, list) else ()))
    named = ((n, x["name"]) for n, x in layers if isinstance(x, dict) and isinstance(x.get("name"), str))
    every = list(repeated_names(named))
    adapter: TypeAdapter[Layer] = TypeAdapter(Layer)
    for index, layer in layers:
        try:
            every += local_problems(index, adapter.validate_python(layer))
        except ValidationError:
            continue
    return [Finding(problem.loc, problem.message) for problem in every]
