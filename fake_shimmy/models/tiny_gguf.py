"""A tiny GGUF model whose answers are known in advance, which every engine for GGUF really runs.

Strategy: a llama model of one layer with weights set by hand instead of trained. Each token of an
answer makes the next one certain, and the attention looks for one word of ``ANSWERS`` in the prompt
to choose which answer begins; without such a word it finds the begin-of-sequence token, whose
answer is ``DEFAULT``. Two tokens are never close to each other, so chance and the processor cannot
change what is said, and the file is the same on every run. (With ``top_p`` of 1 or more, shimmy
1.8.1 says the first token again and again: it passes the numbers of its repeat penalty in another
order than llama.cpp expects.) All other text is spelled in byte tokens, which say nothing.

Airframe needs rows of whole words and tokens that are UTF-8 each by itself: at width 96 all of its
logits are 0, and a torn token does not load (seen on 2.6.5 default). llama.cpp takes both.
"""

from __future__ import annotations

from itertools import pairwise
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Answers = Mapping[str, tuple[str | bytes, ...]]
    Weights = Mapping[tuple[int, int], float]

END = "</s>"
"""The end-of-sequence token; an answer that does not reach it goes on in a circle."""

DEFAULT = ("▁Raw", "▁says", "▁hello,", "▁world!", "<0x0A>", "▁¿qué?", END)
"""The answer to a prompt without one of the words below, as tokens (``▁`` is a space).

A token has three characters or more: shorter ones could be found in the text of a prompt.
"""

ANSWERS: dict[str, tuple[str | bytes, ...]] = {
    # The marks of the chat templates, so that the wire shows which one was taken.
    "assistant: ": ("▁OpenChat", *DEFAULT[1:]),
    "<|im_start|>": ("▁ChatML", *DEFAULT[1:]),
    "<|start_header_id|>": ("▁Llama3", *DEFAULT[1:]),
    "<|begin_of_text|>": ("▁Llama3+system", *DEFAULT[1:]),
    # Words for a message.
    "count": ("one", "▁two", "▁three", "▁four", "▁five", "▁six", "▁seven", "▁eight", END),
    "clock": ("▁tick", "▁tock", "▁tick"),
    "blank": ("▁▁▁", "<0x20>", "par\n\nagraph", "\t\t\t", "<0x0B>", "text", END),
    "marker": ("before", "<|im", "_end|>", "after", END),
    "quote": ('"quoted"', "back\\slash", "&<>'", "(\u2028)", "(\x7f)", "▁smile😀", END),
    "done": ("almost", "[DONE]", "over", END),
    "euro": ("sign:", "<0xE2>", "<0x82>", "<0xAC>", "...", END),
    "control": ("silent:", "<pad>", "spoken", END),
    "return": ("first,", "car\rriage", "last", END),
    "nothing": (END,),
}
"""What is answered to a prompt with that text in it; of several the last here counts."""

WIDTH = 128
"""Numbers in the hidden state: whole blocks of Q8_0, and rows of whole 32-bit words."""

_BEGIN = "<s>"
_SPECIAL = ("<unk>", _BEGIN, END, "<pad>")
_PLAIN = ("▁", "\n")
"""Characters that a prompt would otherwise spell with byte tokens that have a successor."""

_CONTEXT = 4096
_HEAD = 16
_FEED_FORWARD = 8
_ROPE_BASE = 1e8
"""So slow that the last pair of a head does not notice the position."""

_CONSTANT, _NEUTRAL, _FIRST_WORD = 0, 1, 2
"""Places in the hidden state: for every token, for every other token, for the first word …"""

_QUERY = _HEAD - 2
"""The place of a head that carries the search for words."""

_BEGIN_SCORE, _WORD_SCORE = 16.0, 8.0
_ANSWER_LOGIT, _SUCCESSOR_LOGIT = 8.0, 24.0

_ALIGNMENT = 32
_BLOCK = 32
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
"""Types of metadata values."""
_F32, _F16, _Q8_0 = 0, 1, 8
"""Types of tensors."""
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
"""Types of tokens."""


