"""Bodies and stream chunks, per API family, with shimmy's exact key order.

Strategy: bodies made from Rust structs keep the order of declaration, bodies made with ``json!``
are sorted; either way the shape never changes, so each body is a format with the variable parts
filled in. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fake_shimmy.scan import DiscoveredModel


def health(discovered: int, manual: int, total: int, timestamp: str, now: int, ver: str) -> bytes:
    """``GET /health``. ``now`` is in Unix seconds and is served as the uptime, as shimmy does."""
    return (
        '{"compatibility":{"cors":true,"openai":true},"endpoints":{"chat":"/v1/chat/completions",'
        '"generate":"/api/generate","health":"/health","models":"/v1/models"},'
        f'"models":{{"discovered":{discovered},"manual":{manual},"total":{total}}},'
        f'"service":"shimmy","status":"ok","timestamp":"{timestamp}","uptime_seconds":{now},'
        f'"version":"{ver}"}}'
    ).encode()


def models(names: Iterable[str], created: int) -> bytes:
    """``GET /v1/models``; ``created`` is in Unix seconds."""
    rows = ",".join(
        f'{{"id":{_quoted(name)},"object":"model","created":{created},"owned_by":"shimmy"}}'
        for name in names
    )
    return f'{{"object":"list","data":[{rows}]}}'.encode()


def tags(names: Iterable[str]) -> bytes:
    """``GET /api/tags``."""
    rows = ",".join(
        f'{{"name":{_quoted(name)},"model":{_quoted(name)},'
        '"modified_at":"2025-01-01T00:00:00Z","size":0,"digest":"","details":{"format":"gguf",'
        '"family":"","parameter_size":"","quantization_level":""}}'
        for name in names
    )
    return f'{{"models":[{rows}]}}'.encode()


def api_model(
    name: str, size: int | None, kind: str | None, parameters: str | None, source: str
) -> str:
    """One row of ``GET /api/models``; ``size`` is in bytes."""
    return (
        f'{{"name":{_quoted(name)},"size_bytes":{_or_null(size)},"model_type":{_text(kind)},'
        f'"parameter_count":{_text(parameters)},"source":"{source}"}}'
    )


def discovered(found: list[DiscoveredModel]) -> bytes:
    """``POST /api/models/discover``."""
    rows = ",".join(
        f'{{"model_type":{_quoted(model.model_type)},"name":{_quoted(model.name)},'
        f'"parameter_count":{_text(model.parameter_count)},"size_bytes":{model.size_bytes},'
        '"source":"discovered"}'
        for model in found
    )
    return f'{{"discovered":{len(found)},"models":[{rows}]}}'.encode()


def model_request(name: str, verb: str) -> bytes:
    """``POST /api/models/:name/load`` and ``unload``: a placeholder in the real one, too."""
    message = _quoted(f"Model {name} {verb} requested")
    return f'{{"message":{message},"status":"pending"}}'.encode()


def model_status(name: str) -> bytes:
    """``GET /api/models/:name/status``: likewise a placeholder."""
    return f'{{"loaded":false,"model":{_quoted(name)},"status":"unknown"}}'.encode()


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)


def _or_null(value: int | None) -> str:
    return "null" if value is None else str(value)


def error(code: str, message: str, param: str) -> bytes:
    """An error object of the OpenAI routes."""
    return (
        f'{{"error":{{"code":"{code}","message":{_quoted(message)},"param":"{param}",'
        '"type":"invalid_request_error"}}'
    ).encode()


def chat_completion(ident: str, created: int, model: str, content: str) -> bytes:
    """A whole chat completion. Usage is always zero and the reason always ``stop``."""
    return (
        f'{{"id":"{ident}","object":"chat.completion","created":{created},'
        f'"model":{_quoted(model)},"choices":[{{"index":0,"message":{{"role":"assistant",'
        f'"content":{_quoted(content)}}},"finish_reason":"stop"}}],'
        '"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}'
    ).encode()


class ChatChunks:
    """The events of one streamed chat completion, framed as HTTP chunks if ``chunked``."""

    __slots__ = ("_after", "_before", "_chunked", "_fixed", "final", "role")

    def __init__(self, ident: str, created: int, model: str, chunked: bool) -> None:
        opening = (
            f'data: {{"id":"{ident}","object":"chat.completion.chunk","created":{created},'
            f'"model":{_quoted(model)},"choices":[{{"index":0,"delta":{{"content":'
        )
        self._before = opening.encode()
        self._after = b',"role":null},"finish_reason":null}]}\n\n'
        self._fixed = len(self._before) + len(self._after)
        self._chunked = chunked
        self.role = self._frame(
            self._before + b'null,"role":"assistant"},"finish_reason":null}]}\n\n'
        )
        """The first event."""
        self.final = self._frame(
            self._before + b'null,"role":null},"finish_reason":"stop"}]}\n\n'
        ) + self._frame(b"data: [DONE]\n\n")
        """The last chunk and the end marker."""
        if chunked:
            self.final += b"0\r\n\r\n"

    def token(self, text: str) -> bytes:
        """The event of one token."""
        content = _quoted(text).encode()
        if not self._chunked:
            return self._before + content + self._after
        size = self._fixed + len(content)
        return b"%X\r\n%b%b%b\r\n" % (size, self._before, content, self._after)

    def _frame(self, event: bytes) -> bytes:
        return b"%X\r\n%b\r\n" % (len(event), event) if self._chunked else event
