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
from nhnas.spec.descriptions import ANYWHERE, OPS

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
    options = ("--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error")
    subprocess.run(["npm", "install", *options, PACKAGE], cwd=folder, check=True, capture_output=True)
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
    ],
)
def test_errors_are_marked_where_they_are(old: str, new: str, line: int, column: int, server: Server) -> None:
    """At the key or the value, as `nhnas check` does."""
    found = server.diagnostics(SPEC.replace(old, new))
    assert (line, column) in {(row, start) for row, start, _ in found}, found


def test_keys_of_the_op_are_offered(server: Server) -> None:
    """Inside a convolution its own keys, with their explanations, and none of a dropout's."""
    offered = server.completions(SPEC.replace("    width: 4\n", "    width: 4\n    |\n"))
    assert {"kernel", "stride", "norm", "act", "fixed", "shortcut"} <= offered.keys()
    assert not {"p", "width"} & offered.keys()
    assert ANYWHERE["kernel"] in offered["kernel"]


def test_values_are_offered(server: Server) -> None:
    """Of `op` all, of `act` the activations."""
    assert OPS.keys() <= server.completions(HEAD + "  - name: a\n    op: |\n").keys()
    acts = server.completions(HEAD + "  - name: a\n    op: activation\n    act: |\n")
    assert {"relu", "gelu", "silu", "tanh"} <= acts.keys()


def test_a_key_is_explained_under_the_mouse(server: Server) -> None:
    """Also one that is nested."""
    found = server.at("hover", SPEC.replace("hidden: 3", "hid|den: 3"))
    value = found["contents"]["value"] if isinstance(found["contents"], dict) else str(found["contents"])
    assert ANYWHERE["hidden"].split(".")[0] in value.replace("\\", "")
