"""The engines: what loads, and what a loaded model says.

Strategy: engines as in the real one. ``AdapterEngine`` is the toy SafeTensors engine of a CPU-only
build and of ``--legacy``, word for word (seen on 2.5.0 CPU-only and 2.6.5). Airframe and the
llama.cpp of 1.x have modules of their own; what their models say is ours: the default reply. All
are pure: pauses between tokens are told, not slept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice

from fake_shimmy import rust
from fake_shimmy.models import reply, safetensors
from fake_shimmy.models.safetensors import LoadError as LoadError
from fake_shimmy.rust import backtrace, tracing
from fake_shimmy.rust.backtrace import Panic
from fake_shimmy.rust.whitespace import each_word
from fake_shimmy.wire.steps import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.rust.tracing import Tracer
    from fake_shimmy.wire.steps import Step

_GGUF_REFUSED = (
    "GGUF models require the Airframe GPU engine. "
    "Use shimmy_server_gpu or build with --features airframe. "
    "See https://github.com/Michael-A-Kuykendall/shimmy for setup."
)


DEFAULT_MAX_TOKENS = 256
"""Tokens of an answer where the request does not say."""


class GenerationError(Exception):
    """A model that fails while it answers; the text is what the real one logs and shows.

    ``cause`` is what some logs tell as well, ``frames`` are the origin for a backtrace.
    """

    def __init__(self, text: str, cause: str = "", frames: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.cause = cause
        self.frames = frames

    def debug(self) -> str:
        """``{:?}`` of the error, without its backtrace."""
        return f"{self}\n\nCaused by:\n    {self.cause}" if self.cause else str(self)


class Outcome:
    """How an answer ended, and how long it was in tokens."""

    __slots__ = ("completion_tokens", "prompt_tokens", "reason")

    def __init__(self, reason: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.reason = reason
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens


class LoadedModel(ABC):
    """A model that can answer. Either way of asking raises :class:`GenerationError`."""

    token_pause = 0.0
    """Seconds after each streamed token."""

    @abstractmethod
    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        """The whole answer."""

    @abstractmethod
    def tokens(self, text: str) -> Iterable[str]:
        """The tokens in which the answer ``text`` is streamed."""

    def count(self, text: str) -> int:
        """How many these are."""
        return sum(1 for _ in self.tokens(text))

    def outcome(self, prompt: str, said: int, max_tokens: int) -> Outcome | None:  # noqa: ARG002
        """How an answer of ``said`` tokens ended; None where the engine does not tell."""
        return None

    def stream(self, prompt: str, max_tokens: int, user_text: str) -> Iterator[str | Step]:
        """The answer as tokens, with the steps that are to be played between them."""
        tokens = self.tokens(self.generate(prompt, max_tokens, user_text))
        return _paced(tokens, Pause(self.token_pause)) if self.token_pause else iter(tokens)


def _paced(tokens: Iterable[str], pause: Pause) -> Iterator[str | Step]:
    for token in tokens:
        yield token
        yield pause


class Engine(ABC):
    """Loads models."""

    @abstractmethod
    def load(self, spec: ModelSpec) -> LoadedModel:
        """The loaded model; raises :class:`LoadError` with the text that the real one logs."""


class AdapterEngine(Engine):
    """The engine of a CPU-only build, which reads the file anew for every request.

    With ``safetensors_only`` it takes everything for such a file; ``airframe`` gets GGUF files.
    """

    frames: tuple[str, ...] = (backtrace.SAFETENSORS, backtrace.ADAPTER)
    """Who reads SafeTensors files, in a backtrace."""

    def __init__(
        self, tracer: Tracer, safetensors_only: bool = False, airframe: Engine | None = None
    ) -> None:
        self.tracer = tracer
        self._safetensors_only = safetensors_only
        self._airframe = airframe

    def load(self, spec: ModelSpec) -> LoadedModel:
        name = rust.file_name(spec.path)
        extension = None if name is None else rust.split_extension(name)[1]
        if extension == "safetensors":
            try:
                file = safetensors.load(spec.path, self.tracer)
            except (LoadError, Panic) as error:
                error.frames += self.frames
                raise
            return _EchoModel(spec.name, file, self.tracer)
        if self._airframe is not None and _is_gguf(extension, rust.lossy(spec.path)):
            return self._airframe.load(spec)
        if self._safetensors_only:
            shown = rust.lossy(spec.path)
            safetensors.log_load(shown, self.tracer)
            text = f"File is not in SafeTensors format: {shown}"
            raise LoadError(text, (backtrace.MESSAGE, backtrace.SAFETENSORS, backtrace.ADAPTER))
        if extension == "gguf":
            return self.load_gguf(spec)
        return self.load_other(spec)

    def load_gguf(self, spec: ModelSpec) -> LoadedModel:  # noqa: ARG002
        """Load a GGUF file, which takes another engine."""
        raise LoadError(_GGUF_REFUSED, (backtrace.MESSAGE, backtrace.ADAPTER))

    def load_other(self, spec: ModelSpec) -> LoadedModel:  # noqa: ARG002
        """Load what is neither a SafeTensors nor a GGUF file by its name."""
        # Everything else goes to a Python interpreter at a fixed Windows path.
        frames = (backtrace.CONVERTED, backtrace.HUGGING_FACE, backtrace.ADAPTER)
        raise LoadError("No such file or directory (os error 2)", frames)


def _is_gguf(extension: str | None, path: str) -> bool:
    """Whether a file goes to Airframe even with ``--legacy``; nothing is read of it."""
    return extension == "gguf" or ("ollama" in path and "blobs" in path) or ".gguf" in path


class _EchoModel(LoadedModel):
    token_pause = 0.010

    def __init__(self, name: str, file: safetensors.ModelFile, tracer: Tracer) -> None:
        self._name = name
        self._file = file
        self._tracer = tracer

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:  # noqa: ARG002
        file = self._file
        how, length = "memory-mapped" if file.mapped else "in-memory", len(prompt.encode())
        for level, message in (
            (tracing.INFO, f"Generating with SafeTensors model: prompt length = {length}"),
            (tracing.DEBUG, f"Input tokens: {len(prompt) + 1} tokens"),
            (tracing.INFO, f"Using {how} loading for SafeTensors inference"),
        ):
            self._tracer.event(level, safetensors.TARGET, message)
        text = (
            f"SafeTensors model '{self._name}' loaded successfully with {file.layers} layers "
            f"and vocab size {file.vocab_size} using {how} loading. "
            f"Input prompt: '{prompt}' (length: {length}). "
            "This demonstrates native SafeTensors support in Rust with optimized memory handling. "
            "Full transformer inference coming soon!"
        )
        if max_tokens > len(text) // 2:
            # There cannot be more words than that.
            return text
        found = list(islice(each_word(text), max_tokens + 1))
        return text if len(found) <= max_tokens else " ".join(found[:max_tokens])

    def tokens(self, text: str) -> Iterable[str]:
        return (word + " " for word in each_word(text))

    def count(self, text: str) -> int:
        return sum(1 for _ in each_word(text))


class PretendedModel(LoadedModel):
    """A model of which nothing is known but that it loads."""

    def said(self, prompt: str, max_tokens: int, user_text: str) -> list[str]:
        """The tokens of the answer."""
        return reply.tokenize(reply.default_reply(prompt, user_text))[:max_tokens]

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        return reply.beginning(reply.default_reply(prompt, user_text), max_tokens)

    def tokens(self, text: str) -> list[str]:
        return reply.tokenize(text) if text else []

    def count(self, text: str) -> int:
        return reply.count(text) if text else 0
