"""Pictures as real programs read them: graphviz, and Mermaid's own parser from npm (make test-system)."""

from __future__ import annotations

import html
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nhnas.dot_source import as_dot
from nhnas.rendering import render
from nhnas.spec.drawing import Look
from nhnas.spec.drawing_cards import drawn
from nhnas.spec.drawing_mermaid import as_mermaid
from nhnas.spec.drawing_text import heading
from nhnas.spec.structure import sites
from tests.npm import npm_install
from tests.pictures import HOSTILE, hostile, nested, random_trees

pytestmark = pytest.mark.system

NAMESPACE = "{http://www.w3.org/2000/svg}"
TITLE = "{http://www.w3.org/1999/xlink}title"
MAGIC = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}

PACKAGES = ("mermaid@11.17.2", "jsdom@26.1.0")
PARSE = """\
import { readFileSync } from 'node:fs';
import { JSDOM } from 'jsdom';
const dom = new JSDOM('<!DOCTYPE html><body></body>');
globalThis.window = dom.window;
globalThis.document = dom.window.document;
const mermaid = (await import('mermaid')).default;
mermaid.initialize({ startOnLoad: false, maxTextSize: 1e9, maxEdges: 1e9 });
const found = [];
for (const file of process.argv.slice(2)) {
  const diagram = await mermaid.mermaidAPI.getDiagramFromText(readFileSync(file, 'utf8'));
  found.push({
    vertices: [...diagram.db.getVertices().values()].map(v => v.text),
    boxes: diagram.db.getSubGraphs().map(g => g.title),
    arrows: diagram.db.getEdges().length,
  });
}
console.log(JSON.stringify(found));
"""


def dot(source: str, form: str) -> bytes:
    """What graphviz makes of a source; it may have no complaint."""
    done = subprocess.run(["dot", f"-T{form}"], input=source.encode(), capture_output=True, check=False)
    assert (0, b"") == (done.returncode, done.stderr)
    return done.stdout


def test_graphviz_takes_every_name_literally() -> None:
    """Of hostile names dot draws exactly the labels, and the tooltips the whole names without backslash."""
    root = ET.fromstring(dot(as_dot(drawn(hostile(), title="<b>&amp;\\N")), "svg"))
    shown = {(e.text or "").replace("\u00a0", " ") for e in root.iter(f"{NAMESPACE}text")}
    told = {e.attrib[TITLE].replace("\u00a0", " ") for e in root.iter() if TITLE in e.attrib}
    assert set() == {heading((name,)) for name in HOSTILE} - shown
    assert "<b>&amp;\\N" in shown
    assert set() == {x for x in HOSTILE if len(x) < 1_000 and "\\" not in x and x != "\ufffe"} - told


def test_graphviz_draws_what_is_there() -> None:
    """Of random trees dot draws each node of ours once and makes no node of its own; numbers are shown."""
    for tree in random_trees(20):
        source = as_dot(drawn(tree, look=Look(each=True)))
        root = ET.fromstring(dot(source, "svg"))
        kinds: dict[str, list[str]] = {"node": [], "cluster": []}
        for group in root.iter(f"{NAMESPACE}g"):
            if group.attrib.get("class") in kinds:
                kinds[group.attrib["class"]].append(group.findtext(f"{NAMESPACE}title") or "")
        assert sorted(set(re.findall(r"^\t+(n\d+) \[", source, re.MULTILINE))) == sorted(kinds["node"])
        assert sorted(re.findall(r"subgraph (cluster_g\d+)", source)) == sorted(kinds["cluster"])
        texts = [e.text or "" for e in root.iter(f"{NAMESPACE}text")]
        assert all(texts.count(str(site.neurons)) for site in sites(tree).values())


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_graphviz_makes_every_format(form: str) -> None:
    """With graphviz, each format is written from hostile, nested, compared and coloured pictures."""
    for index, tree in enumerate([*random_trees(3), hostile(), nested(12)]):
        for look, old in ((Look(), None), (Look(macs=True), None), (Look(), next(random_trees(1)))):
            data = dot(as_dot(drawn(tree, old, look)), form)
            assert data.startswith(MAGIC[form]), index


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_the_command_uses_graphviz(form: str, tmp_path: Path) -> None:
    """`render` writes .png and .pdf through dot, and .svg too where it is asked to."""
    (tmp_path / "spec.yaml").write_text(
        "format: 1\nname: a<b>\ninput: [2]\nnet: [{name: head, op: dense, width: 2, residual: {hidden: 3}}]\n"
    )
    output = tmp_path / f"x.{form}"
    render(str(tmp_path / "spec.yaml"), str(output), layout="dot")
    assert output.read_bytes().startswith(MAGIC[form])


@pytest.fixture(scope="module")
def mermaid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Mermaid's parser and a document for it to run in, from npm."""
    folder = tmp_path_factory.mktemp("mermaid")
    npm_install(folder, *PACKAGES)
    (folder / "parse.mjs").write_text(PARSE)
    return folder


def parsed(folder: Path, sources: list[str]) -> list[dict[str, Any]]:
    """What Mermaid understands of flowcharts."""
    files = [folder / f"{index}.mmd" for index in range(len(sources))]
    for file, source in zip(files, sources, strict=True):
        file.write_text(source)
    command = ["node", "parse.mjs", *(file.name for file in files)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[:500]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def lines(label: str) -> list[str]:
    """The lines that a reader sees of a label, whose entities Mermaid has set aside."""
    entities = label.replace("ﬂ°°", "&#").replace("ﬂ°", "&").replace("¶ß", ";")
    return [html.unescape(line).replace("\u00a0", " ") for line in re.split("<br/?>", entities)]


def test_mermaid_takes_every_name_literally(mermaid: Path) -> None:
    """Of hostile names Mermaid's parser understands exactly the labels."""
    (found,) = parsed(mermaid, [as_mermaid(drawn(hostile()))])
    shown = {line for label in found["vertices"] + found["boxes"] for line in lines(label)}
    assert set() == {heading((name,)) for name in HOSTILE} - shown


def test_mermaid_understands_random_trees(mermaid: Path) -> None:
    """Mermaid's parser finds as many boxes, nodes and arrows as were written, and each number."""
    trees = [*random_trees(40), nested(64)]
    sources = [as_mermaid(drawn(tree, look=Look(each=True))) for tree in trees]
    old = Random(0).sample(trees, len(trees))
    parsed(mermaid, [as_mermaid(drawn(a, b)) for a, b in zip(trees, old, strict=True)])
    for tree, source, found in zip(trees, sources, parsed(mermaid, sources), strict=True):
        assert source.count("subgraph ") == len(found["boxes"])
        assert len(re.findall(r"^\s+n\d+[\[(]", source, re.MULTILINE)) == len(found["vertices"])
        assert source.count("> n") + source.count("| n") == found["arrows"]
        shown = [lines(label)[0] for label in found["vertices"]]
        assert all(str(site.neurons) in shown for site in sites(tree).values())
