"""What an experiment is: a start, settings, and commands; read from experiments.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

FOLDER = Path(__file__).parent
FILE = FOLDER / "experiments.yaml"


class Strict(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(Strict):
    """`nhnas run`: steps of the search, up to version `to` or until a goal."""

    kind: Literal["run"] = "run"
    to: int | None = None
    until: tuple[str, ...] = ()


class Train(Strict):
    """`nhnas train`: as many epochs as are missing until the run has `total`; `settings` as of now."""

    kind: Literal["train"] = "train"
    total: int
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Row(Strict):
    """One row of a table.

    Begins with the spec file `spec` (beside this file, or a path from the repository's root), with a ResNet
    of `nhnas init resnet --width W --blocks N`, or, as a control, with the architecture that another row
    ended with, untrained.
    """

    about: str
    spec: str | None = None
    resnet: tuple[int, int] | None = None
    of: str | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    commands: tuple[Run | Train, ...]
    seeds: tuple[int, ...] = (0,)


class Experiment(Strict):
    """A table: rows that are compared, and settings that all of them share."""

    about: str
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rows: dict[str, Row]


def load_experiments(file: Path) -> dict[str, Experiment]:
    """All experiments by name. Raises pydantic's ValidationError where the file is unsound."""
    raw = YAML(typ="safe", pure=True).load(file)
    return {name: Experiment.model_validate(value) for name, value in raw.items()}
