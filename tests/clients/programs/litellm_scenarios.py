"""LiteLLM, with shimmy as a server of OpenAI's API."""

from __future__ import annotations

import asyncio
import os
from typing import Any

# Else importing it fetches a list of prices from the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import pydantic
import record
from record import BROKEN, HI, MODEL, URL, scenario

litellm.suppress_debug_info = True
SERVER: dict[str, Any] = {"api_base": f"{URL}/v1", "api_key": "none", "max_retries": 0}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


class City(pydantic.BaseModel):
    name: str


CALLS: dict[str, dict[str, Any]] = {
    "chat": {"extra_body": None},
    "chat_stream_false": {"extra_body": None, "stream": False},
    "chat_stream_false_in_extra_body": {},
    "chat_stream": {"stream": True},
    "chat_stream_usage": {"stream": True, "stream_options": {"include_usage": True}},
    "chat_unknown_model": {"model": "openai/nope"},
    "chat_unknown_model_stream": {"model": "openai/nope", "stream": True},
    "chat_load_failure": {"model": f"openai/{BROKEN}"},
    "chat_load_failure_stream": {"model": f"openai/{BROKEN}", "stream": True},
    "chat_no_messages": {"messages": []},
    "chat_max_tokens_0": {"max_tokens": 0},
    "chat_max_tokens_negative": {"max_tokens": -1},
    "chat_max_tokens_huge": {"max_tokens": 131073},
    "chat_max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 4},
    "chat_tools": {"tools": [TOOL], "tool_choice": "required"},
    "chat_response_format": {"response_format": {"type": "json_object"}},
    "chat_structured_output": {"response_format": City},
    "chat_two_choices": {"n": 2},
    "chat_hosted_vllm": {"model": f"hosted_vllm/{MODEL}"},
    "chat_anthropic": {"model": f"anthropic/{MODEL}", "api_base": URL},
    "chat_anthropic_stream": {"model": f"anthropic/{MODEL}", "api_base": URL, "stream": True},
    "chat_ollama": {"model": f"ollama/{MODEL}", "api_base": URL},
}


def add_calls() -> None:
    for name, changes in CALLS.items():
        arguments = {"model": f"openai/{MODEL}", "messages": HI, "max_tokens": 4, **SERVER}
        if not changes.get("stream"):
            arguments["extra_body"] = {"stream": False}
        add_call(name, arguments | changes)


def add_call(name: str, arguments: dict[str, Any]) -> None:
    record.add(name, lambda: litellm.completion(**arguments))
    record.add(f"async_{name}", lambda: litellm.acompletion(**arguments))


add_calls()


@scenario
def text_completion() -> Any:
    return litellm.text_completion(model=f"openai/{MODEL}", prompt="Hi", max_tokens=4, **SERVER)


@scenario
def text_completion_of_the_completions_route() -> Any:
    model = f"text-completion-openai/{MODEL}"
    return litellm.text_completion(model=model, prompt="Hi", max_tokens=4, **SERVER)


@scenario
def text_completion_of_the_completions_route_stream() -> Any:
    model = f"text-completion-openai/{MODEL}"
    return litellm.text_completion(model=model, prompt="Hi", max_tokens=4, stream=True, **SERVER)


@scenario
def embedding() -> Any:
    return litellm.embedding(model=f"openai/{MODEL}", input=["Hi"], **SERVER)


@scenario
def responses() -> Any:
    return litellm.responses(model=f"openai/{MODEL}", input="Hi", **SERVER)


@scenario
def image() -> Any:
    return litellm.image_generation(model=f"openai/{MODEL}", prompt="a cat", **SERVER)


@scenario
async def twenty_streams_at_once() -> Any:
    async def read(number: int) -> str:
        stream = await litellm.acompletion(
            model=f"openai/{MODEL}",
            messages=[{"role": "user", "content": f"<{number}>"}],
            stream=True,
            max_tokens=25,
            **SERVER,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return await asyncio.gather(*map(read, range(20)))


record.main()
