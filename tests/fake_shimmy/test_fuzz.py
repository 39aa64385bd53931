"""Bad input never kills the fake.

Strategy: first every part on its own, for any bytes; then a real process, beset by bad clients in
seeded batches and by attacks on its memory, which must be well after each; then the command line.
Seeds are fixed and hypothesis is derandomized: a run of the tests says whether a change broke
something, and looking for news is the job of ``python -m benchmarks.fuzz``, which runs the same
checks for as long as one likes.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_process import Running, Shimmy, drained, neutral
from tests.support.fuzz import inputs
from tests.support.fuzz.command import Command
from tests.support.fuzz.inputs import UPGRADE, edited, frame, post
from tests.support.fuzz.server import GROWTH, MIB, Watched, answers, flood, plan, storm
from tests.support.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.slow,
]

EDIT = st.tuples(
    st.integers(0, 4095),
    st.sampled_from((0, 0, 1, 3, 40)),
    st.sampled_from(inputs.PIECES) | st.binary(max_size=6),
)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(
    derandomize=True,
    database=None,
    max_examples=120,
    suppress_health_check=list(HealthCheck),
)
def test_any_bytes_are_understood_or_refused(name, data):
    target = TARGETS[name]
    seed = data.draw(st.sampled_from(target.seeds) | st.binary(max_size=100))
    target(edited(seed, data.draw(st.lists(EDIT, max_size=5))))


FOUND = [
    ("requests_in_pieces", b"GET /health HTTP/1.1\r\r\n\r\n"),
    ("requests_in_pieces", b"\r\n\r\nGET /health HTTP/1.1\r\n\r\n"),
    ("requests_in_pieces", b"\r\n" * 20 + b"GET /health HTTP/1.1\r\n\r\n"),
    ("requests_in_pieces", inputs.chunked(b"/nope", b"x" * 900).replace(b"\r\n0\r\n", b"zz")),
    ("content_types", b"application/x+json; " + b'a="b";' * 60 + b"!"),
    ("documents", b"[-0]"),
    ("documents", b"[1e999]"),
    ("documents", b"[18446744073709551616]"),
    ("documents", b"[" * 127 + b"]" * 127),
    ("documents", b"[" * 128 + b"]" * 128),
    ("variables", b"a[{b=" + b"(" * 2000 + b")" * 2000 + b"}]"),
    ("variables", b"a[{b=[[a]]}]=info"),
]
"""Input that did harm once."""


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_did_harm_once_does_no_more(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_do_no_harm(name):
    for seed in TARGETS[name].seeds:
        TARGETS[name](seed)


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[Watched]:
    inputs.put_models(folder)
    fake = Shimmy([sys.executable, "-m", "fake_shimmy"], folder, "cpu-only")
    with fake.serve() as running, drained(running):
        yield Watched(running)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watching(tmp_path_factory.mktemp("fuzzed")) as server:
        yield server


@pytest.fixture
def watched_alone(tmp_path: Path) -> Iterator[Watched]:
    """A server of one's own, for a test that makes it larger than others may find it."""
    with watching(tmp_path) as server:
        yield server


@pytest.mark.parametrize("seed", range(6))
def test_bad_clients_leave_the_server_as_it_was(watched, seed):
    storm(watched.port, plan(f"clients {seed}", 100))
    watched.check()


CHUNKED = (
    b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
HUGE = post(b"/v1/completions", b"").replace(b"length: 0", b"length: 99999999999999")
HEALTH = b"GET /health HTTP/1.1\r\n\r\n"

ENDED = {
    "headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n", 4 * MIB),
    "one header": (b"GET / HTTP/1.1\r\na: ", b"x", 4 * MIB),
    "a target": (b"GET /", b"x", 4 * MIB),
    "a method": (b"", b"X", 4 * MIB),
    "extensions": (CHUNKED, b"1;" + b"x" * 1000 + b"\r\n1\r\n", 4 * MIB),
    "one extension": (CHUNKED + b"1;", b"x", 4 * MIB),
    "a chunk's size": (CHUNKED, b"0", 4 * MIB),
    "trailers": (CHUNKED + b"0\r\n", b"t: u\r\n", 4 * MIB),
    "a body in chunks": (CHUNKED, b"9\r\n123456789\r\n", 16 * MIB),
    "a body of known length": (HUGE, b"[", 16 * MIB),
    "pings": (UPGRADE, frame(0x89, b"?"), 4 * MIB),
    "a huge frame": (UPGRADE + b"\x81\xff" + b"\xff" * 12, b"\0", 4 * MIB),
}
"""Endless attacks to which the server puts an end: how each begins, how it goes on, and the number
of bytes after which it must be over."""

BORNE = {
    "empty lines": (b"", b"\r\n", 4 * MIB),
    "empty fragments": (UPGRADE + frame(0x01, b"{"), frame(0x00, b""), 2 * MIB),
    "answers that nobody reads": (b"", HEALTH, 16 * MIB),
}
"""Those that it may put up with, as they cost no memory."""


@pytest.mark.parametrize("name", ENDED)
def test_an_endless_attack_is_ended(watched, name):
    with watched.connect() as sock:
        assert flood(sock, *ENDED[name])
    watched.check()


@pytest.mark.parametrize("name", BORNE)
def test_an_endless_attack_costs_no_memory(watched, name):
    with watched.connect() as sock:
        assert not flood(sock, *BORNE[name])
        assert watched.growth() < GROWTH
    watched.check()


