"""The schema in a real editor's hands: yaml-language-server from npm (make test-system)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nhnas.init import template_text, templates
from nhnas.schema_file import write_schema
from nhnas.spec.descriptions import ANYWHERE, EXAMPLES, OPS
from nhnas.spec.document import parse_document
from nhnas.spec.errors import InputError
from tests.npm import npm_install

pytestmark = pytest.mark.system

PACKAGE = "yaml-language-server@1.25.0"
HEAD = template_text("spirals").decode().splitlines()[0] + "\nformat: 1\nname: x\ninput: [3, 8, 8]\nnet:\n"
SPEC = HEAD + (
    "  - name: stem\n    op: conv\n    width: 4\n    residual:\n      hidden: 3\n"
    "  - {name: pool, op: global_avg_pool}\n  - {name: head, op: dense, width: 2}\n"
)


class Server:
    """Speaks the language server protocol over a process's pipes."""

    def __init__(self, folder: Path, program: Path) -> None:
        command = ["node", str(program), "--stdio"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._folder, self._number, self._files = folder, 0, 0
        self._told: dict[str, list[dict[str, Any]]] = {}
        self.request("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}})
        self._send({"method": "initialized", "params": {}})
        settings = {
            "yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
        }
        self._send({"method": "workspace/didChangeConfiguration", "params": {"settings": settings}})

    def close(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.communicate()

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """The next message; questions of the server are answered with nothing."""
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            self._told[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "method" in message and "id" in message:
            items = (
                message.get("params", {}).get("items", ())
                if message["method"].endswith("configuration")
                else ()
            )
            self._send({"id": message["id"], "result": [None] * len(items) if items else None})
        return message

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """Ask, and wait for the answer."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]

    def open(self, text: str) -> str:
        """A file beside the schema, as an editor opens it."""
        self._files += 1
        path = self._folder / f"spec{self._files}.yaml"
        path.write_text(text)
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return path.as_uri()

    def diagnostics(self, text: str) -> list[tuple[int, int, str]]:
        """Line and column, both from 1 on, and message of everything that is marked."""
        uri = self.open(text)
        while uri not in self._told:
            self._receive()
        found = self._told[uri]
        starts = [(item["range"]["start"], item["message"]) for item in found]
        return [(start["line"] + 1, start["character"] + 1, message) for start, message in starts]

    def at(self, method: str, text: str) -> Any:
        """Ask about the place that is marked with | in the text."""
        before = text.partition("|")[0]
        place = {"line": before.count("\n"), "character": len(before.rpartition("\n")[2])}
        uri = self.open(text.replace("|", ""))
        return self.request(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": place})

    def completions(self, text: str) -> dict[str, str]:
        """What is offered there, with its explanation."""
        found = self.at("completion", text)
        items = found["items"] if isinstance(found, dict) else found
        return {item["label"]: str(item.get("documentation", "")) for item in items}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, in a folder with the schema."""
    folder = tmp_path_factory.mktemp("language server")
    npm_install(folder, PACKAGE)
    write_schema(folder)
    running = Server(
        folder, folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    )
    yield running
    running.close()


def test_generated_files_are_unmarked(server: Server) -> None:
    """Every template, and the file of these tests."""
    for text in (SPEC, *(template_text(name).decode() for name in templates())):
        assert [] == server.diagnostics(text)


@pytest.mark.parametrize(
    ("old", "new", "line", "column"),
    [
        ("      hidden: 3", "      hiden: 3", 10, 7),
        ("    width: 4", '    width: "16"', 8, 12),
        ("    width: 4", "    width: true", 8, 12),
        ("op: dense, width: 2", "op: dense, width: 2, stride: 2", 12, 39),
        ("    op: conv", "    op: cnv", 7, 9),
        ("name: x\n", "name: x\nnme: y\n", 4, 1),
        ("    width: 4", "    width: 4\n    kernel: 4", 9, 13),
        ("    width: 4", "    width: 4\n    shortcut: {kernal: 3}", 9, 16),
        ("    width: 4", "    width: 4\n    shortcut: identty", 9, 15),
        ("    width: 4", "    width: 4\n    shortcut: identity", 8, 12),
        ("hidden: 3", "hidden: 0\n    shortcut: false", 11, 15),
        ("hidden: 3", "hidden: 0\n      first: {residual: {hidden: 1}}", 11, 34),
        ("name: stem", "name: a.b", 6, 11),
    ],
)
def test_errors_are_marked_where_they_are(old: str, new: str, line: int, column: int, server: Server) -> None:
    """At the key or the value, as `nhnas check` does, and once each."""
    text = SPEC.replace(old, new)
    with pytest.raises(InputError, match=f"^spec:{line}:{column}: |\nspec:{line}:{column}: "):
        parse_document(text.encode())
    found = server.diagnostics(text)
    assert (line, column) in {(row, start) for row, start, _ in found}, found
    assert len(found) == len({(row, start) for row, start, _ in found}), found


def test_a_width_without_a_number_is_marked_there(server: Server) -> None:
    """Where `nhnas check` marks the layer, which has no width then."""
    [(line, column, _)] = server.diagnostics(SPEC.replace("width: 4", "width:"))
    assert (8, 11) == (line, column)


@pytest.mark.parametrize(
    ("op", "some", "none"),
    [
        ("conv", {"kernel", "stride", "norm", "act", "fixed", "shortcut", "residual", "note"}, {"p"}),
        (
            "dense",
            {"norm", "act", "fixed", "shortcut", "residual", "renamed_from"},
            {"p", "kernel", "stride"},
        ),
        ("max_pool", {"kernel", "stride", "note"}, {"width", "residual", "p", "act"}),
        ("dropout", {"p", "note"}, {"width", "kernel", "act"}),
        ("activation", {"act", "note"}, {"width", "kernel", "p"}),
    ],
)
def test_keys_of_the_op_are_offered(op: str, some: set[str], none: set[str], server: Server) -> None:
    """Inside a layer its own keys and no others, each with its explanation."""
    offered = server.completions(HEAD + f"  - name: a\n    op: {op}\n    |\n")
    assert some <= offered.keys()
    assert set() == none & offered.keys()
    assert all(len(offered[key]) > 3 for key in some)


def test_keys_of_nodes_are_offered(server: Server) -> None:
    """Also below an empty residual and beside a missing shortcut, where rules of their own hold."""
    inside = server.completions(SPEC.replace("hidden: 3", "hidden: 0\n      first:\n        |"))
    assert {"kernel", "norm", "shortcut", "residual", "note"} == inside.keys()
    beside = server.completions(SPEC.replace("    width: 4\n", "    width: 4\n    shortcut: false\n    |\n"))
    assert {"kernel", "norm", "stride", "act", "fixed", "note", "renamed_from"} == beside.keys()


def test_values_are_offered(server: Server) -> None:
    """All of each key."""
    assert OPS.keys() <= server.completions(HEAD + "  - name: a\n    op: |\n").keys()
    acts = server.completions(HEAD + "  - name: a\n    op: activation\n    act: |\n")
    assert {"relu", "gelu", "silu", "tanh"} == acts.keys()
    shortcuts = server.completions(HEAD + "  - name: a\n    op: conv\n    shortcut: |\n")
    assert {"true", "false", "identity"} == shortcuts.keys()
    datasets = server.completions(SPEC + "data:\n  dataset: |\n")
    assert set(EXAMPLES["Data.dataset"]) == datasets.keys()


def test_a_key_is_explained_under_the_mouse(server: Server) -> None:
    """Also one that is nested."""
    found = server.at("hover", SPEC.replace("hidden: 3", "hid|den: 3"))
    value = found["contents"]["value"] if isinstance(found["contents"], dict) else str(found["contents"])
    assert ANYWHERE["hidden"].split(".")[0] in value.replace("\\", "")
