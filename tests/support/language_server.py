"""What an editor offers: a conversation with pyright's language server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = {"PYRIGHT_PYTHON_GLOBAL_NODE": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
"""The package has the program in it; it is neither fetched, nor is a newer one looked for."""
LONG = 120.0


class LanguageServer:
    """The server, for files in `directory`. It is killed when it takes too long."""

    def __init__(self, directory: Path) -> None:
        self._asked = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **HERE},
        )
        self._limit = threading.Timer(LONG, self._process.kill)
        self._limit.start()
        folder = {"uri": directory.as_uri(), "name": directory.name}
        self._ask(
            "initialize",
            processId=None,
            rootUri=folder["uri"],
            workspaceFolders=[folder],
            capabilities={"workspace": {"configuration": True}},
        )
        self._send(method="initialized", params={})

    def __enter__(self) -> LanguageServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limit.cancel()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it has a child of its own, which ends by that
        self._process.stdout.read()
        self._process.stdout.close()
        self._process.wait(LONG)

    def open(self, path: Path) -> None:
        """Have the file looked at, as it is now."""
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1}
        document["text"] = path.read_text(encoding="utf-8")
        self._send(method="textDocument/didOpen", params={"textDocument": document})

    def offers(self, path: Path, line: int, column: int) -> list[str]:
        """What is offered behind the column, both counted from 0."""
        answer = self._ask(
            "textDocument/completion",
            textDocument={"uri": path.as_uri()},
            position={"line": line, "character": column},
        )
        return [item["label"] for item in answer["items"]]

    def _ask(self, method: str, **params: Any) -> Any:
        self._asked += 1
        self._send(id=self._asked, method=method, params=params)
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._asked:
                return message["result"]
            if message.get("method") == "workspace/configuration":
                wanted = [{"pythonPath": sys.executable} for _ in message["params"]["items"]]
                self._send(id=message["id"], result=wanted)
            elif "method" in message and "id" in message:
                self._send(id=message["id"], result=None)

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "it has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message