def contents(
    answers: Answers = ANSWERS,
    width: int = WIDTH,
    template: str | None = None,
    is_spelled: bool = False,
) -> bytes:
    """The model as a file. ``template`` is the chat template that it brings along, if any.

    Airframe looks for no tokens of the user's in a prompt. In a model that ``is_spelled`` it finds
    the words as well: their beginnings are tokens too, from which it puts them together.
    """
    said = _answers(answers)
    types = _vocabulary(answers, said)
    if is_spelled:
        for word in (word for word in answers if " " not in word):
            types |= {word[:end].encode(): _NORMAL for end in range(1, len(word) + 1)}
            types |= {letter.encode(): _NORMAL for letter in word}
    tokens = list(types)
    tensors = list(_tensors(tokens, said, width))
    pairs = [
        _pair("general.architecture", _string(b"llama")),
        _pair("general.name", _string(b"tiny")),
        _pair("llama.context_length", _uint32(_CONTEXT)),
        _pair("llama.embedding_length", _uint32(width)),
        _pair("llama.block_count", _uint32(1)),
        _pair("llama.feed_forward_length", _uint32(_FEED_FORWARD)),
        _pair("llama.attention.head_count", _uint32(1)),
        _pair("llama.attention.head_count_kv", _uint32(1)),
        _pair("llama.attention.key_length", _uint32(_HEAD)),
        _pair("llama.attention.value_length", _uint32(_HEAD)),
        _pair("llama.rope.dimension_count", _uint32(_HEAD)),
        _pair("llama.rope.freq_base", _float32(_ROPE_BASE)),
        _pair("llama.attention.layer_norm_rms_epsilon", _float32(1e-6)),
        _pair("tokenizer.ggml.model", _string(b"llama")),
        _pair("tokenizer.ggml.tokens", _array(_STRING, map(_text, tokens), len(tokens))),
        _pair("tokenizer.ggml.scores", _array(_FLOAT32, [bytes(4 * len(tokens))], len(tokens))),
        _pair(
            "tokenizer.ggml.token_type",
            _array(_INT32, (pack("<i", kind) for kind in types.values()), len(tokens)),
        ),
        _pair("tokenizer.ggml.unknown_token_id", _uint32(tokens.index(b"<unk>"))),
        _pair("tokenizer.ggml.bos_token_id", _uint32(tokens.index(_BEGIN.encode()))),
        _pair("tokenizer.ggml.eos_token_id", _uint32(tokens.index(END.encode()))),
        _pair("tokenizer.ggml.add_bos_token", pack("<I?", _BOOL, True)),
    ]
    if template is not None:
        pairs.append(_pair("tokenizer.chat_template", _string(template.encode())))
    head = [b"GGUF" + pack("<IQQ", 3, len(tensors), len(pairs)), *pairs]
    body: list[bytes] = []
    offset = 0
    for name, kind, shape, data in tensors:
        dimensions = b"".join(pack("<Q", number) for number in reversed(shape))
        place = pack("<IQ", kind, offset)
        head += [_text(name.encode()), pack("<I", len(shape)), dimensions, place]
        padded = data + bytes(-len(data) % _ALIGNMENT)
        body.append(padded)
        offset += len(padded)
    start = b"".join(head)
    return b"".join((start, bytes(-len(start) % _ALIGNMENT), *body))


def _text(text: bytes) -> bytes:
    return pack("<Q", len(text)) + text


def _pair(key: str, value: bytes) -> bytes:
    return _text(key.encode()) + value


def _string(text: bytes) -> bytes:
    return pack("<I", _STRING) + _text(text)


def _uint32(number: int) -> bytes:
    return pack("<II", _UINT32, number)


def _float32(number: float) -> bytes:
    return pack("<If", _FLOAT32, number)


def _array(kind: int, items: Iterable[bytes], count: int) -> bytes:
    return pack("<IIQ", _ARRAY, kind, count) + b"".join(items)


def _bytes(token: str | bytes) -> bytes:
    return token if isinstance(token, bytes) else token.encode()


def _answers(answers: Answers) -> list[tuple[bytes, list[bytes]]]:
    """The words and their answers, the begin-of-sequence token first."""
    return [
        (word.encode(), [_bytes(token) for token in said])
        for word, said in {_BEGIN: DEFAULT, **answers}.items()
    ]


