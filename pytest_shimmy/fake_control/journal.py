"""What the fake was asked: typed records, and failures that show the nearest miss."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fake_shimmy.script.matching import MISSING, Difference, Request, differences
from fake_shimmy.script.rules import Matcher, When

from ..masking import SHORTEST, mask

Ended = Literal["complete", "client_left", "cut"]

SHOWN = 10
"""How many requests a text lists."""

LONG = 60
"""From so many characters on, two texts are shown as a diff."""


class Headers(Mapping[str, str]):
    """A request's headers; names in upper or lower case, values of one name joined."""

    def __init__(self, pairs: Iterable[Sequence[str]]) -> None:
        self.pairs = tuple((name, value) for name, value in pairs)
        """As they came, names in lower case."""

    def __getitem__(self, name: str) -> str:
        values = [value for known, value in self.pairs if known == name.lower()]
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


@dataclass(frozen=True)
class RecordedRequest:
    """A request, and what became of it. Times are in seconds."""

    id: int
    """Counted from 1, in the order of arrival."""
    time: float
    """When it was complete, as `time.time` has it."""
    started: float
    """The same on the server's monotonic clock, for differences between requests."""
    method: str
    """Such as ``POST``."""
    path: str
    """Such as ``/v1/chat/completions``, without a query."""
    headers: Headers
    """By name, in upper or lower case; ``pairs`` has them as they came."""
    body: bytes
    """As it was sent; `json` has it read."""
    connection: int
    """Number of the connection that it came over."""
    rule: int | None
    """The `Rule.id` that answered it."""
    rule_name: str | None
    """How reports call that rule, or the cassette."""
    answer: int | None
    """Which of the rule's answers it got, counted from 0."""
    unmatched: bool
    """It is a request to generate, there were rules, and none of them matched."""
    nearest: str | None
    """Of an unmatched one: the nearest rule and what was different."""
    unexpected: bool
    """It is not what the answer that was its turn expects; ``nearest`` tells in what."""
    refusal: str | None
    """Why shimmy refuses it, so that no rule was tried; empty where shimmy does not say."""
    refused_rule: str | None
    """Of a refused one: the rule that would have answered it."""
    status: int | None
    """The answer's; None where none was sent."""
    tokens_sent: int
    """How many tokens of the answer left the fake."""
    bytes_sent: int
    """How many bytes of the answer left the fake, its head included."""
    schedule: tuple[float, ...]
    """When each token was to be sent, counted from the complete request."""
    measured: tuple[float, ...]
    """When each token was sent."""
    duration: float | None
    """From the complete request to the answer's end; None while it is in flight."""
    ended: Ended | None
    """``cut``: a scripted fault ended the answer early. None while it is in flight."""
    faults: tuple[str, ...]
    """The faults that were played, in words."""
    unfired: tuple[str, ...]
    """Faults of its rule that did not happen, in words."""
    beyond: bool
    """It got an answer that no shimmy gives."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RecordedRequest:
        """From a record as the fake tells it."""
        values: dict[str, Any] = dict(record)
        for name in ("schedule", "measured", "faults", "unfired"):
            values[name] = tuple(values[name])
        values["headers"] = Headers(values["headers"])
        values["body"] = values["body"].encode("utf-8", "surrogateescape")
        values["tokens_sent"] = values.pop("tokens")
        values["bytes_sent"] = values.pop("bytes")
        # What is frozen sets its members one by one, which takes as long as the rest of this.
        made = cls.__new__(cls)
        made.__dict__.update(values)
        return made

    @property
    def in_flight(self) -> bool:
        """Its answer is not over."""
        return self.ended is None

    @property
    def hung_up(self) -> bool:
        """The client left before the answer's end; how much it had been sent by then is
        `tokens_sent`."""
        return self.ended == "client_left"

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        return _or_none(self.facts.json)

    @property
    def model(self) -> Any:
        """The model that was asked for."""
        return _or_none(self.facts.model)

    @property
    def user(self) -> Any:
        """The text of the last user message, else the prompt."""
        return _or_none(self.facts.user)

    @property
    def system(self) -> Any:
        """The text of the system message."""
        return _or_none(self.facts.system)

    @property
    def messages(self) -> list[Any]:
        """The messages; empty where there are none."""
        messages = self._member("messages")
        return messages if isinstance(messages, list) else []

    @property
    def stream(self) -> bool | None:
        """What the body says about streaming; None where it says nothing."""
        stream = self._member("stream")
        return stream if isinstance(stream, bool) else None

    @cached_property
    def facts(self) -> Request:
        """The request as rules see it."""
        return Request(self.method, self.path, list(self.headers.pairs), self.body)

    def text(self) -> str:
        """The record in one line."""
        asked = [f"{self.method} {self.path}"]
        if self.model is not None:
            asked.append(f"model {_short(self.model, 30)}")
        if self.user is not None:
            asked.append(_short(self.user, 50))
        return f"{', '.join(asked)} -> {self._fate()}"

    def _fate(self) -> str:
        fate = [str(self.status) if self.status is not None else "no answer"]
        if self.tokens_sent:
            fate.append(count(self.tokens_sent, "token"))
        if self.rule_name is not None:
            fate.append(f"by {self.rule_name}")
        if self.beyond:
            fate.append("as no shimmy answers")
        fate += self.faults
        if self.refusal is not None:
            why = f": {_shortened(self.refusal, 100)}" if self.refusal else ""
            fate.append(f"refused as shimmy does{why}")
        if self.refused_rule is not None:
            fate.append(f"{self.refused_rule} would have matched")
        if self.unmatched:
            fate.append("no rule matched")
        if self.unexpected:
            fate.append("not what was expected")
        if self.hung_up:
            fate.append("the client hung up")
        if self.in_flight:
            fate.append("still in flight")
        return ", ".join(fate)

    def _member(self, name: str) -> Any:
        document = self.json
        return document.get(name) if isinstance(document, dict) else None


class Journal:
    """What a session was asked, and what was left of its rules."""

    def __init__(self, answer: Mapping[str, Any], strays: Sequence[Mapping[str, str]]) -> None:
        self.records = [RecordedRequest.from_json(record) for record in answer["records"]]
        self.dropped: int = answer["dropped"]
        """Older records than the journal has room for."""
        self.rules: list[dict[str, Any]] = answer["rules"]
        self.seed: int = answer["seed"]
        self.is_random: bool = answer["is_random"]
        """The seed has mattered."""
        self.strays = strays
        """Requests that belong to no session."""

    def matching(self, when: When) -> list[RecordedRequest]:
        """The records that are as wanted, oldest first."""
        return [record for record in self.records if not differences(when.conditions, record.facts)]

    def lines(self) -> list[str]:
        """The newest requests, a line each."""
        if not self.records:
            return ["no request came"]
        hidden = len(self.records) - SHOWN + self.dropped
        lines = [f"({hidden} earlier ones left out)"] if hidden > 0 else []
        newest = self.records[-SHOWN:]
        return lines + [f"{record.id:>3}  {record.text()}" for record in newest]

    def remarks(self) -> list[str]:
        """What the author of the test should know of the newest requests, beside their lines."""
        newest = self.records[-SHOWN:]
        lines = [
            f"no rule matched number {each.id}; nearest: {each.nearest}"
            for each in newest
            if each.unmatched
        ]
        lines += [
            f"number {each.id} is not what was expected: {each.nearest}"
            for each in newest
            if each.unexpected
        ]
        lines += [
            f"number {each.id}: this was said and did not happen: {', '.join(each.unfired)}"
            for each in newest
            if each.unfired
        ]
        beyond = sum(each.beyond for each in self.records)
        if beyond:
            lines.append(f"{count(beyond, 'answer')} that no shimmy gives")
        return lines

    def stray_lines(self, base_url: str, key: str) -> list[str]:
        """How to route the requests without an owner; empty when there are none."""
        if not self.strays:
            return []
        newest = self.strays[-1]
        shown = _masked(newest["key"])
        return [
            f"{count(len(self.strays), 'request')} came without this test's API key (the newest: "
            f"{newest['method']} {newest['path']} with {shown}).",
            f"If they are yours: send them with the API key {key!r} (shimmy_fake.api_key; the "
            f"plugin's clients and shimmy_env do), or to {base_url} (shimmy_fake.base_url).",
            "If their sender takes only a host and a port, start a server for this test alone: "
            "make_shimmy_server().fake controls every request to it.",
        ]


def miss(journal: Journal, when: When, conditions: str) -> list[str]:
    """Why no request is as wanted: what came, and the nearest of it as a diff."""
    lines = [f"wanted: {conditions}", *_came(journal)]
    wanted = when.conditions
    others = [record for record in journal.records if differences(wanted, record.facts)]
    if others:
        nearest = min(reversed(others), key=lambda each: len(differences(wanted, each.facts)))
        lines.append(f"the nearest is number {nearest.id}:")
        for difference in differences(wanted, nearest.facts):
            lines += [f"  {line}" for line in _told(difference, when)]
    return lines


def listed(found: Sequence[RecordedRequest], conditions: str) -> list[str]:
    """The newest of the requests that are as wanted."""
    lines = [f"{record.id:>3}  {record.text()}" for record in found[-SHOWN:]]
    return [f"wanted: {conditions}", *lines]


def count(number: int, noun: str) -> str:
    """``1 token``, ``2 tokens``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def _came(journal: Journal) -> list[str]:
    total = len(journal.records) + journal.dropped
    if not total:
        return ["no request came"]
    return [f"{count(total, 'request')} came:", *journal.lines()]


