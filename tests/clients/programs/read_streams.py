"""What users of a client for Python are shown of streams: ``read_streams.py CLIENT`` reads lines of
a URL and a key, asks there, and prints for each a JSON line with the text and the error's class."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

MESSAGES = [{"role": "user", "content": "Hi"}]
TIMEOUT = 20


def read_openai(url: str, key: str) -> Iterator[str]:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=TIMEOUT)
    with client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream:
        for chunk in stream:
            yield from (choice.delta.content or "" for choice in chunk.choices)


def read_anthropic(url: str, key: str) -> Iterator[str]:
    import anthropic

    client = anthropic.Anthropic(base_url=url, auth_token=key, max_retries=0, timeout=TIMEOUT)
    with client.messages.stream(model="tiny", max_tokens=64, messages=MESSAGES) as stream:
        yield from stream.text_stream
        stream.get_final_message()


def read_langchain(url: str, key: str) -> Iterator[str]:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model="tiny", base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=TIMEOUT
    )
    for chunk in model.stream("Hi"):
        yield str(chunk.content)


def read_litellm(url: str, key: str) -> Iterator[str]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks in the internet
    import litellm

    litellm.suppress_debug_info = True
    stream = litellm.completion(
        model="openai/tiny",
        api_base=f"{url}/v1",
        api_key=key,
        messages=MESSAGES,
        stream=True,
        max_retries=0,
        timeout=TIMEOUT,
    )
    for chunk in stream:
        yield from (choice.delta.content or "" for choice in chunk.choices)


READERS = {
    "openai": read_openai,
    "anthropic": read_anthropic,
    "langchain": read_langchain,
    "litellm": read_litellm,
}


def main() -> None:
    read = READERS[sys.argv[1]]
    # What clients print is not for our reader.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        url, key = line.split()
        text, error = "", None
        try:
            for part in read(url, key):
                text += part
        except Exception as raised:
            error = type(raised).__name__
        print(json.dumps({"text": text, "error": error}), file=answers, flush=True)


main()
