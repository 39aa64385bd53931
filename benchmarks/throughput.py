"""The fake under load, beside a bare asyncio loop that answers the same requests.

Client and server share the machine. A client that is busy all the time (see the notes) may be
what limits, so the figures are what both reach together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytest_shimmy.fake_control.connection import Control

from . import load
from .bench import Bench, running
from .figures import Figure, Missing, Result, Target, interleave, paired_ratio, percentile
from .programs import (
    BARE,
    HERE,
    NO_AIMOCK,
    NO_VIDAIMOCK,
    await_health,
    await_listening,
    cpu_seconds,
    fake_command,
    free_port,
    hermetic,
    scripted,
    serving,
)

TOKENS = 1000
STREAMS = 32
PAUSE = 0.02
"""Seconds a token, where the pace is measured."""

SMALL = "What is the capital of France? Answer in one word."


def measure(bench: Bench) -> Iterator[Result]:
    yield from _requests(bench)
    yield from _streams(bench)
    yield from _pace(bench)
    yield from _end(bench)
    yield from _reset(bench)


def _reference(port: int, pause: float = 0) -> list[str]:
    return [*BARE, str(HERE / "reference_server.py"), str(port), str(pause)]


def _requests(bench: Bench) -> Iterator[Result]:
    request = load.chat_request(bench.gguf.stem, SMALL, stream=False)
    seconds = bench.rounds(10, 5) / 10
    with (
        serving(bench, _fake(bench)) as fake,
        serving(bench, _fake(bench), {**hermetic(bench), "FAKE_SHIMMY_CONTROL": "-"}) as watched,
        serving(bench, _reference) as reference,
        _others(bench) as others,
    ):
        for name, reason in others.missing.items():
            yield Missing(f"{name}: requests", reason)
        for count, least in ((1, 12_000), (32, 15_000)):
            ours = _Requests("fake", fake, request, count, seconds)
            noted = _Requests("fake with a journal", watched, request, count, seconds)
            theirs = _Requests("bare asyncio", reference, request, count, seconds)
            subjects = {"ours": ours.measure, "noted": noted.measure, "theirs": theirs.measure}
            peers = [_Requests(*peer, request, count, seconds) for peer in others.at.items()]
            subjects |= {peer.name: peer.measure for peer in peers}
            values = interleave(bench.rounds(7, 3), subjects)
            ratio = paired_ratio(values["ours"], values["theirs"])
            target = Target(least, at_least=True)
            yield Figure(ours.name, "/s", values["ours"], ratio, "asyncio", target, ours.note)
            ratio = paired_ratio(values["noted"], values["ours"])
            yield Figure(noted.name, "/s", values["noted"], ratio, "the fake alone")
            yield Figure(theirs.name, "/s", values["theirs"], note=theirs.note)
            if ours.cpu and theirs.cpu:
                ratio = paired_ratio(ours.cpu, theirs.cpu)
                yield Figure(f"{ours.name}, CPU each", "us", tuple(ours.cpu), ratio, "asyncio")
            for peer in peers:
                yield Figure(peer.name, "/s", values[peer.name], note=peer.note)
                if peer.cpu:
                    yield Figure(f"{peer.name}, CPU each", "us", tuple(peer.cpu))


class _Others(NamedTuple):
    at: dict[str, tuple[int, int]]
    """Port and process id by name."""
    missing: dict[str, str]
    """Why a name is not there."""


@contextlib.contextmanager
def _others(bench: Bench) -> Iterator[_Others]:
    """Fakes of others that answer the small request, where they can be had."""
    fixtures = bench.subdirectory("fixtures")
    answer = {"match": {"userMessage": SMALL}, "response": {"content": "Paris."}}
    (fixtures / "fixture.json").write_text(json.dumps({"fixtures": [answer]}))
    commands = {
        "aimock": ["llmock", "--fixtures", str(fixtures), "--log-level", "silent"],
        "VidaiMock": ["vidaimock", "--host", "127.0.0.1", "--mode", "benchmark"],
    }
    reasons = {"aimock": NO_AIMOCK, "VidaiMock": NO_VIDAIMOCK}
    found = _Others({}, {})
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            if shutil.which(command[0]) is None:
                found.missing[name] = reasons[name]
                continue
            port = free_port()
            process = stack.enter_context(running([*command, "--port", str(port)], cwd=bench.home))
            await_listening(process, port)
            found.at[name] = port, process.pid
        yield found


class _Requests:
    """Requests to one server over a number of connections."""

    def __init__(
        self, server: str, at: tuple[int, int], request: bytes, count: int, seconds: float
    ) -> None:
        self.name = f"{server}: requests, {count} connection{'s' * (count > 1)}"
        self._port, self._pid = at
        self._request, self._count, self._seconds = request, count, seconds
        self._client_share = 0.0
        self.cpu: list[float] = []
        """Microseconds of the server's CPU time per request: says more on a busy machine."""

    def measure(self) -> float:
        before = cpu_seconds(self._pid)
        found = load.request_rate(self._port, self._request, self._count, self._seconds)
        self._client_share = max(self._client_share, found.client_share)
        if before is not None and (after := cpu_seconds(self._pid)) is not None:
            self.cpu.append(1e6 * (after - before) / found.done)
        return found.per_second

    @property
    def note(self) -> str:
        return _busy(self._client_share)


