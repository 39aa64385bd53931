"""Examples a second that a hypothesis test gets through: made, served by the fake, read, compared.

The bare reader is a socket that reads to the end of the answer; with the client of openai, the time
is its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from . import pytest_run
from .bench import Bench, is_installed, not_installed
from .figures import Figure, Missing, Result, Target, interleave
from .programs import hermetic

EXAMPLES = 1_000
AT_LEAST = Target(300, at_least=True)
OPENAI = "examples read by openai"

SUITE = """
import pathlib, socket, time
from hypothesis import given, settings
from pytest_shimmy.strategies import streams
from urllib.parse import urlsplit

BODY = b'{{"model":"tiny","stream":true,"messages":[{{"role":"user","content":"x"}}]}}'
peers = []

def bare(fake, _):
    address = urlsplit(fake.server_url)
    if not peers:
        peers.append(socket.create_connection((address.hostname, address.port)))
    peers[0].sendall(
        b"POST /v1/chat/completions HTTP/1.1\\r\\nhost: x\\r\\ncontent-type: application/json\\r\\n"
        b"authorization: Bearer %b\\r\\ncontent-length: %d\\r\\n\\r\\n%b"
        % (fake.api_key.encode(), len(BODY), BODY)
    )
    answer = b""
    while not answer.endswith(b"\\r\\n0\\r\\n\\r\\n"):
        answer += peers[0].recv(1 << 20)
    return answer

def openai(fake, client):
    import openai
    messages = [{{"role": "user", "content": "x"}}]
    try:
        chunks = client.chat.completions.create(model="tiny", messages=messages, stream=True)
        return [chunk.choices for chunk in chunks]
    except (openai.OpenAIError, ValueError):  # the stream says so, or openai cannot read it
        return []

@settings(max_examples={count}, deadline=None, database=None)
@given(streams())
def test_streams(shimmy_fake{client}, stream):
    shimmy_fake.play(stream)
    {reader}(shimmy_fake, {client_name})
    times.append(time.perf_counter())

times = []

def test_rate():
    rate = (len(times) - 1) / (times[-1] - times[0])
    pathlib.Path("rate").write_text(repr(rate))
"""


def measure(bench: Bench) -> Iterator[Result]:
    if not is_installed("hypothesis"):
        yield Missing("examples read by a bare reader", not_installed("hypothesis"))
        return
    subjects = {"examples read by a bare reader": _suite(bench, "bare", "")}
    if is_installed("openai"):
        subjects[OPENAI] = _suite(bench, "openai", "shimmy_openai_client")
    else:
        yield Missing(OPENAI, not_installed("openai"))
    for name, found in interleave(bench.rounds(5, 2), subjects).items():
        target = None if name == OPENAI else AT_LEAST
        yield Figure(name, "/s", found, target=target, note=f"{EXAMPLES} examples of streams()")


def _suite(bench: Bench, reader: str, client: str) -> Callable[[], float]:
    directory = bench.subdirectory(f"strategies_{reader}")
    text = SUITE.format(
        count=EXAMPLES,
        reader=reader,
        client=f", {client}" if client else "",
        client_name=client or "None",
    )
    (directory / "test_it.py").write_text(text)
    environment = {**os.environ, **hermetic(bench)}
    command = pytest_run.command(("shimmy", "hypothesispytest"), "-q")

    def run() -> float:
        pytest_run.run(command, directory, environment)
        return float((directory / "rate").read_text())

    return run
