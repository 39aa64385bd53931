"""The recorder: a proxy in front of one server, which keeps what clients received.

Strategy: here is what it knows, what it changes in requests, and what test processes ask it over
HTTP; what it does with bytes is in `connections`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .exchanges import KEY_HEADERS, Session, Sessions
from .readers import RequestHead


class Recorder:
    """The state of the program."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.sessions = Sessions()
        self.token: str = spec["token"]
        self.own_keys: frozenset[str] = frozenset(spec["own_keys"])
        """Keys that mean nothing to the server; with `harness_key` nothing is recorded."""
        self.harness_key: str = spec["harness_key"]
        self.server_key: str | None = spec["server_key"]
        self.knows_keys: bool = spec["knows_keys"]
        """The server knows the keys of test processes itself."""
        self.upstream: SplitResult | None = None
        self.ssl: ssl.SSLContext | None = None

    def use(self, upstream: str) -> None:
        """The server is at this address from now on."""
        self.upstream = urlsplit(upstream)
        if self.upstream.scheme == "https" and self.ssl is None:
            self.ssl = ssl.create_default_context()
            self.ssl.set_alpn_protocols(["http/1.1"])

    def rewritten(self, head: RequestHead, key: str) -> bytes:
        """The head as the server gets it."""
        assert self.upstream is not None
        lines = []
        if self.upstream.path:
            method, target, version = head.lines[0].split(" ")
            lines.append(f"{method} {self.upstream.path.rstrip('/')}{target} {version}")
        else:
            lines.append(head.lines[0])
        is_ours = key in self.sessions.by_key or key in self.own_keys
        if self.knows_keys and is_ours:
            is_ours = False
            has_key = any(name in KEY_HEADERS for name, _ in head.headers)
            lines += [] if has_key else [f"Authorization: Bearer {key}"]
        has_key = False
        for line in head.lines[1:]:
            name, value = line.partition(":")[0].strip().lower(), line.partition(":")[2]
            if name in KEY_HEADERS and (is_ours or not value.strip()):
                if self.server_key is None:
                    continue
                has_key = True
                scheme = "Bearer " if name == "authorization" else ""
                line = f"{line.partition(':')[0]}: {scheme}{self.server_key}"
            elif name == "accept-encoding":
                line = f"{line.partition(':')[0]}: identity"
            elif name == "sec-websocket-extensions":
                continue
            elif name == "host" and self.ssl is not None:
                line = f"{line.partition(':')[0]}: {self.upstream.netloc.rpartition('@')[2]}"
            has_key = has_key or name in KEY_HEADERS
            lines.append(line)
        if not has_key and self.server_key is not None:
            lines.append(f"Authorization: Bearer {self.server_key}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def control(self, body: bytes) -> dict[str, Any]:
        """What a test process asks for."""
        message = json.loads(body)
        op, key = message["op"], message["session"]
        if op == "open":
            self.sessions.by_key[key] = session = Session()
            session.server = message.get("server", 0)
            return {"ok": True}
        if op == "close":
            self.sessions.by_key.pop(key, None)
            return {"ok": True}
        session = self.sessions.by_key[key]
        if op == "cassette":
            session.cassette = message["name"]
            return {"ok": True}
        if op == "waiting":
            return {"exchanges": session.waiting()}
        if op != "take":
            raise ValueError(f"there is no operation {op!r}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(message.get("seconds", 0)):
                while session.in_flight:
                    ended = asyncio.Event()
                    session.on_end(ended.set)
                    await ended.wait()
        return {"exchanges": session.take()}
