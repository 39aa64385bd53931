"""A small application that talks to a local LLM server, as the tests beside it do to a shimmy."""

from __future__ import annotations

import openai


def capital_of(country: str, model: str) -> str:
    """Ask for a capital. The server's address comes from OPENAI_BASE_URL."""
    with openai.OpenAI() as client:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": f"Capital of {country}?"}],
            # Left out, shimmy 2.5.0 streams, and the SDK returns the stream as a str.
            stream=False,
        )
    return answer.choices[0].message.content or ""


def careless_capital_of(country: str, model: str) -> str:
    """The same without ``stream``: right for OpenAI's server and shimmy 2.6.5, not for 2.5.0."""
    with openai.OpenAI() as client:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": f"Capital of {country}?"}],
        )
    return answer.choices[0].message.content or ""
