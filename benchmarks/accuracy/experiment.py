"""What an experiment is: a start, settings, and commands; read from experiments.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
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
    """`nhnas train`: `epochs` of it, or what is missing until the run has `total`; `settings` as of now."""

    kind: Literal["train"] = "train"
    epochs: int | None = None
    total: int | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.epochs is None) == (self.total is None):
            raise ValueError("a training has either epochs or a total")
        return self

    def epochs_after(self, done: int) -> int:
        """Epochs to train where `done` lie behind."""
        return self.epochs if self.epochs is not None else (self.total or 0) - done


class Row(Strict):
    """One row of a table.

    Begins with the spec file `spec` (beside this file, or a path from the repository's root), with a ResNet
    of `nhnas init resnet` (width, blocks, perhaps classes), or, as a control, with the architecture that
    another row ended with, untrained.
    """

    about: str
    spec: str | None = None
    resnet: tuple[int, ...] | None = None
    of: str | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    commands: tuple[Run | Train, ...]
    seeds: tuple[int, ...] = (0,)

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if sum(start is not None for start in (self.spec, self.resnet, self.of)) != 1:
            raise ValueError("a row begins with a spec, a resnet or another row's architecture")
        return self


class Experiment(Strict):
    """A table: rows that are compared, and settings that all of them share.

    `reach`: a test accuracy of which the table says after how many epochs it was met (`train.evaluate`).
    """

    about: str
    reach: float | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rows: dict[str, Row]


def load_experiments(file: Path) -> dict[str, Experiment]:
    """All experiments by name. Raises pydantic's ValidationError where the file is unsound."""
    raw = YAML(typ="safe", pure=True).load(file)
    return {name: Experiment.model_validate(value) for name, value in raw.items()}
