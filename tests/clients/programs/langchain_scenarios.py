"""LangChain's ChatOpenAI, OpenAIEmbeddings and OpenAI, from langchain-openai."""

from __future__ import annotations

import os
from typing import Any

os.environ["LANGSMITH_TRACING"] = "false"

import pydantic
import record
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from record import BROKEN, MODEL, URL, scenario

OPTIONS: dict[str, Any] = {"base_url": f"{URL}/v1", "api_key": "none", "max_retries": 0}
SHORT = {"max_tokens": 4}
"""For extra_body: `max_tokens=` is sent under a name that shimmy does not know."""


def of(**changes: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": MODEL, "extra_body": SHORT, **OPTIONS, **changes})


chat = of()


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class City(pydantic.BaseModel):
    """A city."""

    name: str


@scenario
def invoke() -> Any:
    return chat.invoke("Hi")


@scenario
async def ainvoke() -> Any:
    return await chat.ainvoke("Hi")


@scenario
def stream() -> Any:
    return [chunk.content for chunk in chat.stream("Hi")]


@scenario
async def astream() -> Any:
    return [chunk.content async for chunk in chat.astream("Hi")]


@scenario
def stream_added_up() -> Any:
    first, *rest = chat.stream("Hi")
    for chunk in rest:
        first += chunk
    return first


@scenario
def stream_usage() -> Any:
    return [chunk.usage_metadata for chunk in of(stream_usage=True).stream("Hi")]


@scenario
async def events() -> Any:
    return [event["event"] async for event in chat.astream_events("Hi")]


@scenario
def streaming_invoke() -> Any:
    """`streaming=True` makes invoke read a stream."""
    return of(streaming=True).invoke("Hi")


@scenario
def batch() -> Any:
    messages = of(extra_body=None).batch([f"<{n}>" for n in range(5)])
    return [message.content for message in messages]


@scenario
async def abatch() -> Any:
    messages = await of(extra_body=None).abatch([f"<{n}>" for n in range(20)])
    return [message.content for message in messages]


@scenario
def system_message() -> Any:
    messages = [SystemMessage("Be brief."), HumanMessage("Hi")]
    return of(extra_body=None).invoke(messages).content


@scenario
def max_tokens() -> Any:
    return of(extra_body=None, max_tokens=4).invoke("Hi").content


@scenario
def max_tokens_in_extra_body() -> Any:
    return of(extra_body=SHORT).invoke("Hi").content


@scenario
def bind_tools() -> Any:
    return chat.bind_tools([weather], tool_choice="any").invoke("Hi")


@scenario
def tool_conversation() -> Any:
    call = {"name": "weather", "args": {"city": "Paris"}, "id": "call_1", "type": "tool_call"}
    return chat.invoke(
        [
            HumanMessage("Hi"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("sunny", tool_call_id="call_1"),
        ]
    )


@scenario
def structured_output() -> Any:
    return chat.with_structured_output(City).invoke("Hi")


@scenario
def structured_output_function_calling() -> Any:
    return chat.with_structured_output(City, method="function_calling").invoke("Hi")


@scenario
def structured_output_json_mode() -> Any:
    return chat.with_structured_output(City, method="json_mode").invoke("Hi")


@scenario
def unknown_model() -> Any:
    return of(model="nope").invoke("Hi")


@scenario
def unknown_model_stream() -> Any:
    return list(of(model="nope").stream("Hi"))


@scenario
def load_failure() -> Any:
    return of(model=BROKEN).invoke("Hi")


@scenario
def no_messages() -> Any:
    return chat.invoke([])


@scenario
def max_tokens_0() -> Any:
    return of(extra_body={"max_tokens": 0}).invoke("Hi")


@scenario
def responses_api() -> Any:
    return of(use_responses_api=True).invoke("Hi")


@scenario
def completion_model() -> Any:
    return OpenAI(model=MODEL, max_tokens=4, **OPTIONS).invoke("Hi")


@scenario
def completion_model_stream() -> Any:
    return list(OpenAI(model=MODEL, max_tokens=4, **OPTIONS).stream("Hi"))


@scenario
def embeddings() -> Any:
    # Else it first fetches a tokenizer from the internet.
    model = OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False, **OPTIONS)
    return model.embed_query("Hi")


record.main()
