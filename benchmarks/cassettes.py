"""The recorder in front of the fake, and replays beside what was recorded.

The upstream is the fake, whose pace is known. Client, recorder and servers share the machine. What
others do on the same upstream comes last.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from fake_shimmy.script.timed_answer import read_recording
from pytest_shimmy.cassettes.recorder_control import RecorderControl
from pytest_shimmy.cassettes.recorder_process import RecorderProcess
from pytest_shimmy.fake_control.connection import Control

from . import load, recorders
from .bench import Bench, running
from .figures import Figure, Result, Target, interleave, paired_difference, paired_ratio
from .figures import percentile as percentile_of
from .programs import await_health, fake_command, free_port, hermetic, scripted

KEY = "benchmark"
"""What `load.chat_request` sends."""
TOKEN = "benchmark-control"
PAUSE = 0.02
"""Seconds a token, where there is a pace."""


def measure(bench: Bench) -> Iterator[Result]:
    yield from _exact(bench)
    yield from _pace(bench)
    yield from _cost(bench)
    yield from _speed(bench)
    yield from recorders.measure(
        bench, lambda tokens, pause: _server(bench, scripted(bench, tokens, pause)), _ask, PAUSE
    )


class Received(NamedTuple):
    raw: bytes
    """Everything but the date."""
    sizes: list[int]
    """How much had come when each read returned."""
    moments: list[float]
    """When that was, in ms."""

    def moment(self, size: int) -> float:
        """When so many bytes had come."""
        return self.moments[bisect.bisect_left(self.sizes, size)]


def _exact(bench: Bench) -> Iterator[Result]:
    count = bench.rounds(1000, 100)
    requests = [_request(f"Question number {number}") for number in range(count)]
    with _server(bench, hermetic(bench)) as upstream, _recording(bench, upstream) as recorder:
        recorded = [_ask(recorder.port, requests[at : at + 50]) for at in range(0, count, 50)]
        exchanges = recorder.taken()
    with _replaying(bench, exchanges, 0) as port:
        replayed = [_ask(port, requests[at : at + 50]) for at in range(0, count, 50)]
    equal = [one.raw == other.raw for some, others in zip(recorded, replayed, strict=True)
             for one, other in zip(some, others, strict=True)]  # fmt: skip
    share = 100 * sum(equal) / len(equal)
    target = Target(100, at_least=True)
    yield Figure(f"replay of {count} streams: equal to the byte, chunks too", "%", (share,),
                 target=target)  # fmt: skip


def _pace(bench: Bench) -> Iterator[Result]:
    count = 100
    requests = [_request(f"Question number {number}") for number in range(count)]
    tokens = bench.rounds(100, 30)
    with (
        _server(bench, scripted(bench, tokens, PAUSE)) as upstream,
        _recording(bench, upstream) as recorder,
    ):
        _ask(recorder.port, requests)
        exchanges = recorder.taken()
    with _replaying(bench, exchanges, 1) as port:
        replayed = _ask(port, requests)
    off = []
    for exchange, received in zip(exchanges, replayed, strict=True):
        answer = read_recording(exchange).answer
        ends = list(itertools.accumulate(len(answer.framed(chunk)) for chunk in answer.chunks))
        begin = received.sizes[-1] - ends[-1]
        came = [received.moment(begin + end) for end in ends]
        recorded = [chunk.moment for chunk in answer.chunks]
        off += [
            abs((b - a) - (d - c))
            for (a, b), (c, d) in zip(
                itertools.pairwise(recorded), itertools.pairwise(came), strict=True
            )
        ]
    yield Figure(f"replay of {count} streams at speed 1: gap off by (p99)", "ms",
                 (percentile_of(off, 0.99),), target=Target(5))  # fmt: skip


def _cost(bench: Bench) -> Iterator[Result]:
    request = _request("Hello")
    with _server(bench, hermetic(bench)) as upstream, _recording(bench, upstream) as recorder:
        values = interleave(
            bench.rounds(300, 50),
            {
                "recorded": lambda: load.first_event(recorder.port, request),
                "direct": lambda: load.first_event(upstream, request),
            },
        )
    added = paired_difference(values["recorded"], values["direct"])
    yield Figure("recorder: added to the first token", "ms", added, target=Target(1))
    requests = [_request(f"Question number {number}") for number in range(32)]
    with (
        _server(bench, scripted(bench, 50, PAUSE)) as upstream,
        _recording(bench, upstream) as recorder,
    ):

        def took(port: int) -> float:
            began = time.perf_counter()
            _ask(port, requests)
            return time.perf_counter() - began

        values = interleave(
            bench.rounds(8, 3),
            {"recorded": lambda: took(recorder.port), "direct": lambda: took(upstream)},
        )
    ratio = paired_ratio(values["recorded"], values["direct"])
    yield Figure("recorder: 32 streams of 50 tokens at 20 ms", "s", values["recorded"], ratio,
                 "without it", Target(1.05, of_ratio=True))  # fmt: skip


def _speed(bench: Bench) -> Iterator[Result]:
    tokens = 1000
    requests = [_request(f"Question number {number}") for number in range(32)]
    with _server(bench, scripted(bench, tokens)) as fake:
        with _recording(bench, fake) as recorder:
            _ask(recorder.port, requests)
            exchanges = recorder.taken()
        with _replaying(bench, exchanges, 0) as port:

            def rate(port: int) -> float:
                began = time.perf_counter()
                _ask(port, requests)
                return 32 * tokens / (time.perf_counter() - began)

            def replayed() -> float:
                _load(port, exchanges)
                return rate(port)

            values = interleave(
                bench.rounds(8, 3), {"replayed": replayed, "scripted": lambda: rate(fake)}
            )
    ratio = paired_ratio(values["replayed"], values["scripted"])
    yield Figure("replay at speed 0: 32 streams", "token/s", values["replayed"], ratio,
                 "a scripted reply", Target(1, of_ratio=True, at_least=True))  # fmt: skip


def _request(text: str) -> bytes:
    return load.chat_request("placeholder", text, stream=True, max_tokens=4000)


class _Recorder(NamedTuple):
    port: int
    control: RecorderControl

    def taken(self) -> list[dict]:  # type: ignore[type-arg]
        return [each.recording.document() for each in self.control.take(KEY, 10)]


@contextlib.contextmanager
def _server(bench: Bench, env: dict[str, str]) -> Iterator[int]:
    port = free_port()
    env = {**env, "FAKE_SHIMMY_CONTROL": TOKEN}
    with running(fake_command(bench, port), env, bench.home) as process:
        await_health(process, port)
        yield port


@contextlib.contextmanager
def _recording(bench: Bench, upstream: int) -> Iterator[_Recorder]:
    process = RecorderProcess("127.0.0.1", bench.directory / "recorder.log", knows_keys=True)
    try:
        process.use(f"http://127.0.0.1:{upstream}")
        control = RecorderControl(*process.address)
        control.open(KEY)
        yield _Recorder(urlsplit(process.address.url).port or 0, control)
        control.close()
    finally:
        process.stop()


@contextlib.contextmanager
def _replaying(bench: Bench, exchanges: Sequence[object], speed: float) -> Iterator[int]:
    with _server(bench, hermetic(bench)) as port:
        control = Control(f"http://127.0.0.1:{port}", TOKEN)
        control.ask("open", session=KEY)
        control.ask("replay", session=KEY, speed=speed)
        control.close()
        _load(port, exchanges)
        yield port


def _load(port: int, exchanges: Sequence[object]) -> None:
    control = Control(f"http://127.0.0.1:{port}", TOKEN)
    control.ask("cassette", session=KEY, name="all", exchanges=exchanges)
    control.close()


def _ask(port: int, requests: Sequence[bytes]) -> list[Received]:
    """All requests at once, and what came back."""
    raw = [bytearray() for _ in requests]
    moments: list[list[float]] = [[] for _ in requests]
    sizes: list[list[int]] = [[] for _ in requests]
    with selectors.DefaultSelector() as selector, load.connections(port, len(requests)) as peers:
        for number, (peer, request) in enumerate(zip(peers, requests, strict=True)):
            peer.sendall(request)
            selector.register(peer, selectors.EVENT_READ, number)
        left = len(requests)
        while left:
            ready = selector.select(load.TIMEOUT)
            if not ready:
                raise RuntimeError(f"{left} of {len(requests)} streams did not end")
            for key, _ in ready:
                number, peer = key.data, key.fileobj  # type: ignore[assignment]
                assert isinstance(peer, socket.socket)
                data = peer.recv(load.RECV)
                if not data or not (raw[number] or data.startswith(b"HTTP/1.1 200 ")):
                    raise RuntimeError(f"not a stream: {bytes(raw[number] + data)[:500]!r}")
                moments[number].append(1000 * time.perf_counter())
                raw[number] += data
                sizes[number].append(len(raw[number]))
                if raw[number].endswith(load.LAST_CHUNK):
                    selector.unregister(peer)
                    left -= 1
    date = re.compile(rb"\r\ndate: [^\r]*")
    return [
        Received(date.sub(b"", bytes(each)), size, at)
        for each, size, at in zip(raw, sizes, moments, strict=True)
    ]
