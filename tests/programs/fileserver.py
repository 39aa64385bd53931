"""A file server for tests that misbehaves as told: one HTTP answer after the other."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

NAME = "model.gguf"


class Request(NamedTuple):
    path: str
    headers: Mapping[str, str]
    """With lower-case names."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Request(self.path, headers)
        files = self.server.files
        with files.lock:
            files.requests.append(asked)
            answer = files.answers.pop(0) if files.answers else whole
        with contextlib.suppress(ConnectionError):
            answer(self, asked)

    def do_HEAD(self) -> None:
        """What huggingface-hub asks before it downloads; a name with ``missing`` is not there."""
        files = self.server.files
        if "missing" in self.path:
            self.head(404, X_Error_Code="EntryNotFound", Content_Length=0)
        else:
            size = len(files.content)
            self.head(200, Content_Length=size, ETag=files.etag, X_Repo_Commit="a" * 40)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Handler, Request], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    files: FileServer


class FileServer:
    """Serves `content` at `url`, after the `answers` that it is told to give first."""

    def __init__(self, content: bytes, context: ssl.SSLContext | None = None) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.files = self
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.base = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.base}/files/{NAME}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, one per request."""
        return [request.range for request in self.requests]

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def whole(handler: Handler, asked: Request) -> None:
    """The file, or the range that was asked for if it is of this file."""
    piece(handler, asked)


def piece(handler: Handler, asked: Request, until: int | None = None) -> None:
    """As `whole`, but the connection ends at the byte `until` of the file."""
    files = handler.server.files
    first, total = 0, len(files.content)
    wanted = asked.headers.get("if-range")
    if asked.range is not None and wanted in (None, files.etag):
        first = int(asked.range.removeprefix("bytes=").removesuffix("-"))
    headers = {} if files.etag is None else {"ETag": files.etag}
    if first >= total:
        handler.head(416, Content_Range=f"bytes */{total}", Content_Length=0)
        return
    if first:
        headers["Content_Range"] = f"bytes {first}-{total - 1}/{total}"
    handler.head(206 if first else 200, Content_Length=total - first, **headers)
    handler.wfile.write(files.content[first:until])
    handler.close_connection = until is not None


def cut(until: int) -> Answer:
    """The connection ends early."""
    return lambda handler, asked: piece(handler, asked, until)


def stall(until: int) -> Answer:
    """The connection stays, and nothing more comes."""

    def answer(handler: Handler, asked: Request) -> None:
        piece(handler, asked, until)
        handler.wfile.flush()
        handler.server.files.closing.wait()

    return answer


def status(code: int, body: bytes = b"", **headers: object) -> Answer:
    """Another answer than the file."""

    def answer(handler: Handler, _asked: Request) -> None:
        handler.head(code, Content_Length=len(body), **headers)
        handler.wfile.write(body)

    return answer


def claim(length: int | None, body: bytes, code: int = 200, **headers: object) -> Answer:
    """An answer whose length is another than it says, or is not said."""

    def answer(handler: Handler, _asked: Request) -> None:
        if length is not None:
            headers["Content_Length"] = length
        handler.head(code, **headers)
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


def chunked(*chunks: bytes, end: bool = True) -> Answer:
    """The body in chunks, with or without the one that ends it."""

    def answer(handler: Handler, _asked: Request) -> None:
        handler.head(200, Transfer_Encoding="chunked")
        for chunk in (*chunks, b"") if end else chunks:
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        handler.close_connection = True

    return answer


def reset(handler: Handler, _asked: Request) -> None:
    """No answer at all."""
    handler.close_connection = True
