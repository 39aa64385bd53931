"""The default reply: what a loadable model says when nothing else was asked for.

Strategy: a short sentence made from the request alone, so a bare test is repeatable, and
different prompts are answered differently. Nothing here knows how a reply is sent.
"""

from __future__ import annotations

import zlib

ECHOED_WORDS = 24
"""How many words of the last user message the default reply repeats."""


def default_reply(prompt: str, user_text: str) -> str:
    """The reply to ``prompt``, which echoes ``user_text`` (the last user message)."""
    digest = zlib.crc32(prompt.encode("utf-8", "surrogatepass"))
    words = user_text.split()
    echo = " ".join(words[:ECHOED_WORDS])
    return f"Reply {digest:08x} to: {echo}" if echo else f"Reply {digest:08x}."


def beginning(text: str, most: int) -> str:
    """What the first ``most`` tokens of ``text`` say."""
    return text if count(text) <= most else "".join(tokenize(text)[:most])


def user_text(messages: list[tuple[str, str]]) -> str | None:
    """The last user message of (role, text) pairs."""
    for role, text in reversed(messages):
        if role == "user":
            return text
    return None


def tokenize(text: str) -> list[str]:
    """Word-wise tokens with their leading spaces; joined, they give ``text`` again."""
    first, *others = text.split(" ")
    return [first] + [" " + word for word in others]


def count(text: str) -> int:
    """How many tokens :func:`tokenize` makes of it."""
    return text.count(" ") + 1
