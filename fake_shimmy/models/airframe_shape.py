"""A model's numbers in the header of its file, as Airframe takes them: ``core/spec.rs``.

Seen on 2.6.5 default.
"""

from __future__ import annotations

from fake_shimmy.models import airframe_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.models.airframe_header import Header
    from fake_shimmy.releases import Airframe

_EXPECTED = (
    "core::option::expect_failed",
    "airframe::backend::bindless::metadata::BindlessMetadata::to_model_spec",
)
_DIVIDED = (
    "core::panicking::panic_const::panic_const_div_by_zero",
    "airframe::backend::bindless::metadata::BindlessMetadata::to_model_spec",
)


class Shape:
    """The numbers of a model that are needed to load it; panics where one is missing."""

    def __init__(self, header: Header, engine: Airframe) -> None:
        found = [
            header.number(suffix)
            for suffix in (
                *("embedding_length", "block_count", "feed_forward_length"),
                "attention.head_count",
            )
        ]
        names = ("embedding_length", "block_count", "feed_forward_length", "attention.head_count")
        columns = (29, 31, 29, 29)
        for at, (name, number, column) in enumerate(zip(names, found, columns, strict=True)):
            if number is None:
                place = f"{engine.spec_line + at}:{column}"
                reason = f"Missing {name} in GGUF metadata"
                raise airframe_header.panic(engine, "spec.rs", place, reason, _EXPECTED)
        self.width, self.layers, _, self.heads = (number or 0 for number in found)
        if not self.heads:
            place, reason = f"{engine.spec_line + 18}:42", "attempt to divide by zero"
            raise airframe_header.panic(engine, "spec.rs", place, reason, _DIVIDED)
        self.kv_heads = header.number("attention.head_count_kv") or self.heads
        self.context = header.number("context_length") or 2048
        base = header.value("rope.freq_base", airframe_header.FLOAT32)
        self.rope_base = 10000.0 if base is None else float(base)
        self.head_size = header.number("attention.key_length") or self.width // self.heads
        self.correction = ""
        """What is printed about it."""
        query = header.tensors.get("blk.0.attn_q.weight")
        if query is not None and len(query.dimensions) >= 2:
            size = query.dimensions[1] // self.heads
            if size not in (0, self.head_size):
                self.correction = (
                    f"[Spec] head_dim corrected {self.head_size} -> {size} via "
                    f"blk.0.attn_q.weight shape {query.dimensions}"
                )
                self.head_size = size
