"""`train.compile`: once for each architecture, and never silently without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nhnas.compiler.build import build
from nhnas.log import history
from nhnas.spec.errors import InputError
from nhnas.trainer import compiled
from nhnas.trainer.compiled import Compiled
from tests import tiny
from tests.form_samples import MAPS, samples

Graph = torch.fx.GraphModule


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """What is handed to the backend, which here runs the graph as it was traced, without a C++ compiler."""
    seen: list[Graph] = []

    def backend(graph: Graph, _inputs: list[Any]) -> Callable[..., Any]:
        seen.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    yield seen
    torch.compiler.reset()


def test_twelve_growths_are_compiled_once_each(tmp_path: Path, graphs: list[Graph]) -> None:
    """Every architecture of twelve steps, more than torch would compile by itself, is compiled once.

    The first step ends in the weights of one that is not compiled. (Ids hold how a version was computed, and
    the random weights of newcomers follow from the id of the version before.)
    """
    text = tiny.DENSE.replace("batch: 8", "batch: 9").replace("add: 8", "add: 3")  # 9, 9 and 6 points
    plain = tiny.make(tmp_path / "plain", text)
    spec = tiny.make(tmp_path / "compiled", text.replace("train: {", "train: {compile: true, "))
    tiny.step(plain)
    counts = []
    for _ in range(12):
        before = len(graphs)
        (saved,) = tiny.step(spec)
        counts.append(len(graphs) - before)
        if saved.version == 1:
            first, other = (next(path.parent.rglob("weights.safetensors")) for path in (plain, spec))
            assert first.read_bytes() == other.read_bytes()
    # a fit is measured in all of its few batches, so that what is compiled is the network that fades
    assert [1] * 12 == counts


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("fused", [False, True])
def test_one_graph_whatever_the_batch(fused: bool, layout: Any, graphs: list[Graph]) -> None:
    """Batches of another size, and those in which somebody looks, run as they are; in each form."""
    network: Any = build(MAPS).to(memory_format=layout)
    network = network.fuse(fused).train()
    forward, x = Compiled(network, 8), samples(MAPS)[0][0].to(memory_format=layout)
    for inputs in (x, x[:5], x, x[:3], x):
        assert network(inputs).shape == forward(inputs).shape
    network.probe.observer = lambda *_: None
    forward(x)
    network.probe.observer = None
    network.probe.comparer = lambda *_: None
    forward(x)
    assert 1 == len(graphs)


@pytest.mark.parametrize("batch", [8, 23, 24, 30])
def test_what_fades_is_compiled_whatever_the_batch(batch: int, tmp_path: Path, graphs: list[Graph]) -> None:
    """Of 24 points 23 and the last one are a batch of 24."""
    text = tiny.DENSE.replace("batch: 8", f"batch: {batch}").replace("train: {", "train: {compile: true, ")
    tiny.step(tiny.make(tmp_path, text))
    assert 1 == len(graphs)


def test_what_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not silently as it was before."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    with pytest.raises(InputError, match=r"^train\.compile: torch\.compile failed: .*compile: false$"):
        Compiled(build(MAPS).train(), 8)(samples(MAPS)[0][0])
    torch.compiler.reset()


@pytest.mark.system  # a C++ compiler
def test_machine_code_trains_as_well(tmp_path: Path) -> None:
    """A step of images with torch's own backend, in a process of its own."""
    text = tiny.CONV.replace("dropout: 0.1", "dropout: 0").replace("dropout: 0.2", "dropout: 0")
    text = text.replace("p: 0.1", "p: 0")  # its random numbers are others
    plain = tiny.make(tmp_path / "plain", text)
    spec = tiny.make(tmp_path / "compiled", text.replace("train: {", "train: {compile: true, "))
    losses = []
    for path in (plain, spec):
        step = [sys.executable, "-m", "nhnas", "step", path.name]
        done = subprocess.run(step, cwd=path.parent, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr
        losses.append(history(path)[-1]["test"]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] != losses[1], "it was not compiled"
