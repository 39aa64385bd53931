"""The GPU engine of 2.x: what it refuses, what it prints, and how it counts.

Strategy: a load does what the real one's does, in its order: the adapter, the vocabulary, the
header, the model's numbers, the upload, the output head; each step prints its lines and can end it.
What is loaded says the default reply, since nothing computes here; but prompt and answer are
counted in the file's own tokens, and what the real engine cannot take in is refused. Left out are
the lines about numbers that were computed. Seen on 2.6.5 default; of 2.5.0, on which no model
loads without a GPU, as far as its source says the same.
"""

from __future__ import annotations

import os

from fake_shimmy import rust
from fake_shimmy.models import airframe_header, files, reply, vocabulary
from fake_shimmy.models.airframe_header import AbortError
from fake_shimmy.models.airframe_shape import Shape
from fake_shimmy.models.engine import Engine, GenerationError, LoadError, Outcome, PretendedModel
from fake_shimmy.rust import backtrace
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.machines import Machine
    from fake_shimmy.models.airframe_header import Header
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.models.vocabulary import Vocabulary
    from fake_shimmy.releases import Airframe
    from fake_shimmy.wire.steps import Step

_CHUNK = 2_000_000_000
"""Bytes of a model in one buffer of the GPU, where that takes so many."""

_LARGEST_CONTEXT = 8192
"""In tokens, unless ``SHIMMY_MAX_CTX`` says another."""