HELD_MESSAGE = 160 * MIB
"""What a WebSocket message may take: 64 MiB is the longest that the real one reads, and so the
fake; a frame of it, up to 16 MiB, is in memory several times while it is unmasked."""


def test_an_endless_message_is_ended(watched_alone):
    with watched_alone.connect() as sock:
        assert flood(sock, UPGRADE + frame(0x01, b"{"), frame(0x00, b" " * MIB), 160 * MIB)
    watched_alone.check(growth=HELD_MESSAGE)


def test_a_long_message_stops_nobody_else(watched_alone):
    prompt = b'{"model":"tiny","prompt":"%b"}' % (b"ab " * (5 * MIB))
    with watched_alone.connect() as sock:
        sock.sendall(UPGRADE)
        sock.recv(4096)
        sock.sendall(frame(0x81, prompt))
        watched_alone.check_answers()
        assert sock.recv(2) == b"\x81\x0c"
        watched_alone.check_answers()
    watched_alone.check(growth=HELD_MESSAGE)


CHATS, ANYTHING = b"/v1/chat/completions", b"/api/workflows/execute"
COSTLY = {
    "unknown brackets": (CHATS, b'{"x":' + b"[" * 2 * MIB),
    "arrays": (ANYTHING, b"[" + b"[]," * MIB),
    "digits": (CHATS, b'{"x":0.' + b"0" * 2 * MIB),
    "escapes": (CHATS, b'{"model":"' + b"\\n" * MIB),
    "members": (ANYTHING, b'{"a":1' + b',"a":1' * MIB),
    "words": (
        CHATS,
        inputs.CHAT.replace(b"Hi", b"x " * (MIB - 50)).replace(b"false", b"true"),
    ),
}
"""Bodies that cost a parser much, of which the longest that is read is sent."""


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_body_stops_nobody_else(watched, name):
    path, body = COSTLY[name]
    with watched.connect() as sock:
        sock.sendall(post(path, body[: 2 * MIB], b"connection: close"))
        watched.check_answers()
        assert sock.recv(9) == b"HTTP/1.1 "
    watched.check()


def test_a_costly_header_stops_nobody(watched):
    kind = b"content-type: application/x+json; " + b'a="b";' * 5000 + b"!\r\n"
    with watched.connect() as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\n" + kind + b"connection: close\r\n\r\n")
        watched.check_answers()
        assert sock.recv(12) == b"HTTP/1.1 415"
    watched.check()


def test_hundreds_of_idle_connections_cost_little(watched):
    with contextlib.ExitStack() as stack:
        for number in range(400):
            sock = stack.enter_context(watched.connect())
            sock.sendall(b"GET /health HTTP/1.1\r\na: b"[: number % 25])
        watched.check_answers()
        assert watched.growth() < GROWTH
    watched.check()


def test_abandoned_streams_leave_nothing_behind(watched):
    ask = b'{"model":"tiny","messages":[{"role":"user","content":"%b"}]}' % (b"x " * 500)
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                sock = stack.enter_context(watched.connect())
                sock.sendall(post(b"/v1/chat/completions", ask))
                assert sock.recv(4) == b"HTTP"
    watched.check()


def test_without_descriptors_it_waits_for_some(watched):
    pid = watched.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (watched.descriptors() + 3, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(watched.connect()).sendall(b"GET ")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    watched.check()


@pytest.mark.parametrize("seed", range(30))
def test_a_command_ends_as_the_real_one_could(tmp_path, seed):
    Command.planned(f"command {seed}").run(tmp_path)


def test_a_deep_folder_is_searched(tmp_path, shimmy):
    below = tmp_path / "manifests"
    (tmp_path / "blobs").mkdir()
    below.mkdir()
    folder = os.open(below, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("a", dir_fd=folder)
            inner = os.open("a", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = inner
    finally:
        os.close(folder)
    try:
        status, _, err = shimmy.run("list", OLLAMA_MODELS=str(tmp_path))
    finally:
        # Too deep for pytest, which would trip over it when it cleans up.
        subprocess.run(["rm", "-rf", str(below)], check=True)
    assert (status, err) == (0, "")


COMPARED = tuple(
    request
    for request in inputs.REQUESTS
    # These tell of the machine's memory, or come in any order.
    if not any(path in request for path in (b"/metrics", b"/diag", b"/api/models "))
)


def comparable(answer: bytes) -> bytes:
    """An answer without what differs from one to the next."""
    return re.sub(rb'"id":"(cmpl|msg)[^"]*"', b'"id":"I"', neutral(answer))


@pytest.fixture
def both(pair: tuple[Shimmy, Shimmy]) -> Iterator[tuple[Running, Running]]:
    """The real one and the fake, each serving the same models."""
    real, fake = pair
    inputs.put_models(real.cwd)
    with (
        real.serve(*real.toy_flags) as one,
        fake.serve(*fake.toy_flags) as other,
        drained(one),
        drained(other),
    ):
        yield one, other


@pytest.mark.shimmy_real
@pytest.mark.parametrize("seed", range(4))
def test_the_same_bytes_get_the_same_answer(both, seed):
    choice = Random(f"both {seed}")
    for _ in range(60):
        data = inputs.spoiled(choice, COMPARED)
        # Who waits for more says nothing, so the end of an answer is a silence; a loaded machine
        # is silent as well, hence the second look.
        for quiet in (0.1, 1.0, 3.0):
            expected, found = (comparable(each) for each in answers(both, data, quiet))
            if found == expected:
                break
        assert found == expected, data
