"""The engines: what loads, and what a loaded model says.

Strategy: two engines as in the real one. ``AdapterEngine`` is the toy SafeTensors engine of a
CPU-only build and of ``--legacy``, word for word (seen on 2.5.0 CPU-only). ``AirframeEngine``
pretends a machine on which Airframe works, so what it says is ours: the default reply. Both are
pure: pauses between tokens are told, not slept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from fake_shimmy import reply, rust, safetensors
from fake_shimmy.safetensors import LoadError as LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.registry import ModelSpec

_GGUF_REFUSED = (
    "GGUF models require the Airframe GPU engine. "
    "Use shimmy_server_gpu or build with --features airframe. "
    "See https://github.com/Michael-A-Kuykendall/shimmy for setup."
)


class LoadedModel(ABC):
    """A model that can answer."""

    token_pause = 0.0
    """Seconds after each streamed token."""

    @abstractmethod
    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        """The whole answer."""

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """The tokens in which the answer ``text`` is streamed."""


class Engine(ABC):
    """Loads models."""

    @abstractmethod
    def load(self, spec: ModelSpec) -> LoadedModel:
        """The loaded model; raises :class:`LoadError` with the text that the real one logs."""


class AdapterEngine(Engine):
    """The engine of a CPU-only build, which reads the file anew for every request."""

    def load(self, spec: ModelSpec) -> LoadedModel:
        name = rust.file_name(spec.path)
        extension = None if name is None else rust.split_extension(name)[1]
        if extension == "safetensors":
            return _EchoModel(spec.name, safetensors.load(spec.path))
        if extension == "gguf":
            raise LoadError(_GGUF_REFUSED)
        # Everything else goes to a Python interpreter at a fixed Windows path.
        raise LoadError("No such file or directory (os error 2)")


class _EchoModel(LoadedModel):
    token_pause = 0.010

    def __init__(self, name: str, file: safetensors.ModelFile) -> None:
        self._name = name
        self._file = file

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:  # noqa: ARG002
        file = self._file
        text = (
            f"SafeTensors model '{self._name}' loaded successfully with {file.layers} layers "
            f"and vocab size {file.vocab_size} using "
            f"{'memory-mapped' if file.mapped else 'in-memory'} loading. "
            f"Input prompt: '{prompt}' (length: {len(prompt.encode())}). "
            "This demonstrates native SafeTensors support in Rust with optimized memory handling. "
            "Full transformer inference coming soon!"
        )
        words = _words(text)
        return text if len(words) <= max_tokens else " ".join(words[:max_tokens])

    def tokens(self, text: str) -> list[str]:
        return [word + " " for word in _words(text)]


def _words(text: str) -> list[str]:
    # Python also splits at the four ASCII separators, which Rust does not take for white space.
    if any(char in text for char in "\x1c\x1d\x1e\x1f"):
        import re

        pattern = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
        return [word for word in re.split(pattern, text) if word]
    return text.split()


class AirframeEngine(Engine):
    """The GPU engine: one runtime per process, loaded by the first request that can.

    ``has_adapter`` is whether the pretended machine has a GPU adapter.
    """

    def __init__(self, has_adapter: bool) -> None:
        self._has_adapter = has_adapter
        self._loaded = False

    def load(self, spec: ModelSpec) -> LoadedModel:
        if not self._loaded:
            reason = self._refusal(spec.path)
            if reason is not None:
                raise LoadError(f"Airframe GPU load failed: {reason}")
            self._loaded = True
        return _PretendedModel()

    def _refusal(self, path: str) -> str | None:
        if not self._has_adapter:
            return "No GPU adapter found"
        try:
            with open(rust.os_path(path), "rb") as file:
                magic = file.read(4)
        except OSError as error:
            return rust.os_error(error)
        return None if magic == b"GGUF" else "Invalid GGUF magic"


class _PretendedModel(LoadedModel):
    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        return "".join(reply.tokenize(reply.default_reply(prompt, user_text))[:max_tokens])

    def tokens(self, text: str) -> list[str]:
        return reply.tokenize(text) if text else []
