"""Embeddings as OpenAI has them: vectors that were scripted, or that grow from the text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def body(
    scripted: int | list[list[float]], document: dict[str, Any], usage: dict[str, Any] | None
) -> dict[str, Any]:
    """The answer to a request with ``document``."""
    asked = document.get("input", "")
    # A list of numbers is one text, in tokens.
    several = isinstance(asked, list) and not all(isinstance(each, int) for each in asked)
    inputs: list[Any] = asked if several else [asked]
    if isinstance(scripted, int):
        dimensions = document.get("dimensions")
        size = dimensions if isinstance(dimensions, int) and 0 < dimensions <= 10_000 else scripted
        vectors = [_vector(str(each), size) for each in inputs]
    else:
        vectors = [scripted[index % len(scripted)] for index in range(len(inputs))]
    encode = _base64 if document.get("encoding_format") == "base64" else _plain
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)}
        for index, vector in enumerate(vectors)
    ]
    words = sum(len(str(each).split()) for each in inputs)
    return {
        "object": "list",
        "data": data,
        "model": document.get("model", ""),
        "usage": {"prompt_tokens": words, "total_tokens": words, **(usage or {})},
    }


def _vector(text: str, size: int) -> list[float]:
    """A vector of length 1, the same for the same text; texts that share words are nearer to each
    other than others."""
    from random import Random

    vector = [0.0] * size
    for word in text.lower().split() or [""]:
        chance = Random(word)
        for index in range(size):
            vector[index] += chance.gauss(0, 1)
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return [value / length for value in vector]


def _plain(vector: list[float]) -> list[float]:
    return vector


def _base64(vector: list[float]) -> str:
    import struct
    from base64 import b64encode

    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
