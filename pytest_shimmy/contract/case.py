"""The vocabulary of checks: what can be done to an executable.

Three kinds: a command that runs to its end (`Command`), a server's life from its start to its end
(`Life`), and what goes over the wires of a server that is up (`Exchange`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..executable.dialect import Engine

Imitation = Literal["exact", "but for the words", "but for words and counts", "none"]
"""How far the fake can do the same: all of it, all but what a model says, all but that and the
number of tokens in the prompt, or not at all."""
Order = Literal["fixed", "lines", "rows"]
"""What is unordered in an answer: nothing, lines of text, or rows of a JSON list."""


class Command(NamedTuple):
    """Run ``shimmy`` with these arguments until it ends."""

    arguments: tuple[str, ...]
    world: str = "empty"
    env: Mapping[str, str] = {}
    order: Order = "fixed"
    closed_stdout: bool = False
    """The pipe of its output is closed before it starts."""
    leaves: str = ""
    """A folder that it makes; what is in it afterwards counts."""


class Life(NamedTuple):
    """Start ``shimmy serve``; end it by a signal once it listens, if it has not ended itself."""

    arguments: tuple[str, ...]
    """After ``serve``; ``{port}`` stands for a free port."""
    world: str = "toys"
    env: Mapping[str, str] = {}
    signal: str = "SIGTERM"
    port_is_taken: bool = False


class Step(NamedTuple):
    """One thing that a client does."""

    do: Literal["send", "answer", "some", "rest", "patience", "finish", "close", "reset"]
    data: bytes = b""
    on: str = "a"
    """Which of the case's connections; a new name opens a new one."""


class Exchange(NamedTuple):
    """Talk to a server that is up."""

    steps: tuple[Step, ...]
    world: str = "toys"
    order: Order = "fixed"


class Case(NamedTuple):
    """One check."""

    group: str
    name: str
    act: Command | Life | Exchange
    engines: tuple[Engine, ...] = ()
    """The engines it makes sense for; empty: all."""
    since: tuple[int, ...] = ()
    """The release that brought what it checks."""
    imitation: Imitation = "exact"

    @property
    def id(self) -> str:
        return f"{self.group}: {self.name}"


def send(data: bytes, on: str = "a") -> Step:
    """Send all of `data`."""
    return Step("send", data, on)


def answer(on: str = "a") -> Step:
    """Read one whole HTTP answer (interim ones count as answers)."""
    return Step("answer", on=on)


def some(until: bytes, on: str = "a") -> Step:
    """Read until `until` has come, and write down what came up to there."""
    return Step("some", until, on)


def rest(on: str = "a") -> Step:
    """Read until the server ends the connection."""
    return Step("rest", on=on)


def patience(on: str = "a") -> Step:
    """The same; a server that has fallen silent is first told that no more will come. Not at
    once: with the end of the requests at hand, the real one may not answer any more."""
    return Step("patience", on=on)


def finish(on: str = "a") -> Step:
    """Close the client's half."""
    return Step("finish", on=on)


def close(on: str = "a") -> Step:
    """Hang up, in order."""
    return Step("close", on=on)


def reset(on: str = "a") -> Step:
    """Tear the connection down."""
    return Step("reset", on=on)


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    headers: tuple[str, ...] = (),
    is_json: bool = True,
    last: bool = True,
) -> bytes:
    """The bytes of a request; the `last` one asks the server to end the connection."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", *headers]
    if body:
        if is_json:
            lines.append("content-type: application/json")
        lines.append(f"content-length: {len(body)}")
    if last:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(method: str, path: str, body: bytes = b"", **how: object) -> tuple[Step, ...]:
    """One request on a connection of its own, and everything that comes back."""
    return (send(request(method, path, body, **how)), rest())  # type: ignore[arg-type]