_MIB = 1024 * 1024
_ROWS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 13: (256, 176)}
_ROWS[14] = (256, 210)
"""Numbers in a block of a tensor and its bytes, by the number of the tensor's type."""
_HEADS = {0: "F32", 2: "Q4_0", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K"}
"""Types of tensors that the output head may have."""

_ENDED = "Airframe generation failed: Generation ended without a terminal reason"


class Files:
    """The headers of model files; one that does not change is read once, since real models have
    long vocabularies. ``show`` gets what their reading prints."""

    def __init__(
        self, engine: Airframe, show: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        self.engine = engine
        self.show = show
        self.note = note
        self._known: dict[str, tuple[tuple[int, int], Header]] = {}
        self._shapes: dict[str, tuple[Header, Shape]] = {}

    def scan(self, path: str) -> Header | None:
        """The header of the file at ``path``, printed; None if it cannot be opened."""
        stamp = files.stamp(path)
        before, header = self._known.get(path, (None, None))
        if header is None or stamp != before or stamp is None:
            header = airframe_header.read(path, self.engine)
            if header is None:
                return None
            if stamp is not None:
                self._known[path] = stamp, header
        if header.lines:
            self.show(header.shown)
        if isinstance(header.panic, AbortError):
            self._abort(str(header.panic))
        if isinstance(header.panic, Panic):
            raise header.panic.again()
        return header

    def shape(self, path: str) -> tuple[Header, Shape] | None:
        """The same with the model's numbers, of which a correction is noted; a panic where one is
        missing."""
        header = self.scan(path)
        if header is None:
            return None
        known = self._shapes.get(path)
        if known is None or known[0] is not header:
            known = self._shapes[path] = header, Shape(header, self.engine)
        if known[1].correction:
            self.note(known[1].correction)
        return known

    def template(self, path: str) -> str | None:
        """The chat template of the file at ``path``, as each lookup of a model reads it."""
        try:
            found = self.shape(path)
        except Panic as panic:
            panic.frames += backtrace.LOOKUP
            raise
        return None if found is None else found[0].text(airframe_header.TEMPLATE)

    def _abort(self, reason: str) -> None:
        """End the whole process, as an allocation that fails does."""
        import signal

        self.note(reason)
        self.note(backtrace.ADVICE)
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGABRT)


class AirframeEngine(Engine):
    """One runtime per process, loaded by the first request that can, whatever it asks for.

    It runs on the ``machine``. ``show`` and ``note`` get what is printed on stdout and stderr.
    """

    def __init__(self, machine: Machine, files: Files, largest_context: str | None) -> None:
        self._machine = machine
        self._files = files
        self._engine = files.engine
        self._show, self._note = files.show, files.note
        self._largest_context = largest_context
        self._runtime: tuple[Vocabulary, int] | None = None

    def load(self, spec: ModelSpec) -> AirframeModel:
        if self._runtime is None:
            try:
                self._runtime = self._load(spec.path)
            except LoadError as error:
                frames = (backtrace.MESSAGE, backtrace.AIRFRAME)
                raise LoadError(f"Airframe GPU load failed: {error}", frames) from None
            except Panic as panic:
                panic.frames += (backtrace.AIRFRAME_RUNTIME, backtrace.AIRFRAME)
                raise
        return AirframeModel(*self._runtime, self._engine)

    def _load(self, path: str) -> tuple[Vocabulary, int]:
        """The vocabulary and the context of what was loaded."""
        self._check_adapter()
        try:
            tokens = vocabulary.read(path, self._engine.takes_any_array)
        except vocabulary.VocabularyError as error:
            raise LoadError(str(error)) from None
        found = self._files.shape(path)
        if found is None:
            raise LoadError("IO error: No such file or directory (os error 2)")
        header, shape = found
        context = self._context(shape.context)
        size = files.size(path)
        self._upload(path, size, header, shape, context)
        self._load_head(path, size, header, shape, tokens.size)
        cache = context * shape.kv_heads * shape.head_size * 4
        total = 2 * cache * shape.layers
        for line in (
            "[KVCache] Allocating GPU buffers:",
            f"  Layers: {shape.layers}",
            f"  Max seq len: {context}",
            f"  KV heads: {shape.kv_heads}",
            f"  Head dim: {shape.head_size}",
            f"  Buffer size per layer: {cache} bytes ({cache / _MIB:.2f} MB)",
            f"  Total VRAM allocated: {total} bytes ({total / _MIB:.2f} MB)",
        ):
            self._note(line)
        embedding = header.tensors.get("token_embd.weight")
        if embedding is None:
            place, reason = f"{self._engine.gpu_line}:14", "token_embd.weight not found"
            frames = ("core::option::expect_failed",)
            raise airframe_header.panic(self._engine, "gpu.rs", place, reason, frames)
        numbers, row = _ROWS.get(embedding.kind, _ROWS[2])
        self._note(
            f"[GpuRuntime] token_embd.weight: quant_type={embedding.kind} "
            f"row_bytes={shape.width // numbers * row}"
        )
        return tokens, context

    def _check_adapter(self) -> None:
        machine = self._machine
        if not machine.adapter:
            raise LoadError("No GPU adapter found")
        self._note(f"[GpuRuntime] Selected adapter: {machine.adapter}")
        least = self._engine.least_binding
        if least and machine.binding_limit:
            raise LoadError(
                f"GPU storage buffer binding limit ({machine.binding_limit} MB) is too small for "
                f"the bindless chunk size ({least} MB). Update your GPU drivers."
            )

    def _context(self, native: int) -> int:
        asked = (self._largest_context or "").removeprefix("+")
        if asked.isascii() and asked.isdigit():
            return int(asked[-9:])
        if native <= _LARGEST_CONTEXT:
            return native
        self._note(
            f"[GpuRuntime] Model native context {native} tokens exceeds safe default "
            f"{_LARGEST_CONTEXT}. Capping to {_LARGEST_CONTEXT} to protect GPU memory. "
            "Set SHIMMY_MAX_CTX=<n> to override."
        )
        return _LARGEST_CONTEXT

    def _upload(self, path: str, size: int, header: Header, shape: Shape, context: int) -> None:
        limit = self._machine.binding_limit * _MIB
        chunk = min(_CHUNK, limit or _CHUNK) // 256 * 256
        chunks = -(-size // chunk)
        show = self._show
        show(f"[BindlessLoader] Opening GGUF: {rust.debug(path)}")
        show(f"[BindlessLoader] File size: {size} bytes ({size / _MIB:.2f} MB)")
        plan = f"{chunks} chunks of {chunk} bytes (256-aligned)"
        show(f"[BindlessLoader] Multi-buffer plan: {plan}")
        show("[BindlessLoader] Scanning Metadata...")
        self._files.scan(path)
        found = f"Found {len(header.tensors)} tensors. Data starts at {header.data_start}."
        show(f"[BindlessLoader] {found}")
        show("[BindlessLoader] Memory-mapping GGUF file...")
        for number in range(chunks):
            begin, end = number * chunk, min((number + 1) * chunk, size)
            if (end - begin) % 4:
                self._misaligned(number, end - begin)
            bytes_shown = f"bytes [{begin}, {end})"
            show(f"[BindlessLoader] Creating blob buffer {number}: {bytes_shown}")
        show("[BindlessLoader] Launching Preflight Fusion (from mmap)...")
        show("[Preflight] Spinning off Math Tables & Tensor Banks (From RAM)...")
        pairs = shape.head_size // 2
        entries = context * pairs * 2
        base = rust.display_f32(shape.rope_base)
        show(
            f"[Preflight] RoPE Lookup Table: {context}×{pairs} = {entries} entries "
            f"({entries * 4 / 1024:.1f} KB, Base={base}, Dim={shape.head_size}, Scale=1, "
            "Mode=native)"
        )
        norms = (shape.layers * 4 + 1) * shape.width * 4
        show(
            f"[Preflight] Extracting Norms: {shape.layers} layers, Total Size {norms / _MIB:.2f} MB"
        )
        self._check_norms(size, header, shape)
        show(f"[BindlessLoader] Upload Complete ({chunks} buffers).")

    def _misaligned(self, number: int, size: int) -> None:
        reason = f"blob buffer {number} size {size} must be 4-byte aligned for wgpu"
        raise airframe_header.panic(self._engine, "loader.rs", "580:13", reason, ())

    def _check_norms(self, size: int, header: Header, shape: Shape) -> None:
        names = [
            f"blk.{layer}.{kind}_norm.weight"
            for layer in range(shape.layers)
            for kind in ("attn", "ffn")
        ]
        for name in (*names, "output_norm.weight"):
            tensor = header.tensors.get(name)
            if tensor is None:
                self._note(f"WARNING: Missing Norm Tensor {name}")
            elif tensor.offset + 4 * shape.width > size:
                self._note(f"CRITICAL ERROR: Tensor {name} out of bounds!")

    def _load_head(self, path: str, size: int, header: Header, shape: Shape, tokens: int) -> None:
        """Take the output head, which is the embedding if there is none of its own."""
        output = header.tensors.get("output.weight")
        self._show(f"[OutputHead] load_output_head_f32 ENTERED for model: {rust.lossy(path)}")
        offset, kind = (0, 0) if output is None else (output.offset, output.kind)
        self._show(
            f"[OutputHead] data_start_offset={header.data_start} tensor_offset={offset} "
            f"weight_type={kind}"
        )
        name = "output.weight" if output is not None else "token_embd.weight"
        head = header.tensors.get(name)
        if head is None:
            raise LoadError("Neither output.weight nor token_embd.weight found in model")
        if head.kind not in _HEADS:
            raise LoadError(f"Unsupported quant type {head.kind} for output head tensor '{name}'")
        numbers, block = _ROWS[head.kind]
        end = head.offset + -(-tokens * shape.width // numbers) * block
        if end > size:
            raise _beyond(name, head.kind, end, size)


def _beyond(name: str, kind: int, end: int, size: int) -> Exception:
    """The complaint about an output head whose data is not all there."""
    if kind == 2:
        return LoadError("Fixture error: Tensor data extends beyond file")
    if kind == 8:
        return LoadError("Fixture error: Q8_0 tensor data extends beyond file")
    return LoadError(
        f"Tensor bounds error: {name} type {kind} ({_HEADS[kind]}) extends beyond file (computed "
        f"end: {end}, file size: {size}). Check GGUF file integrity or tensor metadata"
    )


class AirframeModel(PretendedModel):
    """A loaded model: what it says is made up, and how long that may be is not."""

    def __init__(self, tokens: Vocabulary, context: int, engine: Airframe) -> None:
        self._tokens = tokens
        self._context = context
        self._engine = engine
        self._least = 0 if engine.tells_ends else 1
        """Tokens that an answer has at least."""

    def generate(self, prompt: str, max_tokens: int, user_text: str) -> str:
        text = reply.default_reply(prompt, user_text)
        size, most = reply.count(text), max(max_tokens, self._least)
        room = self._room(prompt)
        if self._engine.tells_ends and min(size, most) > room:
            raise GenerationError(_ENDED)
        if not room:
            return ""
        return text if size <= most else reply.beginning(text, most)

    def stream(self, prompt: str, max_tokens: int, user_text: str) -> Iterator[str | Step]:
        said = self.said(prompt, max(max_tokens, self._least), user_text)
        room = self._room(prompt)
        yield from said[:room]
        if len(said) > room and self._engine.tells_ends:
            raise GenerationError(_ENDED)

    def outcome(self, prompt: str, said: int, max_tokens: int) -> Outcome | None:
        if not self._engine.tells_ends:
            return None
        count, _ = self._tokens.count(prompt, self._context)
        if said >= max_tokens:
            return Outcome("length", count, max_tokens)
        # The token that ends an answer counts as well.
        return Outcome("stop", count, said + 1)

    def _room(self, prompt: str) -> int:
        """How many tokens of an answer to ``prompt`` there can be."""
        count, distinct = self._tokens.count(prompt, self._context)
        budget = self._engine.fact_budget
        if count > self._context:
            return 0
        if not budget:
            return self._context
        left = budget - count - distinct
        return left // 2 if left >= 4 else int(left >= _FIRST_TOKEN)


_FIRST_TOKEN = 3
"""What the first token of an answer takes of the budget."""