def _vocabulary(answers: Answers, said: list[tuple[bytes, list[bytes]]]) -> dict[bytes, int]:
    """The tokens and their types."""
    types = {token.encode(): _CONTROL for token in _SPECIAL}
    types[b"<unk>"] = _UNKNOWN
    types |= {b"<0x%02X>" % byte: _BYTE for byte in range(256)}
    types |= {token.encode(): _NORMAL for token in _PLAIN}
    types |= {word.encode(): _USER_DEFINED for word in answers}
    for _, tokens in said:
        for token in tokens:
            types.setdefault(token, _NORMAL)
    return types


def _places(said: list[tuple[bytes, list[bytes]]], width: int) -> dict[bytes, int]:
    """Where in the hidden state a token shows; tokens that are not named are neutral."""
    named = [word for word, _ in said]
    named += [token for _, tokens in said for token in tokens if token != END.encode()]
    places = {token: _FIRST_WORD + n for n, token in enumerate(dict.fromkeys(named))}
    assert max(places.values()) < width, "too many different tokens in the answers"
    return places


def _tensors(
    tokens: list[bytes], said: list[tuple[bytes, list[bytes]]], width: int
) -> Iterable[tuple[str, int, tuple[int, ...], bytes]]:
    """Name, type, shape and data of each tensor. All tokens show with the same strength, so the
    norms change nothing."""
    places = _places(said, width)
    index = {token: n for n, token in enumerate(tokens)}
    embedding = {(row, _CONSTANT): 1.0 for row in range(len(tokens))}
    embedding |= {(index[token], places.get(token, _NEUTRAL)): 1.0 for token in tokens}
    output: dict[tuple[int, int], float] = {}
    key: dict[tuple[int, int], float] = {}
    value: dict[tuple[int, int], float] = {}
    back: dict[tuple[int, int], float] = {}
    for n, (word, answer) in enumerate(said):
        place = places[word]
        output[index[answer[0]], place] = _ANSWER_LOGIT
        for token, successor in pairwise(answer):
            output[index[successor], places[token]] = _SUCCESSOR_LOGIT
        key[_QUERY, place] = (_BEGIN_SCORE + n * _WORD_SCORE) * _HEAD**0.5 * 2 / width
        value[n, place] = (2 / width) ** 0.5
        back[place, n] = 1.0
    ones = pack("<f", 1.0) * width
    table, head = (len(tokens), width), (_HEAD, width)
    yield "token_embd.weight", _Q8_0, table, _quantized(embedding, table)
    yield "output_norm.weight", _F32, (width,), ones
    yield "output.weight", _Q8_0, table, _quantized(output, table)
    yield "blk.0.attn_norm.weight", _F32, (width,), ones
    query = {(_QUERY, _CONSTANT): 1.0}
    yield "blk.0.attn_q.weight", _F16, head, _halves(query, head)
    yield "blk.0.attn_k.weight", _F16, head, _halves(key, head)
    yield "blk.0.attn_v.weight", _F16, head, _halves(value, head)
    yield "blk.0.attn_output.weight", _F16, (width, _HEAD), _halves(back, (width, _HEAD))
    yield "blk.0.ffn_norm.weight", _F32, (width,), ones
    for name, shape in (
        ("gate", (_FEED_FORWARD, width)),
        ("up", (_FEED_FORWARD, width)),
        ("down", (width, _FEED_FORWARD)),
    ):
        yield f"blk.0.ffn_{name}.weight", _F16, shape, _halves({}, shape)


def _halves(weights: Weights, shape: tuple[int, int]) -> bytes:
    """The weights that are not 0, by row and column, as a tensor of 16-bit floats."""
    rows, columns = shape
    data = bytearray(2 * rows * columns)
    for (row, column), weight in weights.items():
        at = 2 * (row * columns + column)
        data[at : at + 2] = pack("<e", weight)
    return bytes(data)


def _quantized(weights: Weights, shape: tuple[int, int]) -> bytes:
    """The same in the Q8_0 format: blocks of a scale and 32 numbers of one byte."""
    rows, columns = shape
    size = 2 + _BLOCK
    data = bytearray(rows * columns // _BLOCK * size)
    blocks: dict[int, dict[int, float]] = {}
    for (row, column), weight in weights.items():
        number, place = divmod(row * columns + column, _BLOCK)
        blocks.setdefault(number, {})[place] = weight
    for number, block in blocks.items():
        scale = max(map(abs, block.values())) / 127
        data[number * size : number * size + 2] = pack("<e", scale)
        for place, weight in block.items():
            data[number * size + 2 + place] = round(weight / scale) & 0xFF
    return bytes(data)
