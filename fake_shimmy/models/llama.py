"""The engine of 1.x: llama.cpp on the CPU, beside the toy SafeTensors engine.

Strategy: llama.cpp is asked by the file's path or the model's name, and refuses what ``gguf``
complains about. What is taken says the default reply, since there is no model behind it. Of what
llama.cpp itself writes to stderr only complaints are written. Seen on 1.8.1.
"""

from __future__ import annotations

import os

from fake_shimmy import rust
from fake_shimmy.models import gguf
from fake_shimmy.models.engine import AdapterEngine, GenerationError, LoadError, PretendedModel
from fake_shimmy.rust import backtrace
from fake_shimmy.rust.tracing import DEBUG, INFO, WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.models.engine import LoadedModel
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.rust.tracing import Tracer

_TARGET = "shimmy::engine::llama"
_BINDING = "shimmy_llama_cpp_2::model"
_FAMILIES = ("llama", "phi", "qwen", "gemma", "mistral")
_NOT_COMPILED_IN = {"cuda": "CUDA", "vulkan": "Vulkan", "opencl": "OpenCL"}
_SMALLEST_BATCH, _LARGEST_BATCH = 2048, 8192


def announce(tracer: Tracer, backend: str | None) -> None:
    """Log what the choice of a GPU ``backend`` comes to."""
    wanted = "auto" if backend is None else backend.lower()
    if wanted in _NOT_COMPILED_IN:
        feature = f"Rebuild with --features llama-{wanted}"
        text = f"{_NOT_COMPILED_IN[wanted]} backend requested but not enabled at compile time. "
        tracer.event(WARN, _TARGET, text + feature)
    elif wanted not in ("auto", "cpu"):
        tracer.event(WARN, _TARGET, f"Unknown GPU backend '{backend}', using auto-detect")
    if wanted != "cpu":
        tracer.event(INFO, _TARGET, "No GPU acceleration available, using CPU backend")
    tracer.event(INFO, _TARGET, "GPU backend configured: Cpu")


class LlamaEngine(AdapterEngine):
    """llama.cpp, which reads a model anew for every request; here one that is taken and does not
    change is read once, since real models have long vocabularies.

    ``experts`` is what the log tells about experts on the CPU, or nothing. ``note`` gets what
    llama.cpp tells on stderr.
    """

    frames = (backtrace.SAFETENSORS_READER, backtrace.SAFETENSORS, backtrace.ADAPTER)

    def __init__(self, tracer: Tracer, experts: str, note: Callable[[str], None]) -> None:
        super().__init__(tracer)
        self._experts = experts
        self._note = note
        self._is_first = True
        self._taken: dict[str, tuple[int, int]] = {}
        """Which models were taken, and when they were written and how long they were."""

    def load_gguf(self, spec: ModelSpec) -> LoadedModel:
        """Load a GGUF file and what adapts it."""
        self._log(INFO, "Initializing llama.cpp backend (first model load)", self._is_first)
        self._is_first = False
        self._log(INFO, "Loading model with 0 GPU layers (Cpu backend)")
        self._log(INFO, self._experts, bool(self._experts))
        stamp = _stamp(spec.path)
        if stamp is None or stamp != self._taken.get(spec.path):
            complaints = gguf.complaints(spec.path)
            if complaints:
                raise self._refused(complaints)
            if stamp is not None:
                self._taken[spec.path] = stamp
        path = (("path", rust.debug(spec.path)),)
        self.tracer.event(DEBUG, _BINDING, "Loaded model", path, "load_from_file")
        self._log_context(spec.context_length)
        if spec.lora_path is not None:
            self._adapt(spec.lora_path)
        return _LlamaModel()

    def load_other(self, spec: ModelSpec) -> LoadedModel:
        """Load what llama.cpp is asked for by other signs than the file's extension."""
        path = rust.lossy(spec.path)
        is_hub_name = "/" in path and "\\" not in path and "." not in path
        is_blob = all(word in path for word in ("ollama", "blobs", "sha256-"))
        is_family = ".gguf" in path or any(word in spec.name for word in _FAMILIES)
        if not is_hub_name and (is_blob or is_family):
            return self.load_gguf(spec)
        return super().load_other(spec)

    def _log_context(self, context: int) -> None:
        batch = min(max(context, _SMALLEST_BATCH), _LARGEST_BATCH)
        remark = "adaptive calculation for large prompt support"
        self._log(INFO, f"Batch size: {batch} (context: {context}, {remark})")
        cores = os.cpu_count() or 4
        threads = (
            f"Threading: {cores} total cores detected, using {_threads(cores)} optimal threads"
        )
        self._log(INFO, threads)
        self._log(INFO, threads)

    def _adapt(self, path: str) -> None:
        """Attach the LoRA file at ``path``, if it is one."""
        shown = rust.lossy(path)
        if rust.split_extension(rust.file_name(path) or "")[1] == "safetensors":
            text = f"SafeTensors LoRA detected: {shown}. Please convert to GGUF format first."
            raise LoadError(text, (backtrace.MESSAGE, backtrace.LLAMA, backtrace.ADAPTER))
        self._note(f"llama_adapter_lora_init_impl: loading lora adapter from '{shown}' ...")
        complaints = gguf.adapter_complaints(path)
        if complaints:
            raise self._refused(complaints)
        self.tracer.event(INFO, _TARGET, "LoRA adapter attached", (("adapter", shown),))

    def _refused(self, complaints: list[str]) -> LoadError:
        for line in complaints:
            self._note(line)
        return LoadError("null result from llama cpp", (backtrace.LLAMA, backtrace.ADAPTER))

    def _log(self, level: int, message: str, is_wanted: bool = True) -> None:
        if is_wanted:
            self.tracer.event(level, _TARGET, message)


class _LlamaModel(PretendedModel):
    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        if "\0" in prompt:
            position = len(prompt[: prompt.index("\0")].encode())
            text = f"nul byte found in provided data at position: {position}"
            raise GenerationError(text, cause=text, frames=(backtrace.LLAMA_ANSWER,))
        return super().generate(prompt, max_tokens, user_text)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(rust.os_path(path))  # noqa: PTH116 - bytes, and no pathlib
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _threads(cores: int) -> int:
    """How many of the machine's ``cores`` are used."""
    if cores <= 4:
        physical = cores
    elif cores <= 8:
        physical = max(cores // 2, 4)
    else:
        physical = max(cores // 2, 6) if cores <= 16 else 8
    return max(physical if physical <= 2 else physical - 1 if physical <= 4 else physical - 2, 1)
