"""`nhnas plot --baseline`: other runs, and networks from a CSV, beside the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nhnas.plot import numbers
from nhnas.spec.errors import InputError
from tests import tiny
from tests.plotted import figure, infos, series, totals, trained_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a way up and a way down."""
    return trained_run(tmp_path_factory.mktemp("plot") / "work")


def test_other_runs_and_a_csv_as_baselines(trained: Path, tmp_path: Path) -> None:
    """Rows of one name are one series; equal names are told apart; what has no MACs is left out and named."""
    table = tmp_path / "others.csv"
    table.write_text(
        "name, params, macs, accuracy\nResNet, 100, 900, 0.5\n'q, 7,, 92.5%\nResNet, 300, 2000, 1\n"
    )
    found = series(trained, "parameters", trained, table)
    known = infos(trained)
    own = ([totals(i)["parameters"] for i in known], [i.state["info"]["test"]["accuracy"] for i in known])
    assert own == found["points (2)"]
    assert ([100, 300], [0.5, 1.0]) == found["ResNet"]
    assert ([7], [0.925]) == found["'q"]
    by_macs = figure(trained, "macs", table)
    assert "macs not known of 'q" == by_macs["says"]
    named = {one["name"]: one["x"] for one in by_macs["series"]}
    assert ([900, 2000], False) == (named["ResNet"], "'q" in named)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,accuracy\na,0.5\n", "others.csv:1: no column params; expected name,params,accuracy[,macs]"),
        ("", "others.csv:1: no column name and params and accuracy; expected name,params,accuracy[,macs]"),
        ("name,params,accuracy\na,1\n", "others.csv:2: expected 3 cells, as many as the first line has"),
        (
            "name,params,accuracy\na,1,0.5,9\n",
            "others.csv:2: expected 3 cells, as many as the first line has",
        ),
        (
            "name,params,accuracy\na,1.5,1\n",
            "others.csv:2: params: expected a whole number above 0, not '1.5'",
        ),
        ("name,params,accuracy\na,0,1\n", "others.csv:2: params: expected a whole number above 0, not '0'"),
        (
            "name,params,accuracy\na,1,92.6\n",
            "others.csv:2: accuracy: expected a fraction in [0, 1], or a percentage as in 92.6%, not '92.6'",
        ),
        (
            "name,params,accuracy\na,1,nan\n",
            "others.csv:2: accuracy: expected a fraction in [0, 1], or a percentage as in 92.6%, not 'nan'",
        ),
        ('name,params,accuracy\n"a,1,1\n', "others.csv: not a CSV in UTF-8: unexpected end of data"),
        ("name,params,accuracy\n\udcff,1,1\n", "others.csv: not a CSV in UTF-8: 'utf-8' codec can't decode"),
    ],
)
def test_a_csv_that_cannot_be_read(text: str, message: str, trained: Path, tmp_path: Path) -> None:
    """Where it is wrong, what was expected; nothing is drawn."""
    table = tmp_path / "others.csv"
    table.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        numbers(trained, "parameters", [table])
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_baselines_that_do_not_fit(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained spec, a missing file, and another measure are errors."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    other = tiny.make(tmp_path / "work", tiny.REGRESSION)
    with pytest.raises(InputError, match="no version has been trained yet"):
        numbers(trained, "parameters", [other])
    tiny.step(other)
    with pytest.raises(InputError, match="its networks have mse, those of the run accuracy"):
        numbers(trained, "parameters", [other])
    (tmp_path / "many.csv").write_text("name,params,accuracy\n" + "".join(f"n{n},1,1\n" for n in range(201)))
    with pytest.raises(InputError, match="--baseline: 201 names; at most 200 can be told apart"):
        numbers(trained, "parameters", [tmp_path / "many.csv"])
    for name in ("gone.csv", "gone.yaml"):
        with pytest.raises(InputError, match=name):
            numbers(trained, "parameters", [tmp_path / name])
