"""Figure 8 of the paper: the settings in force over the epochs of the lineage."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from nhnas.plot_panel import Chart, Panel, Series, panel
from nhnas.plot_track import Track, Version
from nhnas.spec.config import Search, Train
from nhnas.spec.document import parse_document
from nhnas.spec.errors import InputError
from nhnas.spec.schedule import settings_at

ALWAYS = ("lr", "add", "add_to_remove", "max_epochs")
"""Drawn even where they never change; others only where they do."""


def settings_panel(track: Track) -> Panel:
    """Each setting from a version's start on, as file and `search.schedule` gave it; the rates recorded."""
    known = [_settings(version, track) for version in track.versions]
    charts = [_chart(key, track, known) for key in _shown_keys(known)]
    return panel("settings", "settings over epochs", "epochs of the lineage", charts)


def in_force(version: Version, track: Track) -> tuple[Search, Train]:
    """The settings at the start of a version, as recorded; of an older snapshot, by the file saved with it.

    What a person changed in that file during the step was not in force yet.
    """
    try:
        search = Search.model_validate(version.settings["search"])
        train = Train.model_validate(version.settings["train"])
        return settings_at(search, train, version.start)
    except (LookupError, TypeError, ValidationError):
        pass
    try:
        document = parse_document(version.spec_text, track.path)
    except InputError as error:
        raise InputError(f"snapshot {version.state}: its spec cannot be read: {error}") from None
    return settings_at(document.search, document.train, version.start)


def _settings(version: Version, track: Track) -> dict[str, float]:
    """The numbers among the settings in force."""
    search, train = in_force(version, track)
    found = {**_numbers(train), **_numbers(search)}
    found.pop("seed")
    return {**found, **_decided(version.policy, found["lr"])}


def _numbers(settings: Any) -> dict[str, float]:
    values = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return {name: float(value) for name, value in values if type(value) in (int, float)}


def _decided(policy: dict[str, float], lr: float) -> dict[str, float]:
    """What a policy put in the place of the file's settings."""
    if not policy:
        return {}
    add, remove = policy.get("add", 0.0), policy.get("remove", 0.0)
    ratio = {"add_to_remove": add / remove} if remove else {}
    return {"add": add, "lr": lr * policy.get("rate", 1.0), **ratio}


def _shown_keys(known: list[dict[str, float]]) -> list[str]:
    keys = list(dict.fromkeys(key for one in known for key in one))
    changing = [k for k in keys if k not in ALWAYS and len({one.get(k) for one in known}) > 1]
    return [*ALWAYS, *changing]


def _chart(key: str, track: Track, known: list[dict[str, float]]) -> Chart:
    values = [one.get(key) for one in known]
    x = (*(v.start for v in track.versions), track.versions[-1].end)
    given = Series(key, x, (*values, values[-1]), "steps")
    if key != "lr":
        return Chart(key, (given,))
    epochs = [epoch for version in track.versions for epoch in version.epochs]
    used = Series(
        "lr of each epoch's last batch",
        tuple(e.at for e in epochs),
        tuple(e.lr for e in epochs),
        "curve",
    )
    return Chart(key, (given, used), log=True)
