"""The websockets package on /ws/generate, its asyncio and its threading client."""

from __future__ import annotations

import json
import time
from typing import Any

import record
import websockets
from record import BROKEN, HI, MODEL, URL, scenario
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_sync

ADDRESS = URL.replace("http://", "ws://") + "/ws/generate"
ASK = {"model": MODEL, "prompt": "Hi", "max_tokens": 4}
FIRST_FRAMES: dict[str, str | bytes] = {
    "generate": json.dumps(ASK),
    "generate_from_bytes": json.dumps(ASK).encode(),
    "generate_from_messages": json.dumps(
        {"model": MODEL, "messages": HI, "system": "Be brief.", "max_tokens": 64}
    ),
    "max_tokens_0": json.dumps(ASK | {"max_tokens": 0}),
    "stream_false": json.dumps(ASK | {"stream": False}),
    "unknown_model": json.dumps(ASK | {"model": "nope"}),
    "load_failure": json.dumps(ASK | {"model": BROKEN}),
    "not_json": "Hi",
    "no_model": json.dumps({"prompt": "Hi"}),
    "wrong_type": json.dumps(ASK | {"max_tokens": -1}),
    "empty_text": "",
}


def add_frames() -> None:
    for name, frame in FIRST_FRAMES.items():
        add_frame(name, frame)


def add_frame(name: str, frame: str | bytes) -> None:
    async def ask() -> Any:
        async with connect(ADDRESS, proxy=None) as socket:
            await socket.send(frame)
            return await read(socket)

    def ask_sync() -> Any:
        with connect_sync(ADDRESS, proxy=None) as socket:
            socket.send(frame)
            return read_sync(socket)

    record.add(name, ask)
    record.add(f"sync_{name}", ask_sync)


async def read(socket: Any) -> dict[str, Any]:
    """Every frame until the end, and how it ended."""
    frames: list[Any] = []
    try:
        while True:
            frames.append(record.told(await socket.recv()))
    except websockets.ConnectionClosed as error:
        return {"frames": frames, **ending(error), "close_code": socket.close_code}


def read_sync(socket: Any) -> dict[str, Any]:
    frames: list[Any] = []
    try:
        while True:
            frames.append(record.told(socket.recv()))
    except websockets.ConnectionClosed as error:
        return {"frames": frames, **ending(error), "close_code": socket.close_code}


def ending(error: websockets.ConnectionClosed) -> dict[str, Any]:
    return {
        **record.failure(error),
        "close_frames": [error.rcvd and str(error.rcvd), error.sent and str(error.sent)],
    }


add_frames()


@scenario
async def reading_with_a_for_loop() -> Any:
    async with connect(ADDRESS, proxy=None) as socket:
        await socket.send(json.dumps(ASK))
        frames = []
        try:
            async for frame in socket:
                frames.append(frame)
        except websockets.ConnectionClosed as error:
            return {"frames": frames, **ending(error)}
        return {"frames": frames}


@scenario
async def stopping_at_done() -> Any:
    """What a caller should do: leave at the frame that says so."""
    async with connect(ADDRESS, proxy=None) as socket:
        await socket.send(json.dumps(ASK))
        frames = []
        async for frame in socket:
            if frame == '{"done":true}':
                break
            frames.append(frame)
    return {"frames": frames, "close_code": socket.close_code}


@scenario
async def ping_first() -> Any:
    """The first frame is the request, whatever it is."""
    async with connect(ADDRESS, proxy=None) as socket:
        pong = await socket.ping()
        ended = await read(socket)
        if pong.done() and not pong.cancelled():
            ended["pong"] = type(pong.exception()).__name__
        return ended


@scenario
async def close_first() -> Any:
    async with connect(ADDRESS, proxy=None) as socket:
        await socket.close()
        return {"close_code": socket.close_code, "close_reason": socket.close_reason}


@scenario
async def handshake() -> Any:
    async with connect(ADDRESS, proxy=None) as socket:
        response = socket.response
        headers = record.headers(response.headers.raw_items())
        headers.pop("sec-websocket-accept")
        return {"status": response.status_code, "headers": headers, "agreed": socket.subprotocol}


@scenario
async def subprotocol_and_compression() -> Any:
    async with connect(ADDRESS, proxy=None, subprotocols=["graphql-ws"]) as socket:
        return {"agreed": socket.subprotocol, "extensions": len(socket.protocol.extensions)}


@scenario
async def no_such_path() -> Any:
    async with connect(ADDRESS + "s", proxy=None):
        pass


@scenario
async def not_a_websocket_path() -> Any:
    async with connect(ADDRESS.replace("/ws/generate", "/health"), proxy=None):
        pass


@scenario
async def leaving_in_the_middle() -> Any:
    """Nobody answers the close frame, and nobody reads on to the end of the connection."""
    async with connect(ADDRESS, proxy=None, close_timeout=1) as socket:
        await socket.send(json.dumps(ASK | {"max_tokens": 30}))
        first = await socket.recv()
        began = time.monotonic()
    waited = time.monotonic() - began >= 0.9
    async with connect(ADDRESS, proxy=None) as socket:
        await socket.send(json.dumps(ASK))
        after = [await socket.recv() for _ in range(5)]
    return {"first": first, "waits_for_the_close_timeout": waited, "after": after}


record.main()
