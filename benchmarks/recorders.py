"""Others that record and replay, beside the figures of `cassettes`: aimock, a fake in Node, and
vcrpy, which patches HTTP libraries of Python. On the same upstream; what cannot be had is said.

Clients of aimock are those of our own figures. vcrpy works inside of the client's process, so what
it does takes turns with its clients, which are threads; its figures are beside those of the same
clients without it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import itertools
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pytest_shimmy.cassettes.readers import ChunkedReader

from . import load
from .bench import Bench, is_installed, not_installed, running
from .figures import Figure, Missing, Result, interleave, paired_difference, paired_ratio
from .programs import NO_AIMOCK, await_listening, free_port

STREAMS = 32
PACED = 50
"""Tokens of an answer that has a pace."""
LONG = 1000
"""Tokens of one that has none."""

Ask = Callable[[int, Sequence[bytes]], Sequence[Any]]
"""Sends requests to a port, all at once; the answers have ``raw``."""
Serve = Callable[[int, float], contextlib.AbstractContextManager[int]]
"""A fake with so many tokens, so many seconds apart."""

_numbers = itertools.count()


def measure(bench: Bench, serve: Serve, ask: Ask, pause: float) -> Iterator[Result]:
    """The figures of both."""
    if llmock := shutil.which("llmock"):
        package = json.loads(Path(llmock).resolve().parents[1].joinpath("package.json").read_text())
        yield from _aimock(f"aimock {package['version']}", bench, serve, ask, pause)
    else:
        yield Missing("aimock", NO_AIMOCK)
    if is_installed("vcr") and _http():
        version = importlib.metadata.version("vcrpy")
        yield from _vcrpy(f"vcrpy {version}", bench, serve, ask, pause)
    else:
        yield Missing("vcrpy", not_installed("vcrpy, or httpx,"))


def _aimock(name: str, bench: Bench, serve: Serve, ask: Ask, pause: float) -> Iterator[Result]:
    fixtures = bench.subdirectory("aimock")
    requests = _requests(100)
    with serve(PACED, pause) as upstream:
        (direct,) = ask(upstream, requests[:1])
        with _llmock(fixtures, upstream) as port:
            ask(port, requests)
            yield from _costs(
                bench,
                name,
                lambda: _first(port),
                lambda: _first(upstream),
                lambda: _took(lambda: ask(port, _requests(STREAMS))),
                lambda: _took(lambda: ask(upstream, _requests(STREAMS))),
            )
    with _llmock(fixtures) as port:
        answers = [_pieces_of(answer.raw) for answer in ask(port, requests)]
    wanted = _pieces_of(direct.raw)
    yield _equality(name, wanted, answers)
    if (size := len(answers[0])) != len(wanted):
        reason = f"it replays {size} pieces of text where {len(wanted)} were recorded"
        yield Missing(f"{name} replays at speed 1: gap off", reason)
    requests = _requests(STREAMS)
    with serve(LONG, 0) as upstream:
        with _llmock(fixtures, upstream) as port:
            ask(port, requests)
        with _llmock(fixtures) as port:
            yield _rate(bench, name, lambda: ask(port, requests), lambda: ask(upstream, requests))


def _vcrpy(name: str, bench: Bench, serve: Serve, ask: Ask, pause: float) -> Iterator[Result]:
    vcr = importlib.import_module("vcr").VCR(
        cassette_library_dir=str(bench.subdirectory("vcrpy")), match_on=["method", "uri", "body"]
    )

    def recorded(ask: Callable[[], Any]) -> Any:
        with vcr.use_cassette(f"{next(_numbers)}.yaml", record_mode="all"):
            return ask()

    requests = _requests(100)
    with serve(PACED, pause) as upstream:
        (direct,) = ask(upstream, requests[:1])
        with vcr.use_cassette("paced.yaml", record_mode="all"):
            _read(upstream, requests)
        with vcr.use_cassette("paced.yaml", record_mode="none"):
            answers = [_texts(pieces) for pieces in _read(upstream, requests)]
        first = lambda: _read(upstream, _requests(1), first=True)  # noqa: E731
        all_of_them = lambda: _read(upstream, _requests(STREAMS))  # noqa: E731
        yield from _costs(
            bench,
            name,
            lambda: 1000 * _took(lambda: recorded(first)),
            lambda: 1000 * _took(first),
            lambda: _took(lambda: recorded(all_of_them)),
            lambda: _took(all_of_them),
        )
    yield _equality(name, _pieces_of(direct.raw), answers)
    reason = "it keeps no moments, and neither chunks: an answer is one piece"
    yield Missing(f"{name} replays at speed 1: gap off", reason)
    requests = _requests(STREAMS)
    with serve(LONG, 0) as upstream:
        with vcr.use_cassette("long.yaml", record_mode="all"):
            _read(upstream, requests)

        def replay() -> Any:
            with vcr.use_cassette("long.yaml", record_mode="none", allow_playback_repeats=True):
                return _read(upstream, requests)

        yield _rate(bench, name, replay, lambda: _read(upstream, requests))


def _costs(
    bench: Bench,
    name: str,
    first: Callable[[], float],
    first_direct: Callable[[], float],
    streams: Callable[[], float],
    streams_direct: Callable[[], float],
) -> Iterator[Result]:
    values = interleave(bench.rounds(30, 5), {"recorded": first, "direct": first_direct})
    added = paired_difference(values["recorded"], values["direct"])
    note = f"in a stream of {PACED} tokens at 20 ms"
    yield Figure(f"{name} records: added to the first token", "ms", added, note=note)
    values = interleave(bench.rounds(8, 2), {"recorded": streams, "direct": streams_direct})
    ratio = paired_ratio(values["recorded"], values["direct"])
    what = f"{name} records: {STREAMS} streams of {PACED} tokens at 20 ms"
    yield Figure(what, "s", values["recorded"], ratio, "without it")


def _equality(name: str, wanted: list[str], answers: Sequence[list[str]]) -> Figure:
    share = 100 * sum(answer == wanted for answer in answers) / len(answers)
    sizes = statistics.median(map(len, answers))
    note = f"{len(wanted)} pieces of text were recorded, {sizes:g} come" if share < 100 else ""
    what = f"{name} replays {len(answers)} streams: pieces of text equal"
    return Figure(what, "%", (share,), note=note)


def _rate(
    bench: Bench, name: str, replay: Callable[[], object], scripted: Callable[[], object]
) -> Figure:
    tokens = STREAMS * LONG
    values = interleave(
        bench.rounds(8, 2),
        {
            "replayed": lambda: tokens / _took(replay),
            "scripted": lambda: tokens / _took(scripted),
        },
    )
    ratio = paired_ratio(values["replayed"], values["scripted"])
    what = f"{name} replays at once: {STREAMS} streams"
    return Figure(
        what, "token/s", values["replayed"], ratio, "the same clients with a scripted reply"
    )


def _requests(count: int) -> list[bytes]:
    """Requests that nobody has sent before."""
    return [
        # As long as each other: aimock takes for equal what contains a text.
        load.chat_request("placeholder", f"No. {next(_numbers):09}", stream=True, max_tokens=4000)
        for _ in range(count)
    ]


def _took(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _first(port: int) -> float:
    """Milliseconds until the first event."""
    (request,) = _requests(1)
    return load.first_event(port, request)


def _pieces_of(raw: bytes) -> list[str]:
    """The texts of the chunks of an answer."""
    _, _, body = raw.partition(b"\r\n\r\n")
    return _texts([chunk.data for chunk in ChunkedReader().feed(body, 0)])


def _texts(pieces: Sequence[bytes]) -> list[str]:
    """What the events in each piece say, where they say something."""
    found = []
    for piece in pieces:
        events = (line[6:] for line in piece.splitlines() if line.startswith(load.EVENT))
        choices = (json.loads(event)["choices"] for event in events)
        found.append("".join(each[0]["delta"].get("content") or "" for each in choices if each))
    return [text for text in found if text]


@contextlib.contextmanager
def _llmock(fixtures: Path, upstream: int | None = None) -> Iterator[int]:
    """aimock: records what it does not know with an upstream, else replays as fast as it can."""
    port = free_port()
    command = ["llmock", "--fixtures", str(fixtures), "--port", str(port), "--log-level", "silent"]
    if upstream is None:
        command += ["--replay-speed", "1000000"]
    else:
        command += ["--record", "--provider-openai", f"http://127.0.0.1:{upstream}"]
    with running(command) as process:
        await_listening(process, port)
        yield port


def _http() -> Any:
    """The HTTP library of the openai client, or its successor; vcrpy patches both."""
    name = next((name for name in ("httpx2", "httpx") if is_installed(name)), None)
    return name and importlib.import_module(name)


def _read(port: int, requests: Sequence[bytes], *, first: bool = False) -> list[list[bytes]]:
    """The pieces in which a client of vcrpy's gets the answers; `first`: only the first."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    headers = {"content-type": "application/json"}

    def read(client: Any, request: bytes) -> list[bytes]:
        body = request.partition(b"\r\n\r\n")[2]
        with client.stream("POST", url, content=body, headers=headers) as answer:
            pieces = answer.iter_raw()
            return [next(pieces)] if first else list(pieces)

    with (
        _http().Client(timeout=load.TIMEOUT, limits=_http().Limits()) as client,
        ThreadPoolExecutor(len(requests)) as pool,
    ):
        return list(pool.map(lambda request: read(client, request), requests))
