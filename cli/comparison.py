"""What differs between two specs: edits of the net, and settings; never imports torch (`nhnas diff`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.record import find_record
from nhnas.spec.canonical import bare
from nhnas.spec.diff import diff
from nhnas.spec.document import Document
from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons, edit_to_dict
from nhnas.spec.measure import measure
from nhnas.spec.notes import notes
from nhnas.spec.renames import renames
from nhnas.spec.turnover import Recorded

_SECTIONS = ("data", "train", "search")


@dataclass(frozen=True)
class Setting:
    """A key outside `net`, or a note, that differs; None where a file does not have it."""

    path: str
    old: Any
    new: Any

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """From `old` to `new`. `guessed` are sites of which nobody knows which neurons came and went."""

    old: Document
    new: Document
    edits: tuple[Edit, ...]
    settings: tuple[Setting, ...]
    guessed: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """True where more than comments and formatting differ."""
        return bool(self.edits or self.settings) or self.old.state != self.new.state

    def as_dict(self) -> dict[str, Any]:
        """JSON data; `before` and `after` are name, version, state and totals (DESIGN §8)."""
        return {
            "edits": [edit_to_dict(edit) for edit in self.edits],
            "settings": [setting.as_dict() for setting in self.settings],
            "guessed": list(self.guessed),
            "before": summary(self.old),
            "after": summary(self.new),
        }


def summary(document: Document) -> dict[str, Any]:
    """Name, version, state and totals of a document."""
    return {
        "name": document.name,
        "version": document.version,
        "state": document.state,
        **measure(document.architecture).as_dict(),
    }


def compare(old: Document, new: Document, store: Path | None = None) -> Comparison:
    """Edits and settings that lead from one document to the other.

    Which neurons came and went is taken from the versions between them, where `store` has them. Where it
    has not, a site that shrank loses its last ones and one that grew keeps all, and both are in `guessed`,
    unless both files are untrained: then neurons are all alike.
    """
    before, after = bare(old.architecture), bare(new.architecture)
    same = before == after
    found = None if store is None or (same and old.state == new.state) else find_record(old, new, store)
    if found is not None:
        turnover = Recorded(found.origins)
        edits = diff(before, after, turnover, found.renamed)
        return Comparison(old, new, edits, tuple(_settings(old, new)), tuple(sorted(turnover.guessed)))
    edits = () if same else diff(before, after, renamed=renames(before, new.architecture))
    return Comparison(
        old, new, edits, tuple(_settings(old, new)), _resized(edits) if old.state or new.state else ()
    )


def _resized(edits: Sequence[Edit]) -> tuple[str, ...]:
    """Sites that neurons left or joined."""
    return tuple(sorted({edit.site for edit in edits if isinstance(edit, AddNeurons | RemoveNeurons)}))


def _settings(old: Document, new: Document) -> Iterator[Setting]:
    if old.name != new.name:
        yield Setting("name", old.name, new.name)
    if old.architecture.input != new.architecture.input:
        yield Setting("input", list(old.architecture.input), list(new.architecture.input))
    theirs, mine = notes(old.architecture), notes(new.architecture)
    yield from _differences("", theirs, mine)
    for section in _SECTIONS:
        before, after = (getattr(document, section).model_dump(mode="json") for document in (old, new))
        yield from _differences(f"{section}.", before, after)


def _differences(prefix: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Setting]:
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            yield Setting(f"{prefix}{key}", old.get(key), new.get(key))
