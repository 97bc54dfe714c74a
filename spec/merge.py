"""Three-way merge of specs, edit by edit: a layer is its name, a node its path, a setting its key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nhnas.spec.document import Document
from nhnas.spec.errors import InputError
from nhnas.spec.merge_meaning import Meaning, Root, merge_meaning, root_of
from nhnas.spec.merge_text import (
    TextMerge,
    by_lines,
    by_pieces,
    marked,
    proven,
    remarks,
    without_remarks,
    written,
)
from nhnas.spec.merge_values import Conflict


@dataclass(frozen=True)
class Merge:
    """`text` is a sound spec, or has conflict markers where `clean` is False.

    `trained` is the side whose weights are carried over, `left` the state of the other side if that is
    another one. `conflicts` are those of values; comments alone may be in conflict too. `reason` says why
    the nets of both sides are in conflict as a whole. `lost` are comments that found no place.
    """

    text: bytes
    clean: bool
    trained: Document
    left: str | None = None
    conflicts: tuple[Conflict, ...] = ()
    reason: str | None = None
    lost: tuple[str, ...] = ()


def merge(
    base: Document | None,
    ours: Document,
    theirs: Document,
    text_merge: TextMerge,
    *,
    stored: Callable[[str], bool] = lambda _: True,
    labels: tuple[str, str] = ("ours", "theirs"),
    marker_size: int = 7,
) -> Merge:
    """Our file with what theirs changed since `base` (None: both added it).

    `version` and `state` are of one side, see `trained_side`. `text_merge` merges by lines; what it makes
    is taken where it says what the merge by values says, and keeps the comments of both. Markers stand around
    the lines that differ between the text with all conflicts given to ours and that with all given to theirs.
    Raises InputError where the text cannot be edited so that it says what was merged.
    """
    if theirs.text == ours.text or (base is not None and theirs.text == base.text):
        return Merge(ours.text, True, ours)
    if base is not None and ours.text == base.text:
        return Merge(theirs.text, True, theirs)
    trained = trained_side(base, ours, theirs, stored)
    meaning = merge_meaning(base, ours, theirs, trained)
    mine, other, lost = _texts(base, ours, theirs, text_merge, meaning)
    why = f"{labels[1]}: {meaning.reason}" if meaning.reason else labels[1]
    text = marked(mine, other, (labels[0], why), marker_size, as_one=meaning.reason is not None)
    left = next((side.state for side in (ours, theirs) if side.state != trained.state), None)
    return Merge(text, mine == other, trained, left, meaning.conflicts, meaning.reason, lost)


def trained_side(
    base: Document | None, ours: Document, theirs: Document, stored: Callable[[str], bool]
) -> Document:
    """Whose `state` the merged file names.

    A side whose snapshot is there before one that is trained, that before an untrained one; among equals the
    one that changed its state since the base, and ours if both did.
    """
    theirs_alone = base is not None and ours.state == base.state != theirs.state
    sides = (theirs, ours) if theirs_alone else (ours, theirs)
    return max(sides, key=lambda side: 0 if side.state is None else 1 + stored(side.state))


def _texts(
    base: Document | None, ours: Document, theirs: Document, text_merge: TextMerge, meaning: Meaning
) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Our and their text of the merge, and comments that are in neither although nobody removed them."""
    said = _said(base, ours, theirs)
    found = None
    for mine, other in _ways(base, ours, theirs, text_merge, meaning):
        told = _told(mine, other, meaning)
        if mine is None or other is None or told is None:
            continue
        lost = tuple((said - told).elements())
        if found is None or len(lost) < len(found[2]):
            found = mine, other, lost
        if not lost:
            break
    if found is None:
        raise InputError("cannot be merged edit by edit")
    return found


def _told(mine: bytes | None, other: bytes | None, meaning: Meaning) -> Counter[str] | None:
    """The comments of two texts that say what they should; None where one does not."""
    ours = proven(mine, meaning.ours)
    if mine == other and meaning.ours == meaning.theirs:
        return remarks(ours) if ours else None
    theirs = proven(other, meaning.theirs) if ours else None
    return remarks(ours) | remarks(theirs) if ours and theirs else None


def _ways(
    base: Document | None, ours: Document, theirs: Document, text_merge: TextMerge, meaning: Meaning
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Texts of the merge, all conflicts given to ours and to theirs, that may or may not be right."""
    before = b"" if base is None else _identified(base, meaning.ours)
    texts = (before, _identified(ours, meaning.ours), _identified(theirs, meaning.ours))
    for way in (by_lines, by_pieces):
        yield way(text_merge, texts, False), way(text_merge, texts, True)
    noted = ours if base is None else _with_remarks(base, ours, theirs, text_merge)
    yield written(noted, meaning.ours), written(noted, meaning.theirs)


def _said(base: Document | None, ours: Document, theirs: Document) -> Counter[str]:
    """How often each comment is to be there: as on the side that changed it, the more if both did."""
    before = remarks(base) if base else Counter[str]()
    mine, other = remarks(ours), remarks(theirs)
    return (mine | other) - Counter(
        {
            text: n - min(mine[text], other[text])
            for text, n in before.items()
            if n in (mine[text], other[text])
        }
    )


def _identified(document: Document, root: Root) -> bytes:
    """The document's text under another `version` and `state`."""
    return written(document, {**root_of(document), "version": root["version"], "state": root["state"]})


def _with_remarks(base: Document, ours: Document, theirs: Document, text_merge: TextMerge) -> Document:
    """Our file with the comments of theirs, as far as these can be told from what else they changed."""
    said = written(theirs, root_of(base))
    for way in (by_pieces, by_lines):
        found = proven(way(text_merge, (base.text, ours.text, said), False), root_of(ours))
        if found is not None and without_remarks(found) == without_remarks(ours):
            return found
    return ours
