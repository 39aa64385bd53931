"""The lines between test process and keeper arrive whole, however the network cuts them."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_shimmy.sharing.protocol import MAX_LINE, Channel, Death, ServerSummary, Snapshot

MESSAGES = st.dictionaries(
    st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
)
SNAPSHOTS = st.builds(
    Snapshot,
    state=st.text(),
    host=st.text(),
    port=st.integers(1, 65535),
    pid=st.none() | st.integers(),
    version=st.text(),
    restarts=st.integers(),
    deaths=st.lists(st.builds(Death, st.integers(), st.text(), st.integers())).map(tuple),
    log_path=st.text(),
    log_size=st.integers(),
    control=st.none() | st.text(),
)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel and the bare socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    channel = Channel(near)
    with far:
        yield channel, far
    channel.close()


# One connection serves all examples: each leaves it as it was found, with nothing in it.
over_one_connection = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@over_one_connection
@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 64), min_size=1))
def test_messages_arrive_whole_in_whatever_pieces(
    pair: tuple[Channel, socket.socket], messages: list[dict[str, object]], cuts: list[int]
) -> None:
    channel, far = pair
    wire = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    arrived = []
    for size in itertools.cycle(cuts):
        piece, wire = wire[:size], wire[size:]
        if not piece:
            break
        far.sendall(piece)
        assert channel.feed()
        while (message := channel.next_received()) is not None:
            arrived.append(message)
    assert arrived == messages


def test_a_snapshot_is_shown_without_the_tokens_in_it() -> None:
    made = Snapshot("ready", "127.0.0.1", 1, 2, "2.6.5", 0, (), "/log", 3, "s3cret", None, "s3cret")
    assert str(made).startswith("Snapshot(state='ready', host='127.0.0.1', port=1, ")
    assert "s3cret" not in str(made)


@over_one_connection
@given(MESSAGES)
def test_what_is_sent_is_received(
    pair: tuple[Channel, socket.socket], message: dict[str, object]
) -> None:
    channel, far = pair
    other = Channel(far)
    other.send(message)
    assert channel.receive() == message
    channel.send(message)
    assert other.receive() == message


def test_the_end_of_the_connection_is_none(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    far.sendall(b'{"a": 1}\n{"cut": ')
    far.close()
    assert channel.receive() == {"a": 1}
    assert channel.receive() is None
    assert channel.receive() is None


def test_a_reset_connection_is_an_ended_one(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    linger_none = b"\1\0\0\0\0\0\0\0"
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    far.close()
    assert channel.receive() is None


def test_a_line_without_end_is_given_up(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    far.settimeout(10)
    sent = 0
    while channel.feed() if sent else True:
        sent += far.send(b"x" * 65536)
    assert MAX_LINE < sent < 2 * MAX_LINE


@pytest.mark.parametrize("line", [b"\n", b"[1]\n", b"nonsense\n", b"\xff\n", b"1\n", b"null\n"])
def test_anything_but_an_object_is_refused(
    pair: tuple[Channel, socket.socket], line: bytes
) -> None:
    channel, far = pair
    far.sendall(line)
    with pytest.raises(ValueError, match=r"."):
        channel.receive()


@pytest.mark.slow
@given(SNAPSHOTS)
def test_snapshots_survive_json(snapshot: Snapshot) -> None:
    assert Snapshot.from_json(json.loads(json.dumps(snapshot.to_json()))) == snapshot


@pytest.mark.parametrize("kept", [None, "/somewhere/shimmy.log"])
def test_last_words_survive_json(kept: str | None) -> None:
    server_summary = ServerSummary("/bin/shimmy", "2.5.0", 22435, 1, 0.25, 7, kept)
    assert ServerSummary(**json.loads(json.dumps(server_summary._asdict()))) == server_summary
