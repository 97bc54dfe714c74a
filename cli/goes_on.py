"""Whether a command goes on with what an interrupted one left in its slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhnas.compiler.slot import Slot
from nhnas.goal import RESULT, command_text, goes_with
from nhnas.spec.document import Document, parse_document, read_document
from nhnas.spec.errors import InputError
from nhnas.until import Until


@dataclass(frozen=True)
class Request:
    """What the person asked for; two equal requests are the same command."""

    command: str
    fresh: bool = False
    steps: int | None = None
    to: int | None = None
    epochs: int | None = None
    until: tuple[Until, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields that were given, as JSON data."""
        given = {**vars(self), "until": [str(goal) for goal in self.until] or None}
        return {key: value for key, value in given.items() if value is not None and value is not False}


def checked(slot: Slot | None, request: Request, spec: Path) -> Slot | None:
    """The slot, if it is for this command; InputError if it is another's or of another state of the file."""
    if slot is None:
        return None
    reason = None if is_same(request, slot) else _other(request, slot)
    if reason is not None:
        raise InputError(
            f"{spec}: `{command_text(slot.goal['request'])}` was interrupted{reason}; go on with the same "
            "command, or --discard it"
        )
    document = read_document(spec)
    if not goes_with(slot.data, document):
        state = slot.data["file_state"]
        start = "an untrained file" if state is None else f"state {state}"
        raise InputError(
            f"{spec}: the interrupted command started from {start}, the file now names "
            f"{document.state or 'no state'}; put it back, or drop the interrupted command with --discard"
        )
    return slot


def is_same(request: Request, slot: Slot) -> bool:
    """Whether it is the command that was interrupted; a step may name its version or not."""
    asked = slot.goal["request"]
    if request.command == asked["command"] == "step":
        return request.fresh == asked.get("fresh", False) and request.to in (None, slot.goal["to"])
    return bool(asked == request.as_dict())


def _other(request: Request, slot: Slot) -> str | None:
    """Why it does other work than the one in the slot; None where it does less or more of the same.

    A step is a run of one, and no version depends on how many are to follow; a training may end sooner or
    later, unless its last part is averaged. One that begins untrained has to be the same: another one may
    mean to begin again.
    """
    asked = slot.goal["request"]
    is_alike = request.command == asked["command"] or {request.command, asked["command"]} == {"step", "run"}
    if not is_alike or request.fresh or "fresh" in asked:
        return ""
    text = slot.data.get("spec")
    if request.command == "train" and text and parse_document(text.encode()).train.average:
        return ", whose last part is averaged (train.average)"
    return None


def is_midway(slot: Slot, document: Document) -> bool:
    """Whether the slot holds a version that has begun and is not saved yet."""
    is_saved = document.state is not None and document.state == slot.data.get(RESULT)
    return bool(slot.data.get("stage")) and not is_saved
