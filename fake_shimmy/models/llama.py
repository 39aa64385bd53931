"""The engine of 1.x: llama.cpp, beside the toy SafeTensors engine.

Strategy: llama.cpp is asked by the file's path or the model's name, and refuses what ``gguf``
complains about. What is taken says the default reply, since there is no model behind it. Of what
llama.cpp itself writes to stderr there are the complaints, and the lines that name the device
which computes. Seen on 1.8.1; what a GPU adds to these lines was read in its source.
"""

from __future__ import annotations

import os

from fake_shimmy import rust
from fake_shimmy.models import backends, files, gguf
from fake_shimmy.models.engine import AdapterEngine, GenerationError, LoadError, PretendedModel
from fake_shimmy.rust import backtrace
from fake_shimmy.rust.tracing import DEBUG, INFO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fake_shimmy.machines import Device
    from fake_shimmy.models.engine import LoadedModel
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.rust.tracing import Tracer

_TARGET = "shimmy::engine::llama"
_BINDING = "shimmy_llama_cpp_2::model"
_FAMILIES = ("llama", "phi", "qwen", "gemma", "mistral")
_ALL_LAYERS = 999
"""How many layers a GPU is asked to take."""
_SMALLEST_BATCH, _LARGEST_BATCH = 2048, 8192


class LlamaEngine(AdapterEngine):
    """llama.cpp, which reads a model anew for every request; here one that is taken and does not
    change is read once, since real models have long vocabularies.

    ``experts`` is what the log tells about experts on the CPU, or nothing. ``backend`` was chosen
    for it; ``found`` is what it finds, and what it tells of that. ``note`` gets what llama.cpp
    tells on stderr.
    """

    frames = (backtrace.SAFETENSORS_READER, backtrace.SAFETENSORS, backtrace.ADAPTER)

    def __init__(
        self,
        tracer: Tracer,
        experts: str,
        backend: str,
        found: tuple[tuple[str, ...], Device | None],
        note: Callable[[str], None],
    ) -> None:
        super().__init__(tracer)
        self._experts = experts
        self._backend = backends.in_the_log(backend)
        self._wanted_layers = 0 if backend == backends.CPU else _ALL_LAYERS
        self._greeting, self._device = found
        self._note = note
        self._is_first = True
        self._taken: dict[str, tuple[tuple[int, int], gguf.Contents]] = {}
        """The models that were taken: when they were written and how long, and what is in them."""

    def load_gguf(self, spec: ModelSpec) -> LoadedModel:
        """Load a GGUF file and what adapts it."""
        self._log(INFO, "Initializing llama.cpp backend (first model load)", self._is_first)
        load = f"Loading model with {self._wanted_layers} GPU layers ({self._backend} backend)"
        self._log(INFO, load)
        self._log(INFO, self._experts, bool(self._experts))
        self._note_device()
        self._is_first = False
        stamp = files.stamp(spec.path)
        before, contents = self._taken.get(spec.path, (None, gguf.Contents()))
        if stamp is None or stamp != before:
            contents = gguf.read(spec.path)
            if contents.complaints:
                raise self._refused(contents.complaints)
            if stamp is not None:
                self._taken[spec.path] = stamp, contents
        self._note_layers(contents)
        path = (("path", rust.debug(spec.path)),)
        self.tracer.event(DEBUG, _BINDING, "Loaded model", path, "load_from_file")
        self._log_context(spec.context_length)
        self._note_cache(contents.layers)
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

    def _note_device(self) -> None:
        """Tell what was found, the first time, and what is used of it."""
        for line in self._greeting if self._is_first else ():
            self._note(line)
        device = self._device
        if device is not None:
            self._note(
                f"llama_model_load_from_file_impl: using device {device.name} {device.identity} "
                f"- {device.free} MiB free"
            )

    def _takes(self, layer: int, layers: int) -> str:
        """The name of what computes ``layer``; the one after the last is the output."""
        on_gpu = layer >= max(layers - self._wanted_layers, 0) and self._wanted_layers
        return self._device.name if self._device is not None and on_gpu else "CPU"

    def _note_layers(self, contents: gguf.Contents) -> None:
        layers, device = contents.layers, self._device
        for layer in range(layers + 1):
            name = self._takes(layer, layers)
            self._note(f"load_tensors: layer {layer:3} assigned to device {name}, is_swa = 0")
        on_cpu = contents.tensor_bytes
        on_gpu = 0
        if device is not None:
            repeating = min(self._wanted_layers, layers)
            self._note(f"load_tensors: offloading {repeating} repeating layers to GPU")
            if self._wanted_layers:
                self._note("load_tensors: offloading output layer to GPU")
                on_cpu = contents.embedding_bytes
                on_gpu = contents.tensor_bytes - on_cpu
            taken = min(self._wanted_layers, layers + 1)
            self._note(f"load_tensors: offloaded {taken}/{layers + 1} layers to GPU")
        self._note_buffer("CPU_Mapped", on_cpu)
        if device is not None and self._wanted_layers:
            self._note_buffer(device.name, on_gpu)

    def _note_buffer(self, name: str, size: int) -> None:
        size_shown = f"{size / 1048576:8.2f} MiB"
        self._note(f"load_tensors: {name:>12} model buffer size = {size_shown}")

    def _note_cache(self, layers: int) -> None:
        for layer in range(layers):
            name = self._takes(layer, layers)
            self._note(f"llama_kv_cache: layer {layer:3}: dev = {name}")

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

    def _refused(self, complaints: Sequence[str]) -> LoadError:
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


def _threads(cores: int) -> int:
    """How many of the machine's ``cores`` are used."""
    if cores <= 4:
        physical = cores
    elif cores <= 8:
        physical = max(cores // 2, 4)
    else:
        physical = max(cores // 2, 6) if cores <= 16 else 8
    return max(physical if physical <= 2 else physical - 1 if physical <= 4 else physical - 2, 1)
