"""The openai SDK, its two clients."""

from __future__ import annotations

import asyncio
import time
from operator import attrgetter
from typing import Any

import openai
import pydantic
import record
from record import BROKEN, HI, MODEL, URL, scenario

OPTIONS: dict[str, Any] = {"base_url": f"{URL}/v1", "api_key": "none", "max_retries": 0}
client = openai.OpenAI(**OPTIONS)
async_client = openai.AsyncOpenAI(**OPTIONS)


def add_calls() -> None:
    for name, (method, arguments) in record.shared_calls().items():
        add_call(name, method, arguments)


def add_call(name: str, method: str, arguments: dict[str, Any]) -> None:
    def call() -> Any:
        result = attrgetter(method)(client)(**arguments)
        return list(result) if method.endswith(".list") else result

    async def call_async() -> Any:
        result = attrgetter(method)(async_client)(**arguments)
        return [item async for item in result] if method.endswith(".list") else await result

    record.add(name, call)
    record.add(f"async_{name}", call_async)


add_calls()


@scenario
def model_retrieve() -> Any:
    return client.models.retrieve(MODEL)


@scenario
def transcription() -> Any:
    return client.audio.transcriptions.create(model=MODEL, file=("a.wav", b"RIFF"))


@scenario
def raw_response() -> Any:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HI, stream=False, max_tokens=4
    )
    return seen_raw(raw)


@scenario
def raw_response_without_stream() -> Any:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HI, max_tokens=4)
    return seen_raw(raw)


@scenario
def raw_response_unknown_model() -> Any:
    try:
        client.chat.completions.with_raw_response.create(model="nope", messages=HI, stream=False)
    except openai.APIStatusError as error:
        headers = record.headers(error.response.headers.multi_items())
        return {"headers": headers, "request_id": error.request_id, "text": error.response.text}


def seen_raw(raw: Any) -> Any:
    parsed = raw.parse()
    return {
        "status": raw.status_code,
        "headers": record.headers(raw.headers.multi_items()),
        "request_id": raw.request_id,
        "parsed": {"type": type(parsed).__name__, "value": record.told(parsed)},
    }


@scenario
def streaming_response() -> Any:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=HI, stream=True, max_tokens=3
    ) as response:
        return {
            "headers": record.headers(response.headers.multi_items()),
            "lines": list(response.iter_lines()),
        }


@scenario
def stream_helper() -> Any:
    with client.chat.completions.stream(model=MODEL, messages=HI, max_tokens=3) as stream:
        types = [event.type for event in stream]
        return {"events": types, "final": record.told(stream.get_final_completion())}


@scenario
async def async_stream_helper() -> Any:
    async with async_client.chat.completions.stream(
        model=MODEL, messages=HI, max_tokens=3
    ) as stream:
        types = [event.type async for event in stream]
        return {"events": types, "final": record.told(await stream.get_final_completion())}


@scenario
def stream_helper_responses() -> Any:
    with client.responses.stream(model=MODEL, input="Hi") as stream:
        return list(stream)


class City(pydantic.BaseModel):
    name: str


@scenario
def parse_structured_output() -> Any:
    return client.chat.completions.parse(model=MODEL, messages=HI, response_format=City)


@scenario
def stream_helper_structured_output() -> Any:
    with client.chat.completions.stream(model=MODEL, messages=HI, response_format=City) as stream:
        return [event.type for event in stream]


@scenario
def runs_out_of_retries() -> Any:
    return requests_of_a_failing_call(BROKEN)


@scenario
def no_retry_of_a_missing_model() -> Any:
    return requests_of_a_failing_call("nope")


def requests_of_a_failing_call(model: str) -> Any:
    """The exception, and what each request said about the ones before it."""
    counts: list[str] = []
    hook = [lambda request: counts.append(request.headers["x-stainless-retry-count"])]
    http = openai.DefaultHttpxClient(event_hooks={"request": hook})
    with openai.OpenAI(**OPTIONS | {"max_retries": 1}, http_client=http) as retrying:
        try:
            retrying.chat.completions.create(model=model, messages=HI, stream=False)
        except openai.APIStatusError as error:
            return {"raises": type(error).__name__, "retry_counts": counts}


@scenario
def timeout_between_tokens() -> Any:
    """Tokens come 10 ms apart; a client that waits less for each gives up in mid-stream."""
    timeout = openai.Timeout(30, read=0.004)
    for _ in range(50):
        first = None
        try:
            with client.chat.completions.create(
                model=MODEL, messages=HI, stream=True, timeout=timeout
            ) as stream:
                for chunk in stream:
                    first = first or record.told(chunk.choices[0].delta)
        except openai.APITimeoutError as error:
            if first:
                return {"first": first, **record.failure(error)}
            # The machine is busy: not even the head came in time.
    raise AssertionError("no stream timed out after its beginning")


@scenario
def deadline_for_a_whole_stream() -> Any:
    """`timeout` is for each read, so no stream is too long for it."""
    began = time.monotonic()
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "a " * 30}], stream=True, timeout=0.5
    )
    count = sum(1 for _ in stream)
    return {"chunks": count, "longer_than_the_timeout": time.monotonic() - began > 0.5}


@scenario
def leaving_a_stream() -> Any:
    """The connection is closed in mid-stream, and the server is none the worse for it."""
    with client.chat.completions.create(model=MODEL, messages=HI, stream=True) as stream:
        first = [record.told(next(stream)) for _ in range(3)]
    after = client.chat.completions.create(model=MODEL, messages=HI, stream=False, max_tokens=2)
    return {"first": first, "closed": stream.response.is_closed, "after": record.told(after)}


@scenario
async def cancelling_a_stream() -> Any:
    seen = []

    async def read() -> None:
        async for chunk in await async_client.chat.completions.create(
            model=MODEL, messages=HI, stream=True
        ):
            seen.append(record.told(chunk.choices[0].delta))
            if len(seen) == 3:
                reader.cancel()

    reader = asyncio.ensure_future(read())
    (ended,) = await asyncio.gather(reader, return_exceptions=True)
    after = await async_client.models.list()
    # Chunks that came in the same read as the third one are handed out without a pause, and so
    # before the cancellation has its turn: how many there are is the network's business.
    del seen[3:]
    return {"seen": seen, "ended": type(ended).__name__, "after": [m.id for m in after.data]}


@scenario
async def twenty_streams_at_once() -> Any:
    async def read(number: int) -> str:
        stream = await async_client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"<{number}>"}],
            stream=True,
            max_tokens=25,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return await asyncio.gather(*map(read, range(20)))


@scenario
def nobody_listens() -> Any:
    with openai.OpenAI(**OPTIONS | {"base_url": "http://127.0.0.1:9/v1"}) as lost:
        return lost.models.list()


record.main()
