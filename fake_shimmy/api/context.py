"""What a handler needs to answer one request: the server, the models, and the making of answers.

Strategy: handlers are functions that get a context, a request's head and, where the real one reads
it, the body; they return steps. Most requests share one context; a layer that wants a request to
find another engine, or an answer to have other headers, passes on a context of its own.
"""

from __future__ import annotations

from fake_shimmy.rust import tracing
from fake_shimmy.wire import answers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.server import Server
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.serde.structs import RejectedError
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

_TEXT = b"\r\ncontent-type: text/plain; charset=utf-8\r\n"
_JSON = b"\r\ncontent-type: application/json\r\n"


class Context:
    """What the handlers of ``server`` find. ``cors`` are the header lines about other origins; by
    default those of the release."""

    __slots__ = ("cors", "engine", "registry", "server")

    def __init__(
        self, server: Server, registry: Registry, engine: Engine, cors: bytes | None = None
    ) -> None:
        self.server = server
        self.registry = registry
        self.engine = engine
        self.cors = server.release.cors if cors is None else cors

    def answer(self, head: Head, status: bytes, body: bytes, allow: bytes = b"") -> bytes:
        """A whole answer; see :func:`answers.answer`."""
        return answers.answer(head, status, body, self.server.date(), self.cors, allow)

    def with_cors(self, cors: bytes) -> Context:
        """The same, with other header lines about origins."""
        return Context(self.server, self.registry, self.engine, cors)

    def no_content(self, head: Head, allow: bytes = b"") -> bytes:
        """An answer without a body."""
        return answers.no_content(head, self.server.date(), self.cors, allow)

    def text(self, head: Head, status: bytes, body: bytes) -> bytes:
        """A plain-text answer."""
        return answers.answer(head, status + _TEXT, body, self.server.date(), self.cors)

    def json(self, head: Head, body: bytes, status: bytes = b"200 OK") -> bytes:
        """A JSON answer."""
        return answers.answer(head, status + _JSON, body, self.server.date(), self.cors)

    def stream_head(self, head: Head) -> bytes:
        """The head of an event stream; see :func:`answers.stream_head`."""
        return answers.stream_head(head, self.server.date(), self.cors)

    def failed(self, head: Head, status: bytes, target: str, message: str) -> Steps:
        """The bare answer to a request that failed, after ``message`` was logged."""
        self.server.event(tracing.ERROR, target, message)
        return (self.answer(head, status + b"\r\n", b""),)

    def rejected(self, head: Head, error: RejectedError) -> Steps:
        """The answer to a body that no request could be read from."""
        return (self.text(head, error.status, error.text.encode()),)

    def no_json(self, head: Head) -> Steps:
        """The answer to a body that is not called JSON."""
        body = b"Expected request with `Content-Type: application/json`"
        return (self.text(head, b"415 Unsupported Media Type", body),)

    def too_large(self, head: Head) -> Steps:
        """The answer to a body over the limit."""
        body = b"Failed to buffer the request body: length limit exceeded"
        return (self.text(head, b"413 Payload Too Large", body),)

    def broken_body(self, head: Head) -> Steps:
        """The answer to a body whose framing is wrong, or that ends too early."""
        body = b"Failed to buffer the request body: error reading a body from connection"
        return (self.text(head, b"400 Bad Request", body),)
