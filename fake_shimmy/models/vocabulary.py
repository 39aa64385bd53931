"""A GGUF file's vocabulary: what its reader refuses, and into how many tokens a text falls.

Strategy: the file is read a second time, as the real one does, since this reader is another than
that of the tensors and has rules of its own: it refuses in words where the other one panics.
SentencePiece vocabularies are counted exactly; of all others only the size of the text is known,
and four bytes are a token. Seen on 2.6.5 default; on 2.5.0 only what it refuses.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache

from fake_shimmy import rust
from fake_shimmy.models import files
from fake_shimmy.models.airframe_header import ARRAY, BOOL, FLOAT32, INT32, SIZES, STRING, UINT32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, TypeAlias

    Value: TypeAlias = int | float | bool | str | list[str] | list[int] | list[float] | None

_SPACE, _OTHER_SPACE = "▁", "Ġ"
_CONTROL = 3
_BEGIN, _END = "(begin)", "(end)"
_MOST_TEXT = 1024 * 1024
_MOST_TEXTS = 100 * _MOST_TEXT
_LONGEST_ARRAY = 10_000_000
_LONGEST_TOKEN = 1024
_SENTENCE_PIECE = ("llama", "mistral", "gemma", "gemma4", "gemma6")
_OTHERS = ("gpt2", "qwen", "qwen2", "bert", "wpm", "rwkv", "t5", "ugm", "plamo2")
_NUMBERS = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}
_ITEMS = {INT32: "i", FLOAT32: "f"}
_SPECIAL = (
    *("bos", "eos", "unknown", "padding", "eot", "eog", "sep", "nl"),
    *("fim_pre", "fim_suf", "fim_mid", "mask"),
)
_USUAL_IDS = {"bos": 1, "eos": 2, "unknown": 0}

BYTES_PER_TOKEN = 4
"""Of a prompt, where the vocabulary is not one that is imitated."""


class VocabularyError(Exception):
    """What the reader has against the file, in its own words."""


class Vocabulary:
    """The tokens of a model."""

    def __init__(self, values: dict[str, tuple[int, Value]]) -> None:
        def get(key: str, kind: int) -> Value:
            found, value = values.get(f"tokenizer.ggml.{key}", (-1, None))
            return value if found == kind else None

        self._tokens = tokens = _strings(get("tokens", ARRAY + STRING))
        self.kind = str(get("model", STRING) or "llama")
        types = get("token_type", ARRAY + INT32)
        scores = get("scores", ARRAY + FLOAT32)
        self._check(types, scores)
        self._ids = {token: number for number, token in enumerate(tokens)}
        if len(self._ids) != len(tokens):
            text = f"Duplicate tokens found: {len(self._ids)} unique out of {len(tokens)} total"
            raise VocabularyError(f"Vocabulary error: {text}")
        self._scores = [float(score) for score in scores] if isinstance(scores, list) else []
        adds_begin = get("add_bos_token", BOOL)
        self._adds_begin = self.kind in _SENTENCE_PIECE if adds_begin is None else bool(adds_begin)
        self._adds_end = bool(get("add_eos_token", BOOL))
        self._adds_space = get("add_space_prefix", BOOL) is not False
        numbers = [get(f"{name}_token_id", UINT32) for name in _SPECIAL]
        numbers = [
            _USUAL_IDS.get(name) if number is None else number
            for name, number in zip(_SPECIAL, numbers, strict=True)
        ]
        special = {tokens[n] for n in numbers if isinstance(n, int) and n < len(tokens)}
        if isinstance(types, list):
            special |= {
                token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL
            }
        self._special = sorted(special - {""}, key=len, reverse=True)
        self._split: Callable[[str], list[str]] | None = None
        """Takes a text apart at these, from the first text on."""
        # Most vocabularies have one way to write a space.
        has_other = any(_OTHER_SPACE in token for token in tokens)
        openings = {token[0] for token in tokens if len(token) == 2}
        self._openings = openings | {_SPACE} if _OTHER_SPACE in openings else openings
        """Characters that the next one may be merged with."""
        self._find = self._find_either if has_other else self._ids.get
        """Gives the number of a token."""
        self._longest = max(map(len, tokens))
        self._newest: tuple[str | None, int, int] = None, 0, 0
        if self.kind not in _SENTENCE_PIECE and self.kind not in _OTHERS:
            raise VocabularyError(f"Unsupported model type: {self.kind}")

    def _check(self, types: Value, scores: Value) -> None:
        tokens = self._tokens
        if not tokens:
            raise VocabularyError("Vocabulary error: Vocabulary is empty")
        for number, token in enumerate(tokens):
            size = len(token.encode())
            if size > _LONGEST_TOKEN:
                text = f"Token {number} too large: {size} bytes (max: {_LONGEST_TOKEN})"
                raise VocabularyError(f"Vocabulary error: {text}")
        for what, found, rows in (
            ("Score array", scores, "scores"),
            ("Token types", types, "types"),
        ):
            if isinstance(found, list) and len(found) != len(tokens):
                text = f"{what} length mismatch: {len(found)} {rows} for {len(tokens)} tokens"
                raise VocabularyError(f"Vocabulary error: {text}")

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self._tokens)

    def count(self, text: str, limit: int) -> tuple[int, int]:
        """How many tokens ``text`` is as a prompt, and how many different ones; a text of more
        than ``limit`` is not read to its end."""
        # So many tokens can be in so much text, whatever it is.
        text = text[: (limit + 1) * self._longest]
        # Each answer counts its prompt twice, and many tests ask the same.
        before, count, distinct = self._newest
        if before != text:
            tokens = self._tokens_of(text)
            count, distinct = len(tokens), len(set(tokens))
            self._newest = text, count, distinct
        return count, distinct

    def _tokens_of(self, text: str) -> list[str]:
        begin = [_BEGIN] if self._adds_begin else []
        end = [_END] if self._adds_end else []
        if self.kind not in _SENTENCE_PIECE:
            raw = text.encode()
            pieces = range(0, len(raw), BYTES_PER_TOKEN)
            return [*begin, *(str(raw[at : at + BYTES_PER_TOKEN]) for at in pieces), *end]
        found = [token for part in self._fragments(text) for token in self._spelled(part)]
        return [*begin, *found, *end]

    def _fragments(self, text: str) -> list[str]:
        """``text`` taken apart at the special tokens, each of which is a fragment of its own."""
        if not self._special:
            return [text]
        if self._split is None:
            import re

            pattern = "|".join(map(re.escape, self._special))
            self._split = re.compile(f"({pattern})").split
        return [fragment for fragment in self._split(text) if fragment]

    def _spelled(self, text: str) -> list[str]:
        if text in self._special:
            return [text]
        spaced = text.replace(" ", _SPACE)
        if self._adds_space and not text.startswith(" "):
            spaced = _SPACE + spaced
        tokens: list[str] = []
        find = self._find
        for symbol in self._merged(spaced):
            if find(symbol) is not None:
                tokens.append(symbol)
            else:
                tokens += _in_bytes(symbol)
        return tokens

    def _find_either(self, text: str) -> int | None:
        number = self._ids.get(text)
        if number is None and _SPACE in text:
            return self._ids.get(text.replace(_SPACE, _OTHER_SPACE))
        return number

    def _merged(self, text: str) -> list[str]:
        """The characters of ``text``, neighbours that are a token merged, the best score first and
        of equal ones the first."""
        if self._openings.isdisjoint(text):
            return list(text)
        from heapq import heappop, heappush

        symbols: list[str] = list(text)
        following = list(range(1, len(symbols) + 1))
        previous = list(range(-1, len(symbols) - 1))
        queue: list[tuple[float, int, int, int]] = []
        scores, find = self._scores, self._find

        def consider(left: int, right: int) -> None:
            merged = symbols[left] + symbols[right]
            number = find(merged)
            if number is not None:
                score = -scores[number] if scores else 0.0
                heappush(queue, (score, left, right, len(merged)))

        for at in range(len(symbols) - 1):
            if symbols[at] in self._openings:
                consider(at, at + 1)
        while queue:
            _, left, right, size = heappop(queue)
            if not symbols[left] or not symbols[right] or following[left] != right:
                continue
            if len(symbols[left]) + len(symbols[right]) != size:
                continue
            symbols[left] += symbols[right]
            symbols[right] = ""
            after = following[left] = following[right]
            if after < len(symbols):
                previous[after] = left
                consider(left, after)
            if previous[left] >= 0:
                consider(previous[left], left)
        return [symbol for symbol in symbols if symbol]


@lru_cache(maxsize=1024)
def _in_bytes(character: str) -> list[str]:
    """The tokens by which a character is spelled that is none."""
    return [f"<0x{byte:02X}>" for byte in character.encode()]


def _strings(value: Value) -> list[str]:
    if not isinstance(value, list):
        raise VocabularyError("Invalid GGUF metadata: Missing tokenizer.ggml.tokens")
    return [str(token) for token in value]


def read(path: str, takes_any_array: bool) -> Vocabulary:
    """The vocabulary of the file at ``path``; raises :class:`VocabularyError`."""
    if rust.is_dir(path):
        raise VocabularyError(f"IO error: {os.strerror(21)} (os error 21)")
    try:
        with files.opened(path) as file:
            return Vocabulary(_Reader(file, takes_any_array).read())
    except OSError as error:
        raise VocabularyError(f"IO error: {rust.os_error(error)}") from None


class _Reader:
    def __init__(self, file: IO[bytes], takes_any_array: bool) -> None:
        self._file = file
        self._takes_any_array = takes_any_array
        self._texts = 0
        """Bytes of all texts so far."""

    def read(self) -> dict[str, tuple[int, Value]]:
        """Type and value of each pair; an array's type is that of its items above ``ARRAY``."""
        if self._take(4) != b"GGUF":
            raise _invalid("Not a GGUF file")
        version = self._number(4)
        if version not in (2, 3):
            text = f"Unsupported GGUF version: {version} (only versions 2-3 are supported)"
            raise _invalid(text)
        self._number(8)
        values = {}
        for _ in range(self._number(8)):
            key = self._text()
            values[key] = self._value(self._number(4))
        return values

    def _value(self, kind: int) -> tuple[int, Value]:
        if kind == STRING:
            return kind, self._text()
        if kind == ARRAY:
            return self._array()
        if kind not in SIZES or (kind > ARRAY and not self._takes_any_array):
            raise _invalid(f"Unsupported value type: {kind}")
        raw = self._take(SIZES[kind])
        return kind, struct.unpack(_NUMBERS[kind], raw)[0] if kind in _NUMBERS else None

    def _array(self) -> tuple[int, Value]:
        kind, count = self._number(4), self._number(8)
        if not self._takes_any_array and kind not in (0, INT32, FLOAT32, BOOL, STRING):
            raise _invalid(f"Unsupported array type: {kind}")
        if self._takes_any_array and count > _LONGEST_ARRAY:
            raise _invalid(f"Array too large: {count} elements (max: {_LONGEST_ARRAY})")
        if kind == STRING:
            return ARRAY + STRING, [self._text() for _ in range(count)]
        if kind in _ITEMS:
            raw = self._take(4 * count)
            return ARRAY + kind, list(struct.unpack(f"<{count}{_ITEMS[kind]}", raw))
        if kind in SIZES:
            self._take(SIZES[kind] * count)
        else:
            for _ in range(count):
                self._value(kind)
        return ARRAY, None

    def _text(self) -> str:
        size = self._number(8)
        if size > _MOST_TEXT:
            raise _invalid(f"String too large: {size} bytes (max: {_MOST_TEXT})")
        self._texts += size
        if self._texts > _MOST_TEXTS:
            text = f"Total string data too large: {self._texts} bytes (max: {_MOST_TEXTS})"
            raise _invalid(text)
        raw = self._take(size)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            length = rust.utf8_error_length(error)
            text = (
                f"incomplete utf-8 byte sequence from index {error.start}"
                if length is None
                else f"invalid utf-8 sequence of {length} bytes from index {error.start}"
            )
            raise _invalid(f"Invalid UTF-8: {text}") from None

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _take(self, count: int) -> bytes:
        found = self._file.read(min(count, 2**62))
        if len(found) < count:
            raise VocabularyError("IO error: failed to fill whole buffer")
        return found


def _invalid(text: str) -> VocabularyError:
    return VocabularyError(f"Invalid GGUF metadata: {text}")
