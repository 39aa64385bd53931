"""The recorder as a program of the keeper's.

The keeper tells it on standard input where the server is, and ends it by closing that.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from typing import Any

from .connections import ClientSide
from .recorder import Recorder


def _follow(loop: asyncio.AbstractEventLoop, recorder: Recorder) -> None:
    """Read what the keeper says; its end is ours, whatever we are doing."""
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(_use, recorder, json.loads(line)["upstream"])
    os._exit(0)


def _use(recorder: Recorder, upstream: str) -> None:
    recorder.use(upstream)
    _say({"upstream": upstream})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


async def _serve(recorder: Recorder, host: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ClientSide(recorder), host, 0, backlog=512)
    port = server.sockets[0].getsockname()[1]
    _say({"port": port})
    threading.Thread(target=_follow, args=(loop, recorder), daemon=True).start()
    await server.serve_forever()


def main() -> None:
    """Run as a program: the spec is the first line on standard input; see `Recorder`."""
    spec = json.loads(sys.stdin.buffer.readline())
    # What is recorded stays; looking through it again and again would hold up streams.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    asyncio.run(_serve(Recorder(spec), spec["host"]))
