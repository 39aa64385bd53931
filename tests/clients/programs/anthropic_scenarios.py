"""The anthropic SDK, on the one route of Anthropic's API that shimmy has."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Any

import anthropic
import record
from record import BROKEN, HI, MODEL, URL, scenario

OPTIONS: dict[str, Any] = {"base_url": URL, "api_key": "none", "max_retries": 0}
client = anthropic.Anthropic(**OPTIONS)
async_client = anthropic.AsyncAnthropic(**OPTIONS)

IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
CALLS: dict[str, dict[str, Any]] = {
    "message": {},
    "message_stream": {"stream": True},
    "message_system": {"system": "Be brief.", "max_tokens": 64},
    "message_system_blocks": {"system": [{"type": "text", "text": "Be brief."}]},
    "message_content_blocks": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, IMAGE]}],
        "max_tokens": 64,
    },
    "message_conversation": {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "max_tokens": 64,
    },
    "message_tools": {"tools": [TOOL], "tool_choice": {"type": "any"}},
    "message_tool_result": {
        "messages": [
            *HI,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}],
            },
        ],
        "max_tokens": 64,
    },
    "message_unknown_model": {"model": "nope"},
    "message_load_failure": {"model": BROKEN},
    "message_no_messages": {"messages": []},
    "message_max_tokens_0": {"max_tokens": 0},
    "message_max_tokens_negative": {"max_tokens": -1},
    "message_thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "message_stop_sequences": {"stop_sequences": ["SafeTensors"]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "messages.count_tokens": {"model": MODEL, "messages": HI},
    "messages.batches.create": {"requests": []},
    "beta.messages.create": {"model": MODEL, "messages": HI, "max_tokens": 4},
}


def add_calls() -> None:
    for name, changes in CALLS.items():
        arguments = {"model": MODEL, "messages": HI, "max_tokens": 4} | changes
        add_call(name, "messages.create", arguments)
    for method, arguments in OTHERS.items():
        add_call(method, method, arguments)


def add_call(name: str, method: str, arguments: dict[str, Any]) -> None:
    record.add(name, lambda: attrgetter(method)(client)(**arguments))
    record.add(f"async_{name}", lambda: attrgetter(method)(async_client)(**arguments))


add_calls()


@scenario
def models() -> Any:
    return list(client.models.list())


@scenario
def model_retrieve() -> Any:
    return client.models.retrieve(MODEL)


@scenario
def stream_helper_text() -> Any:
    with client.messages.stream(model=MODEL, messages=HI, max_tokens=4) as stream:
        return list(stream.text_stream)


@scenario
def stream_helper_final_text() -> Any:
    with client.messages.stream(model=MODEL, messages=HI, max_tokens=4) as stream:
        return stream.get_final_text()


@scenario
def stream_helper_final_message() -> Any:
    with client.messages.stream(model=MODEL, messages=HI, max_tokens=4) as stream:
        return stream.get_final_message()


@scenario
async def async_stream_helper_text() -> Any:
    async with async_client.messages.stream(model=MODEL, messages=HI, max_tokens=4) as stream:
        return [text async for text in stream.text_stream]


@scenario
def stream_helper_unknown_model() -> Any:
    with client.messages.stream(model="nope", messages=HI, max_tokens=4) as stream:
        return list(stream.text_stream)


@scenario
def raw_response() -> Any:
    raw = client.messages.with_raw_response.create(model=MODEL, messages=HI, max_tokens=4)
    return {
        "status": raw.status_code,
        "headers": record.headers(raw.headers.multi_items()),
        "request_id": raw.request_id,
        "parsed": record.told(raw.parse()),
    }


@scenario
def runs_out_of_retries() -> Any:
    counts: list[str] = []
    hook = [lambda request: counts.append(request.headers["x-stainless-retry-count"])]
    http = anthropic.DefaultHttpxClient(event_hooks={"request": hook})
    with anthropic.Anthropic(**OPTIONS | {"max_retries": 1}, http_client=http) as retrying:
        try:
            retrying.messages.create(model=BROKEN, messages=HI, max_tokens=4)
        except anthropic.APIStatusError as error:
            return {"raises": type(error).__name__, "retry_counts": counts}


@scenario
async def twenty_messages_at_once() -> Any:
    async def ask(number: int) -> str:
        message = await async_client.messages.create(
            model=MODEL, messages=[{"role": "user", "content": f"<{number}>"}], max_tokens=64
        )
        return message.content[0].text

    return await asyncio.gather(*map(ask, range(20)))


record.main()
