"""One answer to the byte, what a correct client makes of it, and the script that serves it.

Knows nothing of hypothesis. A piece of the body is a chunk of HTTP: clients that hand on what they
read see the same pieces.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Error: TypeAlias = Literal["status", "told", "cut", "broken"]
"""Why an answer is none: its status is an error; an event says that the generation failed; it ends
before it is whole; what came cannot be read."""

PORT = 11435


class Ending(NamedTuple):
    """What a correct client ends with."""

    text: str
    """The text that it shows; where there is an `error`, the most that it may have shown."""
    error: Error | None = None
    """Why it must not take the answer as whole; None: it is whole."""
    finish_reason: str | None = None
    """What the answer says; None: it does not say."""
    usage: dict[str, int] | None = None
    """What the answer says; None: it does not say."""

    def allows(self, text: str) -> bool:
        """Whether a client may have shown this text: all of it, or of an answer that is not whole
        any beginning."""
        return self.text.startswith(text) if self.error else text == self.text


class Answer:
    """An answer of one request, for `FakeShimmy.play`. Equal answers have the same script."""

    def __init__(
        self,
        endpoint: str,
        pieces: Sequence[bytes],
        ending: Ending,
        *,
        cut: str | None = None,
        status: int = 200,
        content_type: str = "text/event-stream",
    ) -> None:
        self.endpoint = endpoint
        """The endpoint's name, as rules have it: ``chat``, ``messages``, ..."""
        self.pieces = tuple(pieces)
        """The body, in the pieces in which it is sent."""
        self.ending = ending
        """What a correct client ends with."""
        self.cut = cut
        """What happens to the connection after the last piece, or without one before the answer:
        ``reset``, ``close``, ``half_close``, ``hang``; None: the answer is completed."""
        self.status = status
        """The HTTP status."""
        self.content_type = content_type
        """The header."""

    @property
    def body(self) -> bytes:
        """The pieces, joined."""
        return b"".join(self.pieces)

    def document(self) -> dict[str, Any]:
        """The answer in a script's words."""
        if self.status != 200:
            body = self.body.decode()
            headers = {"content-type": self.content_type}
            return {"fail": {"status": self.status, "body": body, "headers": headers}}
        document: dict[str, Any] = {"events": [_event(piece) for piece in self.pieces]}
        if self.content_type != "text/event-stream":
            document["headers"] = {"content-type": self.content_type}
        if self.cut is not None:
            document["faults"] = [{"do": self.cut, "at": "end" if self.pieces else "start"}]
        return document

    def script(self) -> dict[str, Any]:
        """A script whose first request at the endpoint gets this answer."""
        return Plan([self]).script()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and self.script() == other.script()

    def __hash__(self) -> int:
        return hash((self.endpoint, self.pieces, self.cut, self.status))

    def __repr__(self) -> str:
        size = sum(map(len, self.pieces))
        said = [f"{self.endpoint}, {len(self.pieces)} pieces of {size} bytes"]
        said += [f"status {self.status}"] if self.status != 200 else []
        said += [f"then {self.cut}"] if self.cut else []
        return f"<Answer: {', '.join(said)}; {self.ending}>"


class Plan:
    """Answers that requests get one after another, for `FakeShimmy.play`: first those that a
    client may ask again after, then one that ends the matter."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = tuple(answers)
        """In their order."""

    @property
    def ending(self) -> Ending:
        """What a correct client ends with, if it asks again often enough."""
        return self.answers[-1].ending

    @property
    def retries(self) -> int:
        """How often it has to ask again for that, and at most may."""
        return len(self.answers) - 1

    def script(self) -> dict[str, Any]:
        """A script that gives them."""
        # Whatever the application asks for.
        rule: dict[str, Any] = {"when": {"endpoint": self.answers[0].endpoint}, "validate": False}
        documents = [answer.document() for answer in self.answers]
        says = documents[0] | {"times": 1} if len(documents) == 1 else {"answers": documents}
        return {"rules": [{**rule, **says}]}

    def __repr__(self) -> str:
        return f"<Plan: {list(self.answers)}>"


class Printed:
    """The text under a failing example: the script, and how it is played alone."""

    def __init__(self, played: Answer | Plan) -> None:
        self._played = played

    def __repr__(self) -> str:
        script = json.dumps(self._played.script(), ensure_ascii=True)
        return (
            f"Script of this example:\n{script}\n"
            "To repeat it, save that as example.json, and play it in a test:\n"
            '    shimmy_fake.script("example.json")\n'
            "or without pytest:\n"
            "    FAKE_SHIMMY_SCRIPT=example.json FAKE_SHIMMY_MODELS=tiny "
            f"fake-shimmy serve --bind 127.0.0.1:{PORT}"
        )


def _event(piece: bytes) -> Any:
    """A piece as a script says it, in the shortest way that gives the same bytes."""
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(piece).decode()}
    if text.startswith("data: ") and text.endswith("\n\n") and text.count("\n") == 2:
        data = text[6:-2]
        if "\r" not in data:
            return _value(data)
    return {"raw": text}


def _value(data: str) -> Any:
    """The data of an event: the JSON value that the fake writes just so, or the text."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return {"data": value} if isinstance(value, dict) and written == data else data