def _busy(share: float) -> str:
    return f"client used {share:.0%} of a core"


def _streams(bench: Bench) -> Iterator[Result]:
    request = _long_request(bench, TOKENS)
    with (
        serving(bench, _fake(bench), scripted(bench, TOKENS)) as (fake, _),
        serving(bench, _reference) as (reference, _),
    ):
        with load.connect(fake) as peer:
            events = load.stream(peer, request).events
        if not TOKENS <= events <= TOKENS + 2:  # opening and closing events come on top
            yield Missing("streams", f"the fake sent {events} events instead of {TOKENS}")
            return
        yield from _single(bench, request, fake, reference)
        yield from _concurrent(bench, request, fake, reference)


def _single(bench: Bench, request: bytes, fake: int, reference: int) -> Iterator[Result]:
    firsts: dict[int, list[float]] = {fake: [], reference: []}

    def total(port: int) -> float:
        with load.connect(port) as peer:
            found = load.stream(peer, request)
        firsts[port].append(found.first_event)
        return found.total

    ours, theirs = f"fake: {TOKENS}-token stream", f"bare asyncio: {TOKENS}-token stream"
    values = interleave(
        bench.rounds(30, 10), {ours: lambda: total(fake), theirs: lambda: total(reference)}, 3
    )
    ratio = paired_ratio(values[ours], values[theirs])
    yield Figure(ours, "ms", values[ours], ratio, "asyncio", Target(15))
    yield Figure(theirs, "ms", values[theirs])
    first = tuple(firsts[fake][3:])
    yield Figure("fake: first event of that stream", "ms", first, target=Target(2))


def _concurrent(bench: Bench, request: bytes, fake: int, reference: int) -> Iterator[Result]:
    found: list[load.Streams] = []

    def ours_() -> float:
        found.append(load.streams(fake, request, STREAMS))
        return found[-1].events_per_second

    ours, theirs = f"fake: tokens, {STREAMS} streams", f"bare asyncio: tokens, {STREAMS} streams"
    values = interleave(
        bench.rounds(9, 4),
        {
            ours: ours_,
            theirs: lambda: load.streams(reference, request, STREAMS).events_per_second,
        },
    )
    ratio = paired_ratio(values[ours], values[theirs])
    target = Target(150_000, at_least=True)
    note = _busy(max(each.client_share for each in found))
    yield Figure(ours, "/s", values[ours], ratio, "asyncio", target, note)
    yield Figure(theirs, "/s", values[theirs])
    kept = found[1:]
    begun = tuple(each.last_first_event for each in kept)
    yield Figure(f"fake: all {STREAMS} have their first event", "ms", begun)
    fair = tuple(100 * each.fairness for each in kept)
    yield Figure("fake: the slowest stream, when the first is done", "%", fair)


