"""What a test process says to the recorder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fake_shimmy.script.timed_answer import Recording, read_recording

from ..fake_control.connection import Control

CONTROL_ROUTE = "/pytest-shimmy/recorder"
TOKEN_HEADER = "x-pytest-shimmy-recorder"


class Recorded(NamedTuple):
    """An exchange that has just been recorded."""

    cassette: str
    """The name that was given last when the request came."""
    time: float
    """When the request was whole, in seconds since the epoch."""
    credentials: tuple[str, ...]
    """What it was sent with, which is secret."""
    recording: Recording


class Waiting(NamedTuple):
    """An answer that is on its way."""

    request: str
    """Method and path."""
    seconds: float
    """Since the request was whole."""
    chunks: int
    """How many have come."""


class RecorderControl(Control):
    """Asks one recorder, for the requests with one key.

    Raises `ShimmyError` (``CONTROL_FAILED``).
    """

    who = "recorder"
    route = CONTROL_ROUTE
    header = TOKEN_HEADER

    def open(self, key: str, server: int = 0) -> None:
        """Record what is sent with `key`; `server` is the number of the test's own server."""
        self.ask("open", session=key, server=server)

    def use_cassette(self, key: str, name: str) -> None:
        """What comes from now on belongs to this cassette."""
        self.ask("cassette", session=key, name=name)

    def waiting(self, key: str) -> list[Waiting]:
        """The answers that are waited for, the oldest first; not those over WebSockets."""
        return [Waiting(**each) for each in self.ask("waiting", session=key)["exchanges"]]

    def take(self, key: str, patience: float = 0.0) -> Iterator[Recorded]:
        """What was recorded since the last time. Answers that are on their way have `patience`
        seconds to end, and are cut then."""
        answer = self.ask("take", patience=patience, session=key, seconds=patience)
        for each in answer["exchanges"]:
            credentials = tuple(_bare(value) for value in each["credentials"])
            yield Recorded(
                each["cassette"], each["time"], credentials, read_recording(each["recording"])
            )

    def end(self, key: str) -> None:
        """Nothing more is sent with `key`."""
        self.ask("close", session=key)

    def _wanted(self) -> str:
        return "It must be a recorder of pytest-shimmy."


def _bare(credential: str) -> str:
    """A credential without the name of its scheme."""
    scheme, space, rest = credential.partition(" ")
    is_scheme = scheme.lower() in ("bearer", "basic", "digest", "token")
    return rest.strip() if space and is_scheme else credential
