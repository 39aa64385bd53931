"""Bodies and stream chunks, per API family, with shimmy's exact key order.

Strategy: bodies made from Rust structs keep the order of declaration, bodies made with ``json!``
are sorted; either way the shape never changes, so each body is a format with the variable parts
filled in. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quoted

from fake_shimmy.models.engine import Outcome
from fake_shimmy.wire import sse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fake_shimmy.models.scan import DiscoveredModel


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


WORKFLOW_PENDING = b'{"message":"Workflow execution not yet implemented","status":"pending"}'
"""``POST /api/workflows/execute``: a placeholder in the real one, too."""

NO_MEDIA = "multimodal content is not supported by this build"
"""The refusal of what is no text."""

GENERATION_FAILED = (
    b'{"error":{"code":"generation_failed","message":"Generation failed","type":"server_error"}}'
)
"""What a text completion says where the model failed."""


def error(code: str, message: str, param: str) -> bytes:
    """An error object of the OpenAI routes about a request."""
    return (
        f'{{"error":{{"code":"{code}","message":{_quoted(message)},"param":"{param}",'
        '"type":"invalid_request_error"}}'
    ).encode()


def refusal(message: str, kind: str) -> bytes:
    """An error object about a request that no route has seen."""
    return f'{{"error":{{"message":"{message}","type":"{kind}"}}}}'.encode()


def reason(outcome: Outcome | None) -> str:
    """Why an answer ended, as JSON."""
    return "null" if outcome is None else f'"{outcome.reason}"'


def usage(outcome: Outcome | None) -> str:
    """How long it was, as JSON made from a struct."""
    if outcome is None:
        return "null"
    asked, said = outcome.prompt_tokens, outcome.completion_tokens
    return f'{{"prompt_tokens":{asked},"completion_tokens":{said},"total_tokens":{asked + said}}}'


def sorted_usage(outcome: Outcome | None) -> str:
    """The same in ``json!``."""
    if outcome is None:
        return "null"
    asked, said = outcome.prompt_tokens, outcome.completion_tokens
    return f'{{"completion_tokens":{said},"prompt_tokens":{asked},"total_tokens":{asked + said}}}'


ALWAYS = Outcome("stop", 0, 0)
"""How every chat completion ends before 2.6.5."""


def chat_completion(
    ident: str, created: int, model: str, content: str, outcome: Outcome | None
) -> bytes:
    """A whole chat completion."""
    return (
        f'{{"id":"{ident}","object":"chat.completion","created":{created},'
        f'"model":{_quoted(model)},"choices":[{{"index":0,"message":{{"role":"assistant",'
        f'"content":{_quoted(content)}}},"finish_reason":{reason(outcome)}}}],'
        f'"usage":{usage(outcome)}}}'
    ).encode()


class ChatChunks:
    """The events of one streamed chat completion, framed as HTTP chunks if ``chunked``."""

    __slots__ = ("_after", "_before", "_chunked", "_fixed", "_usage", "role")

    def __init__(self, ident: str, created: int, model: str, chunked: bool) -> None:
        opening = (
            f'data: {{"id":"{ident}","object":"chat.completion.chunk","created":{created},'
            f'"model":{_quoted(model)},"choices":[{{"index":0,"delta":{{"content":'
        )
        self._before = opening.encode()
        self._after = b',"role":null},"finish_reason":null}]}\n\n'
        self._fixed = len(self._before) + len(self._after)
        self._chunked = chunked
        self.role = sse.frame(
            self._before + b'null,"role":"assistant"},"finish_reason":null}]}\n\n', chunked
        )
        """The first event."""
        self._usage = (
            f'data: {{"choices":[],"created":{created},"id":"{ident}","model":{_quoted(model)},'
            '"object":"chat.completion.chunk","usage":'
        )

    def final(self, outcome: Outcome | None, with_usage: bool = False) -> bytes:
        """The last chunk, the one about usage if that is wanted, and the end marker."""
        ending = f'null,"role":null}},"finish_reason":{reason(outcome)}}}]}}\n\n'
        last = sse.frame(self._before + ending.encode(), self._chunked)
        if with_usage:
            told = f"{self._usage}{sorted_usage(outcome)}}}\n\n"
            last += sse.frame(told.encode(), self._chunked)
        return last + sse.end(self._chunked)

    def failure(self) -> bytes:
        """What tells of a generation that failed, and the end marker."""
        told = sse.frame(b"data: " + GENERATION_FAILED + b"\n\n", self._chunked)
        return told + sse.end(self._chunked)

    def token(self, text: str) -> bytes:
        """The event of one token."""
        content = _quoted(text).encode()
        if not self._chunked:
            return self._before + content + self._after
        size = self._fixed + len(content)
        return b"%X\r\n%b%b%b\r\n" % (size, self._before, content, self._after)


def completion(ident: str, created: int, model: str, text: str, outcome: Outcome | None) -> bytes:
    """A text completion."""
    return (
        f'{{"choices":[{{"finish_reason":{reason(outcome)},"index":0,"logprobs":null,'
        f'"text":{_quoted(text)}}}],"created":{created},"id":"{ident}","model":{_quoted(model)},'
        f'"object":"text_completion","usage":{sorted_usage(outcome)}}}'
    ).encode()


def message(ident: str, model: str, text: str, input_tokens: int, output_tokens: int) -> bytes:
    """An Anthropic message."""
    return (
        f'{{"id":"{ident}","type":"message","role":"assistant","content":[{{"type":"text",'
        f'"text":{_quoted(text)}}}],"model":{_quoted(model)},"stop_reason":"end_turn",'
        f'"stop_sequence":null,"usage":{{"input_tokens":{input_tokens},'
        f'"output_tokens":{output_tokens}}}}}'
    ).encode()


def generated_with(text: str, outcome: Outcome | None) -> bytes:
    """``POST /api/generate`` where it tells how the answer ended."""
    told = f'"usage":{usage(outcome)},"finish_reason":{reason(outcome)}'
    return f'{{"response":{_quoted(text)},{told}}}'.encode()


def generated(text: str) -> bytes:
    """The one body of ``POST /api/generate``."""
    return f'{{"response":{_quoted(text)}}}'.encode()


def tool_missing(name: str) -> bytes:
    """``POST /api/tools/:name/execute``: no tool is ever available."""
    message = _quoted(f"Tool {name} not available")
    return f'{{"error":{message}}}'.encode()


def metrics(
    sizes: Iterable[int],
    registered: int,
    total: int,
    detected: bool,
    vendor: str | None,
    memory: tuple[int, int, int],
    timestamp: str,
    version: str,
    features: str,
) -> bytes:
    """``GET /metrics``. ``sizes`` are those of the discovered models in bytes, ``memory`` is
    available, free and total in KiB."""
    megabytes = [size >> 20 for size in sizes]
    available, free, all_of_it = (kib >> 10 for kib in memory)
    return (
        '{"endpoints":["/health","/metrics","/v1/chat/completions","/v1/models","/api/generate",'
        f'"/api/models"],"features":{{{features}}},"gpu_detected":{_flag(detected)},'
        f'"gpu_vendor":{_text(vendor)},"models":{{"by_type":{{"discovered":{len(megabytes)},'
        f'"manual":{registered}}},"total_count":{total},"total_size_mb":{sum(megabytes)}}},'
        f'"service":"shimmy","system":{{"memory_available_mb":{available},'
        f'"memory_free_mb":{free},"memory_total_mb":{all_of_it}}},"timestamp":"{timestamp}",'
        f'"version":"{version}"}}'
    ).encode()


def _flag(value: bool) -> str:
    return "true" if value else "false"