def _told(difference: Difference, when: When) -> list[str]:
    wanted, found = _wanted_text(difference, when), difference.found
    if wanted is None or not isinstance(found, str) or len(found) + len(wanted) < LONG:
        return [str(difference)]
    verb = difference.wanted.partition(" ")[0]
    diff = difflib.ndiff(wanted.splitlines() or [""], found.splitlines() or [""])
    return [
        f"{difference.what} should {verb} (-), and it is (+):",
        *(f"  {line.rstrip()}" for line in diff),
    ]


def _wanted_text(difference: Difference, when: When) -> str | None:
    """The text that the difference is about, whole; a regular expression has none."""
    kind, _, name = difference.what.partition(" ")
    tables = {"header": when.headers, "json": when.json}
    matcher = tables[kind].get(name) if kind in tables else getattr(when, kind)
    if not isinstance(matcher, Matcher):
        return None
    text = matcher.contains if difference.wanted.startswith("contain") else matcher.equals
    return text if isinstance(text, str) and not difference.wanted.startswith("match") else None


def _masked(key: str) -> str:
    # A key that came here by mistake may be a secret.
    if not key:
        return "no key"
    return f"the key {mask(key) if len(key) >= SHORTEST else repr(key)}"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _short(value: object, limit: int) -> str:
    return _shortened(repr(value), limit)


def _or_none(value: Any) -> Any:
    return None if value is MISSING else value
