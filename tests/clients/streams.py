"""Streams that strategies find clients wrong about, one of each kind, and what clients say."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fake_shimmy.releases import NEWEST
from pytest_shimmy import FakeShimmy
from pytest_shimmy.strategies import Answer, Ending, events
from pytest_shimmy.strategies.answers import HTML, JSON
from pytest_shimmy.strategies.events import Said
from pytest_shimmy.strategies.framing import Framed, Style, cut, framed
from tests.clients.environments import LITELLM, NPM, SDKS, Environment, directory

RIGHT = "right"
TOKENS = ("Once ", "é", "!")


class Client(NamedTuple):
    """A client, the program that asks as its users do, and the endpoint that it asks."""

    environment: Environment
    program: str
    endpoint: str = "chat"


CLIENTS = {
    "openai": Client(SDKS, "read_streams.py"),
    "anthropic": Client(SDKS, "read_streams.py", "messages"),
    "langchain": Client(SDKS, "read_streams.py"),
    "litellm": Client(LITELLM, "read_streams.py"),
    "npm": Client(NPM, "read_streams.mjs"),
}


class Read(NamedTuple):
    """What a client's users were shown, and the class of what it raised."""

    text: str
    error: str | None

    def cell(self, ending: Ending) -> str:
        """What is wrong with it, if anything."""
        shown = f"shows `{self.text}`" if self.text else "shows nothing"
        if ending.error is not None:
            if self.error is None:
                return f"no error, {shown}"
            return RIGHT if ending.allows(self.text) else shown
        if self.error is not None:
            return f"raises `{self.error}`"
        return RIGHT if self.text == ending.text else shown


@contextmanager
def reader(name: str, home: Path) -> Iterator[Callable[[FakeShimmy], Read]]:
    """Asks with a client, in a process that lives as long as the block."""
    environment, program, _ = CLIENTS[name]
    command = environment.command(Path(__file__).parent / "programs" / program)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONUTF8": "1"}
    with subprocess.Popen(
        [*command, name],
        cwd=directory(environment),
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines, questions = process.stdout, process.stdin

        def read(fake: FakeShimmy) -> Read:
            print(fake.server_url, fake.api_key, file=questions, flush=True)
            return Read(**json.loads(lines.readline()))

        yield read
        process.stdin.close()
        process.wait(60)


def whole(
    endpoint: str,
    style: Style = Style.PLAIN,
    tokens: tuple[str, ...] = TOKENS,
    *,
    with_usage: bool = False,
    fails: bool = False,
) -> tuple[list[Framed], Ending]:
    """The events of a stream, and how a client ends with them."""
    said = Said(tokens, with_usage=with_usage, fails=fails)
    told, facts = events.stream(endpoint, NEWEST, said)
    return framed(told, style), Ending(said.text, "told" if fails else None, *facts)


def streamed(endpoint: str, style: Style = Style.PLAIN, *tokens: str, **how: bool) -> Answer:
    parts, ending = whole(endpoint, style, tokens or TOKENS, **how)
    return Answer(endpoint, [part.data for part in parts], ending)


def in_pieces(endpoint: str, style: Style) -> Answer:
    """Each byte is a piece."""
    parts, ending = whole(endpoint, style)
    body = b"".join(part.data for part in parts)
    return Answer(endpoint, cut(body, range(1, len(body))), ending)


def short(endpoint: str, keeps: int, how: str | None = None) -> Answer:
    """Only so many of the events; below zero, without so many."""
    parts, _ = whole(endpoint)
    rest = parts[:keeps]
    ending = Ending("".join(part.text for part in rest), "cut")
    return Answer(endpoint, [part.data for part in rest], ending, cut=how)


def in_text(endpoint: str) -> int:
    """How many events there are before the last token."""
    parts, _ = whole(endpoint)
    return max(number for number, part in enumerate(parts) if part.text)


def broken(endpoint: str) -> Answer:
    """The JSON of the last token's event ends too early."""
    parts, _ = whole(endpoint)
    where = in_text(endpoint)
    pieces = [part.data for part in parts]
    pieces[where] = pieces[where].rstrip()[:-9] + b"\n\n"
    return Answer(endpoint, pieces, Ending("".join(TOKENS[:-1]), "broken"))


KINDS: dict[str, Callable[[str], Answer]] = {
    "each byte in a piece of its own": lambda it: in_pieces(it, Style.PLAIN),
    "lines end in CR LF, each byte in a piece of its own": lambda it: in_pieces(it, Style.CRLF),
    "`data:` without a space": lambda it: streamed(it, Style.NO_SPACE),
    "comments between events": lambda it: streamed(it, Style.COMMENTS),
    "comments between events with `id` and `retry`": lambda it: streamed(
        it, Style.COMMENTS | Style.FIELDS
    ),
    "JSON over several lines of `data:`": lambda it: streamed(it, Style.SPREAD),
    "a byte order mark": lambda it: streamed(it, Style.MARK),
    "U+2028 in a text": lambda it: streamed(it, Style.PLAIN, "a\u2028b"),
    "an empty token first": lambda it: streamed(it, Style.PLAIN, "", "a"),
    "`[DONE]` in a text": lambda it: streamed(it, Style.PLAIN, "a", "data: [DONE]", "b"),
    "an event about usage": lambda it: streamed(it, with_usage=it == "chat"),
    "an event that tells of an error": lambda it: streamed(it, fails=True),
    "the end marker is missing": lambda it: short(it, -1),
    "the stream ends in the text": lambda it: short(it, in_text(it)),
    "the connection is closed in the text": lambda it: short(it, in_text(it), "close"),
    "the connection is reset in the text": lambda it: short(it, in_text(it), "reset"),
    "the JSON of an event is cut": broken,
    "a page of HTML with status 200": lambda it: Answer(
        it, [HTML], Ending("", "broken"), content_type="text/html"
    ),
    "status 503": lambda it: Answer(
        it, [b"{}"], Ending("", "status"), status=503, content_type=JSON
    ),
}
"""Of each kind of stream, one."""
