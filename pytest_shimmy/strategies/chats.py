"""Requests that shimmy answers, for each of its endpoints."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fake_shimmy.releases import NEWEST

from .answers import HARD, check
from .events import WHOLE

_TEXT = st.one_of(st.text(max_size=12), st.sampled_from(HARD))
_ROLES = ("user", "assistant", "system")
_SOME = {
    "temperature": st.floats(0, 2, allow_nan=False, width=32),
    "top_p": st.floats(0, 1, allow_nan=False, width=32),
    "max_tokens": st.integers(1, 64),
}
"""What a request may say beside its text."""


def chats(
    endpoint: str = "chat", *, model: str = "tiny", release: str = NEWEST, max_messages: int = 4
) -> SearchStrategy[dict[str, Any]]:
    """Bodies of requests that shimmy of this release takes, for `model`, without ``stream``.

    :param endpoint: ``chat``, ``completions``, ``generate`` or ``messages``.

    Seen on 2.6.5 and 2.5.0: roles are any texts, and contents any texts, empty ones too. Raises
    ``ValueError``.
    """
    check(endpoint, release, WHOLE)
    return _chats(endpoint, model, max_messages)


@st.composite
def _chats(draw: DrawFn, endpoint: str, model: str, max_messages: int) -> dict[str, Any]:
    said = draw(st.fixed_dictionaries({}, optional=_SOME))
    body = {"model": model, **said}
    if endpoint == "completions" or (endpoint == "generate" and draw(st.booleans())):
        # A text completion without a word is refused.
        return {**body, "prompt": "Say" + draw(_TEXT)}
    messages = draw(st.lists(st.tuples(st.sampled_from(_ROLES), _TEXT), max_size=max_messages))
    if endpoint == "messages":
        body.setdefault("max_tokens", 16)
    conversation = [*messages, ("user", draw(_TEXT))]
    return {**body, "messages": [{"role": role, "content": text} for role, text in conversation]}
