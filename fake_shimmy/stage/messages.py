"""What can be said over the control route: a class for each message, a table of its members.

Strategy: the nodes and shapes of scripts, so a message is checked whole before anything is done,
and the same tables make the JSON Schema, the reference page and the types of other languages.
"""

from __future__ import annotations

from fake_shimmy.script import rules, shapes
from fake_shimmy.script.shapes import Field, Flag, Items, Node, Number, Shape, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

    from fake_shimmy.script.rules import Rule, Script, When
    from fake_shimmy.script.shapes import Path

LONGEST_WAIT = 3600
"""Seconds."""

_NUMBER = Number(0, 10**15)


class _Key(Shape):
    """The name of a session, which can stand in a path."""

    name = "a string without a slash"

    def read(self, value: object, path: Path) -> str:
        if not isinstance(value, str) or "/" in value or not value.isascii():
            raise self.refused(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[\\x00-.0-\\x7f]*$"}


class _AnyText(Text):
    """A string that was bytes, perhaps: half a character is taken as it is."""

    def read(self, value: object, path: Path) -> str:
        if not isinstance(value, str):
            raise self.refused(value, path)
        return value


class Given(Shape):
    """A node, and the names of the members that were given."""

    name = "an object"

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def read(self, value: object, path: Path) -> Any:
        node = self.shape.read(value, path)
        assert isinstance(value, dict)
        return node, set(value)

    def schema(self) -> dict[str, Any]:
        return self.shape.schema()


class Recordings(Shape):
    """Recordings, which are read where they are loaded."""

    name = "a list"

    def read(self, value: object, path: Path) -> Any:
        if not isinstance(value, list):
            raise self.refused(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        from fake_shimmy.script.timed_answer import Recording

        return Items(shapes.of(Recording)).schema()


class Message(Node):
    """A message; its first words of documentation say what it does."""

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        for name in self.REQUIRED:
            if getattr(self, name) is None:
                raise ValueError(f"{name} is missing")


_SESSION = Field(
    _Key(),
    None,
    "the API key whose requests are meant; empty: requests with no key, or another one",
)


class OfSession(Message):
    """A message about one session."""

    session: str
    REQUIRED: ClassVar[tuple[str, ...]] = ("session",)
    FIELDS: ClassVar[Mapping[str, Field]] = {"session": _SESSION}


class Open(OfSession):
    """Reset a session: set this script, with no rule used, and empty the journal."""

    script: Script | None
    number: int | None
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "script": Field(shapes.of(rules.Script), None, "a script; its life has no effect here"),
        "number": Field(
            shapes.INDEX, None, "what it is called in memory that is shared; default: not there"
        ),
    }


class Close(OfSession):
    """Remove a session; the one without a key is reset."""


class Add(OfSession):
    """Add a rule, after those of the session and before those of the server's script."""

    rule: Rule
    REQUIRED: ClassVar[tuple[str, ...]] = ("session", "rule")
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "rule": Field(shapes.of(rules.Rule), None, "the rule"),
    }


class Remove(OfSession):
    """Remove a rule."""

    id: int
    REQUIRED: ClassVar[tuple[str, ...]] = ("session", "id")
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "id": Field(shapes.INDEX, None, "the rule's number, from the answer to add"),
    }


class Configure(OfSession):
    """Change settings of all of a session's answers."""

    script: tuple[Script, set[str]]
    REQUIRED: ClassVar[tuple[str, ...]] = ("session", "script")
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "script": Field(
            Given(shapes.of(rules.Script)),
            None,
            "a script, of which strict, latency, load_time and serialise are taken where given",
        ),
    }


class Journal(OfSession):
    """Get the journal: the requests, and how each was answered."""

    after: float
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "after": Field(_NUMBER, 0.0, "only records with higher numbers"),
    }


class Wait(OfSession):
    """Wait until so many requests have come, then get the journal."""

    when: When | None
    after: float
    count: float
    seconds: float
    finished: bool
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **Journal.FIELDS,
        "when": Field(shapes.of(rules.When), None, "which requests count; default: all"),
        "count": Field(_NUMBER, 1.0, "how many; default: 1"),
        "seconds": Field(_NUMBER, 5.0, "for how long; default: 5, at most 3600"),
        "finished": Field(Flag(), True, "default: true, only those whose answer is over count"),
    }


class Refuse(Message):
    """Refuse connections for a while; those that are open go on."""

    seconds: float
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "seconds": Field(_NUMBER, float(LONGEST_WAIT), "for how long; default, and at most: 3600"),
    }


class Accept(Message):
    """Accept connections again. It needs a connection that was open before they were refused."""


class Totals(Message):
    """Get the number of requests, over all sessions."""


class SameRules(Node):
    """Which requests are the same."""

    FIELDS: ClassVar[dict[str, Field]] = {
        "ignore": Field(Items(_AnyText()), (), "paths of members that do not count"),
        "varying": Field(Items(_AnyText()), (), "patterns of texts that vary"),
        "secret": Field(Items(_AnyText()), (), "patterns of secrets"),
        "secrets": Field(Items(_AnyText()), (), "secrets themselves"),
    }


class Replay(OfSession):
    """Answer a session's requests from recordings, where no rule does."""

    rules: SameRules | None
    speed: float
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "rules": Field(shapes.of(SameRules), None, "which requests are the same as recorded ones"),
        "speed": Field(_NUMBER, 0.0, "0: at once; 1: as recorded; 2: twice as fast"),
    }


class Cassette(OfSession):
    """Use a cassette, and load it where its exchanges are given."""

    name: str
    exchanges: list[Any] | None
    REQUIRED: ClassVar[tuple[str, ...]] = ("session", "name")
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "name": Field(_AnyText(), None, "the cassette"),
        "exchanges": Field(Recordings(), None, "its recordings"),
    }


class Replayed(OfSession):
    """Get which recordings were used since the last time, and which requests had none."""


class Follow(OfSession):
    """Read a file before each request is answered: its new lines are messages about this session,
    without ``session``: ``open``, ``add``, ``close``."""

    file: str | None
    shared: str | None
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **OfSession.FIELDS,
        "file": Field(_AnyText(), None, "its path; default: no file any more"),
        "shared": Field(
            _AnyText(),
            None,
            "path of a file that is used as memory: what sessions with a number were asked is also "
            "noted there; default: nowhere",
        ),
    }
