"""A tiny GGUF model whose answers are known in advance, for llama.cpp builds of shimmy.

Strategy: a llama model of one layer with weights set by hand instead of trained. Each token of an
answer makes the next one certain, and the attention looks for one word of ``ANSWERS`` in the prompt
to choose which answer begins; without such a word it finds the begin-of-sequence token, whose
answer is ``DEFAULT``. Two tokens are never close to each other, so chance and the processor cannot
change what is said, and the file is the same on every run. (With ``top_p`` of 1 or more, shimmy
1.8.1 says the first token again and again: it passes the numbers of its repeat penalty in another
order than llama.cpp expects.) All other text is spelled in byte tokens, which say nothing.

``python -m pytest_shimmy.contract.tiny_gguf PATH`` writes the file. Needs the ``gguf`` package.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    "torn": ("torn:", b"\xe2\x82", b"\xac", END),
    "control": ("silent:", "<pad>", "spoken", END),
    "return": ("first,", "car\rriage", "last", END),
    "nothing": (END,),
}
"""What is answered to a prompt with that text in it; of several the last here counts."""

_BEGIN = "<s>"
_SPECIAL = ("<unk>", _BEGIN, END, "<pad>")
_PLAIN = ("▁", "\n")
"""Characters that a prompt would otherwise spell with byte tokens that have a successor."""

_CONTEXT = 4096
_WIDTH = 96
"""Numbers in the hidden state, in whole blocks of the Q8_0 format."""

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


def write(path: Path) -> None:
    """Write the model to ``path``."""
    import gguf

    tokens, types = _vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(_HEAD)
    writer.add_value_length(_HEAD)
    writer.add_rope_dimension_count(_HEAD)
    writer.add_rope_freq_base(_ROPE_BASE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(tokens.index(b"<unk>"))
    writer.add_bos_token_id(tokens.index(_BEGIN.encode()))
    writer.add_eos_token_id(tokens.index(END.encode()))
    writer.add_add_bos_token(True)
    for name, weights in _tensors(tokens).items():
        if len(weights) == len(tokens):  # the two big ones
            packed = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(f"{name}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _bytes(token: str | bytes) -> bytes:
    return token if isinstance(token, bytes) else token.encode()


def _answers() -> list[tuple[bytes, list[bytes]]]:
    """The words and their answers, the begin-of-sequence token first."""
    answers = {_BEGIN: DEFAULT, **ANSWERS}
    return [(word.encode(), [_bytes(token) for token in said]) for word, said in answers.items()]


def _vocabulary() -> tuple[list[bytes], list[int]]:
    """The tokens and their types."""
    from gguf import TokenType

    types = {token.encode(): TokenType.CONTROL for token in _SPECIAL}
    types[b"<unk>"] = TokenType.UNKNOWN
    types |= {b"<0x%02X>" % byte: TokenType.BYTE for byte in range(256)}
    types |= {token.encode(): TokenType.NORMAL for token in _PLAIN}
    types |= {word.encode(): TokenType.USER_DEFINED for word in ANSWERS}
    for _, said in _answers():
        for token in said:
            types.setdefault(token, TokenType.NORMAL)
    return list(types), [int(kind) for kind in types.values()]


def _places(answers: list[tuple[bytes, list[bytes]]]) -> dict[bytes, int]:
    """Where in the hidden state a token shows; tokens that are not named are neutral."""
    named = [word for word, _ in answers]
    named += [token for _, said in answers for token in said if token != END.encode()]
    places = {token: _FIRST_WORD + n for n, token in enumerate(dict.fromkeys(named))}
    assert max(places.values()) < _WIDTH, "too many different tokens in the answers"
    return places


def _tensors(tokens: list[bytes]) -> dict[str, NDArray[np.float16 | np.float32]]:
    """The weights. All tokens show with the same strength, so the norms change nothing."""
    import numpy as np

    answers = _answers()
    places = _places(answers)
    index = {token: n for n, token in enumerate(tokens)}
    embedding = np.zeros((len(tokens), _WIDTH), np.float16)
    embedding[:, _CONSTANT] = 1
    for token in tokens:
        embedding[index[token], places.get(token, _NEUTRAL)] = 1

    output = np.zeros((len(tokens), _WIDTH), np.float16)
    query, key, value = (np.zeros((_HEAD, _WIDTH), np.float16) for _ in range(3))
    back = np.zeros((_WIDTH, _HEAD), np.float16)
    query[_QUERY, _CONSTANT] = 1
    for n, (word, said) in enumerate(answers):
        place = places[word]
        output[index[said[0]], place] = _ANSWER_LOGIT
        for token, successor in pairwise(said):
            output[index[successor], places[token]] = _SUCCESSOR_LOGIT
        key[_QUERY, place] = (_BEGIN_SCORE + n * _WORD_SCORE) * np.sqrt(_HEAD) * 2 / _WIDTH
        value[n, place] = np.sqrt(2 / _WIDTH)
        back[place, n] = 1

    ones = np.ones(_WIDTH, np.float32)
    return {
        "token_embd": embedding,
        "output_norm": ones,
        "output": output,
        "blk.0.attn_norm": ones,
        "blk.0.attn_q": query,
        "blk.0.attn_k": key,
        "blk.0.attn_v": value,
        "blk.0.attn_output": back,
        "blk.0.ffn_norm": ones,
        "blk.0.ffn_gate": np.zeros((_FEED_FORWARD, _WIDTH), np.float16),
        "blk.0.ffn_up": np.zeros((_FEED_FORWARD, _WIDTH), np.float16),
        "blk.0.ffn_down": np.zeros((_WIDTH, _FEED_FORWARD), np.float16),
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
