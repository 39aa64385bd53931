"""The engines: what loads, and what a loaded model says.

Strategy: engines as in the real one. ``AdapterEngine`` is the toy SafeTensors engine of a CPU-only
build and of ``--legacy``, word for word (seen on 2.5.0 CPU-only). ``AirframeEngine`` pretends a
machine on which Airframe works, so what it says is ours: the default reply; so does the llama.cpp
engine of 1.x, which has a module of its own. All are pure: pauses between tokens are told, not
slept.
"""

from __future__ import annotations

import os
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
    from collections.abc import Callable, Iterable, Iterator

    from fake_shimmy.machines import Machine
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
    """The engine of a CPU-only build, which reads the file anew for every request."""

    frames: tuple[str, ...] = (backtrace.SAFETENSORS, backtrace.ADAPTER)
    """Who reads SafeTensors files, in a backtrace."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

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


class AirframeEngine(Engine):
    """The GPU engine: one runtime per process, loaded by the first request that can.

    Of a pretended ``machine`` it needs the adapter. Without one it works, silently. ``show`` gets
    what the engine tells on stdout, ``note`` what it tells on stderr.
    """

    def __init__(
        self, machine: Machine | None, show: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        self._machine = machine
        self._show = show
        self._note = note
        self._loaded = False

    def load(self, spec: ModelSpec) -> LoadedModel:
        if not self._loaded:
            reason = self._unfit() or _refusal(spec.path)
            if reason:
                frames = (backtrace.MESSAGE, backtrace.AIRFRAME)
                raise LoadError(f"Airframe GPU load failed: {reason}", frames)
            if self._machine is not None:
                self._report(spec.path)
            self._loaded = True
        return PretendedModel()

    def _unfit(self) -> str:
        """Why nothing can be loaded on this machine; tells of the adapter, if there is one."""
        machine = self._machine
        if machine is None:
            return ""
        if not machine.adapter:
            return "No GPU adapter found"
        self._note(f"[GpuRuntime] Selected adapter: {machine.adapter}")
        if not machine.binding_limit:
            return ""
        return (
            f"GPU storage buffer binding limit ({machine.binding_limit} MB) is too small for the "
            "bindless chunk size (1907 MB). Update your GPU drivers."
        )

    def _report(self, path: str) -> None:
        """Tell of the load. What depends on the inside of the file is left out or an example."""
        shown = rust.lossy(path)
        size = os.stat(rust.os_path(path)).st_size  # noqa: PTH116 - bytes, and no pathlib
        for line in (
            f"[BindlessLoader] Opening GGUF: {rust.debug(path)}",
            f"[BindlessLoader] File size: {size} bytes ({size / 1048576:.2f} MB)",
            f"[BindlessLoader] Multi-buffer plan: {-(-size // _CHUNK)} chunks of {_CHUNK} bytes "
            "(256-aligned)",
            "[BindlessLoader] Scanning Metadata...",
            "[BindlessLoader] Memory-mapping GGUF file...",
            "[BindlessLoader] Launching Preflight Fusion (from mmap)...",
            "[Preflight] Spinning off Math Tables & Tensor Banks (From RAM)...",
            f"[BindlessLoader] Upload Complete ({-(-size // _CHUNK)} buffers).",
            f"[OutputHead] load_output_head_f32 ENTERED for model: {shown}",
        ):
            self._show(line)
        for line in _TINYLLAMA_ON_THE_GPU:
            self._note(line)


_CHUNK = 2_000_000_000
"""Bytes of a model in one buffer of the GPU."""

_TINYLLAMA_ON_THE_GPU = (
    "[KVCache] Allocating GPU buffers:",
    "  Layers: 22",
    "  Max seq len: 2048",
    "  KV heads: 4",
    "  Head dim: 64",
    "  Buffer size per layer: 2097152 bytes (2.00 MB)",
    "  Total VRAM allocated: 92274688 bytes (88.00 MB)",
    "[GpuRuntime] token_embd.weight: quant_type=2 row_bytes=1152",
)
"""What a load of TinyLlama tells (lines as seen with another model, on 2.5.0 default)."""


def _refusal(path: str) -> str:
    """What Airframe has against the file; only its first bytes are looked at."""
    try:
        with open(rust.os_path(path), "rb") as file:
            magic = file.read(4)
    except OSError as error:
        return f"IO error: {rust.os_error(error)}"
    if len(magic) < 4:
        return "IO error: failed to fill whole buffer"
    return "" if magic == b"GGUF" else "Invalid GGUF metadata: Not a GGUF file"


class PretendedModel(LoadedModel):
    """A model of which nothing is known but that it loads."""

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        return "".join(reply.tokenize(reply.default_reply(prompt, user_text))[:max_tokens])

    def tokens(self, text: str) -> list[str]:
        return reply.tokenize(text) if text else []