def _pace(bench: Bench) -> Iterator[Result]:
    count = bench.rounds(1000, 200)
    what = f"{count} streams at {1000 * PAUSE:g} ms a token, gap off by (p99)"
    if (limit := _descriptors()) < count + 100:
        yield Missing(what, f"at most {limit} open files are allowed (ulimit -n)")
        return
    request = _long_request(bench, 100)
    busiest: dict[int, float] = {}

    def late(port: int, pid: int) -> float:
        before, began = cpu_seconds(pid), time.perf_counter()
        found = load.streams(port, request, count, keep_gaps=True)
        if before is not None and (after := cpu_seconds(pid)) is not None:
            share = (after - before) / (time.perf_counter() - began)
            busiest[pid] = max(busiest.get(pid, 0.0), share)
        return percentile((abs(gap - 1000 * PAUSE) for gap in found.gaps), 0.99)

    with (
        serving(bench, _fake(bench), scripted(bench, 100, PAUSE)) as fake,
        serving(bench, lambda port: _reference(port, PAUSE)) as reference,
    ):
        values = interleave(
            bench.rounds(4, 1), {"fake": lambda: late(*fake), "asyncio": lambda: late(*reference)}
        )
    ratio = paired_ratio(values["fake"], values["asyncio"])
    for name, (_, pid) in (("fake", fake), ("asyncio", reference)):
        note = f"server used {busiest[pid]:.0%} of a core" if pid in busiest else ""
        if name == "fake":
            yield Figure(f"fake: {what}", "ms", values[name], ratio, "asyncio", Target(10), note)
        else:
            yield Figure(f"bare asyncio: {what}", "ms", values[name], note=note)


def _fake(bench: Bench) -> Callable[[int], Sequence[str]]:
    return lambda port: fake_command(bench, port)


def _end(bench: Bench) -> Iterator[Result]:
    request = _long_request(bench, TOKENS)
    subjects = {
        f"fake: SIGTERM to gone, {STREAMS} streams open": lambda: _sigterm(bench, request, STREAMS),
        "fake: SIGTERM to gone, idle": lambda: _sigterm(bench, request, 0),
    }
    for name, found in interleave(bench.rounds(10, 3), subjects).items():
        yield Figure(name, "ms", found, target=Target(10))


def _sigterm(bench: Bench, request: bytes, streams: int) -> float:
    port, env = free_port(), scripted(bench, TOKENS, PAUSE)
    with (
        running(fake_command(bench, port), env, bench.home) as process,
        contextlib.ExitStack() as stack,
    ):
        await_health(process, port)
        for peer in stack.enter_context(load.connections(port, streams)):
            peer.sendall(request)
            peer.recv(load.RECV)  # it has begun
        began = time.perf_counter()
        process.terminate()
        process.wait()
        return 1000 * (time.perf_counter() - began)


def _reset(bench: Bench) -> Iterator[Result]:
    """What `shimmy_fake` does before each test."""
    with serving(bench, _fake(bench), {**hermetic(bench), "FAKE_SHIMMY_CONTROL": "-"}) as at:
        control = Control(f"http://127.0.0.1:{at[0]}", "-")

        def reset() -> float:
            began = time.perf_counter()
            control.ask("open", session="key", script={})
            return 1000 * (time.perf_counter() - began)

        values = interleave(bench.rounds(200, 50), {"reset": reset}, 3)["reset"]
        yield Figure("fake: a script's reset", "ms", values, target=Target(2))
        control.close()


def _long_request(bench: Bench, tokens: int) -> bytes:
    words = " ".join(f"word{number}" for number in range(tokens))
    return load.chat_request(bench.gguf.stem, words, stream=True, max_tokens=tokens)


def _descriptors() -> int:
    try:
        import resource
    except ImportError:
        return 512
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else os.sysconf("SC_OPEN_MAX")
