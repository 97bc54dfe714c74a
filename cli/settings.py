"""The settings that a version was trained with, and what a person changed of them since the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nhnas.class_facts import SAMPLES, TRAINED_ON, samples_of
from nhnas.compiler.history import load_info
from nhnas.compiler.place import store_folder
from nhnas.spec.canonical import same_architecture
from nhnas.spec.document import Document, parse_document
from nhnas.spec.schedule import entry_at

if TYPE_CHECKING:
    from nhnas.compiler.slot import Slot
    from nhnas.work import Context, Work

SETTINGS = "settings"
"""Key of a version's `info`: data, train and search as they were; and of its `facts`: what had changed."""
SECTIONS = ("data", "train", "search")
_LONGEST = 40

Settings = Mapping[str, Mapping[str, Any]]


def settings_of(document: Document) -> dict[str, dict[str, Any]]:
    """The sections of a file with all defaults, as JSON data."""
    return {section: getattr(document, section).model_dump(mode="json") for section in SECTIONS}


def note_settings(work: Work) -> None:
    """Say, and note in `facts`, what differs from the settings of the version that `work` starts from.

    The file that was saved with that version may already hold what a person edited during its training: what
    it was trained with is in its record.
    """
    if work.parent is None:
        return
    info = load_info(store_folder(work.context.spec), work.parent).state["info"]
    if found := changed(info.get(SETTINGS, {}), settings_of(work.document)):
        work.facts[SETTINGS] = found
        work.context.report.say(f"settings changed since version {work.version - 1}: {changes_text(found)}")
    if told := _hidden(found, entry_at(work.document.search, work.exact["epochs"])):
        work.context.report.say(told)
    if _holds_out_others(found, info.get(TRAINED_ON, {}).get(SAMPLES), work):
        work.context.report.say(
            "other samples are held out from now on, and the network was trained on some of them: their "
            "accuracy flatters it"
        )


def tell_edited_since(context: Context, slot: Slot, document: Document) -> None:
    """Say what becomes of edits that a person made while the command that goes on was interrupted."""
    begun = parse_document(slot.data["spec"].encode(), context.spec)
    if not same_architecture(begun.architecture, document.architecture):
        context.report.say(
            "net was edited meanwhile: this version goes on with the one that it began with, and is saved "
            "beside the file; --discard begins anew"
        )
        return
    found = changed(settings_of(begun), settings_of(document))
    if later := {path: pair for path, pair in found.items() if path != "data.workers"}:  # which holds at once
        context.report.say(
            f"settings edited meanwhile are read from the next version on: {changes_text(later)}"
        )


def _hidden(found: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Which of the changes do not hold, since an entry of `search.schedule` sets the same."""
    new = {
        path.split(".")[1]: pair[1]
        for path, pair in found.items()
        if path == "train.lr" or path.startswith("search.")
    }
    sets = [f"{key} {_value(entry[key])}" for key in new if key in entry and entry[key] != new[key]]
    if not sets:
        return ""
    return f"search.schedule sets {', '.join(sets)} until epoch {entry['until']}, and goes before your change"


def _holds_out_others(found: Mapping[str, Any], samples: int | None, work: Work) -> bool:
    """Whether a change moved samples from training to the held-out part, which `train.seed` draws.

    One sample more is drawn anew, too; `samples` is None where the version before does not tell how many.
    """
    if work.document.data.val == 0:
        return False
    return samples not in (None, samples_of(work.dataset)) or not {"data.val", "train.seed"}.isdisjoint(found)


def changed(before: Settings, after: Settings) -> dict[str, list[Any]]:
    """`{"train.lr": [0.05, 0.01]}`; keys that the older record does not know are left out."""
    return {
        f"{section}.{key}": [old, after[section][key]]
        for section, keys in before.items()
        for key, old in keys.items()
        if key in after.get(section, {}) and after[section][key] != old
    }


def changes_text(changes: Mapping[str, list[Any]]) -> str:
    """`train.lr 0.05 → 0.01, search.schedule changed`."""
    return ", ".join(f"{path} {_change(*pair)}" for path, pair in changes.items())


def _change(old: Any, new: Any) -> str:
    text = f"{_value(old)} → {_value(new)}"
    return text if len(text) <= _LONGEST else "changed"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_value(v)}' for key, v in value.items() if v is not None)}}}"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
