"""What is answered over the control route, as tables for those who read it in another language.

Strategy: nothing at run time loads this. It makes the JSON Schema and the reference page, and a
test holds real answers to it, so it says what is so.
"""

from __future__ import annotations

from typing import Any

from fake_shimmy.script import rules, shapes
from fake_shimmy.script.shapes import Field, Flag, Items, Node, Number, Shape, Table, Text
from fake_shimmy.script.timed_answer import AskedRequest
from fake_shimmy.stage.control import OPERATIONS

WHOLE = Number(0, 2**63 - 1, is_float=False)
SECONDS = Number(0, 10**15)


class Nullable(Shape):
    """A value or null."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.name = f"{shape.name} or null"

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.shape.schema(), {"type": "null"}]}


class Pair(Shape):
    """A header's name and value."""

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}


def needed(shape: Shape, help: str) -> Field:
    return Field(shape, ..., help)


def _object(name: str, meaning: str, fields: dict[str, Field]) -> type[Node]:
    return type(name, (Node,), {"__doc__": meaning, "FIELDS": fields})


Done = _object(
    "Done",
    "It was done.",
    {"ok": needed(Flag(), "true")},
)


Opened = _object(
    "Opened",
    "The session is open.",
    {
        **Done.FIELDS,
        "seed": needed(WHOLE, "random seed for chance and jitter"),
        "stray_count": needed(WHOLE, "as in a journal"),
    },
)


Added = _object(
    "Added",
    "The rule applies from now on.",
    {**Done.FIELDS, "id": needed(WHOLE, "the rule's number")},
)


RecordedRequest = _object(
    "RecordedRequest",
    "One request and its answer. Times are in seconds.",
    {
        "id": needed(WHOLE, "its number in the session's journal, from 1"),
        "time": needed(SECONDS, "when it was complete, in seconds since 1970"),
        "started": needed(SECONDS, "the same on a monotonic clock"),
        "method": needed(Text(), "the method"),
        "path": needed(Text(), "the path, without a key"),
        "headers": needed(Items(Pair()), "names, in small letters, and values, as they came"),
        "body": needed(Text(), "the body; a byte that is not UTF-8 is half a character (U+DC80…)"),
        "connection": needed(WHOLE, "the number of its connection"),
        "rule": needed(Nullable(WHOLE), "the rule that answered it"),
        "rule_name": needed(Nullable(Text()), "how reports call that rule, or the cassette"),
        "answer": needed(Nullable(WHOLE), "which of the rule's answers, from 0"),
        "unmatched": needed(Flag(), "there are rules, and none of them matched"),
        "nearest": needed(Nullable(Text()), "which rule was nearest, and what was different"),
        "unexpected": needed(Flag(), "it is not what the answer that was its turn expects"),
        "refusal": needed(Nullable(Text()), "why shimmy refuses it"),
        "refused_rule": needed(Nullable(Text()), "the rule that would have answered it otherwise"),
        "status": needed(Nullable(WHOLE), "the HTTP status that was sent"),
        "tokens": needed(WHOLE, "how many tokens were sent"),
        "bytes": needed(WHOLE, "how many bytes were sent, head included"),
        "schedule": needed(Items(SECONDS), "when each token was due, after the request"),
        "measured": needed(Items(SECONDS), "when each token was sent"),
        "duration": needed(Nullable(SECONDS), "from the request to the end of the answer"),
        "ended": needed(
            Nullable(shapes.OneOf(("complete", "client_left", "cut"))),
            "how; null while the answer is on its way",
        ),
        "faults": needed(Items(Text()), "what went wrong on the way, as scripted"),
        "unfired": needed(Items(Text()), "what was scripted and did not happen"),
        "beyond": needed(Flag(), "it got an answer that no shimmy gives"),
    },
)


Stray = _object(
    "Stray",
    "A request for no session.",
    {
        "method": needed(Text(), "the method"),
        "path": needed(Text(), "the path"),
        "key": needed(Text(), "the API key; empty: none"),
    },
)


RuleState = _object(
    "RuleState",
    "A rule and how far it is used up.",
    {
        "id": needed(WHOLE, "its number"),
        "name": needed(Text(), "how reports call it"),
        "used": needed(WHOLE, "how many requests it has answered"),
        "left": needed(Nullable(WHOLE), "how many it still answers; null: any number"),
        "slow": needed(Nullable(Text()), "its regular expression that took too long"),
    },
)


State = _object(
    "State",
    "The journal of a session.",
    {
        "records": needed(Items(shapes.of(RecordedRequest)), "the requests, the oldest first"),
        "dropped": needed(WHOLE, "how many older ones were dropped, over 1000 or 4 MiB"),
        "rules": needed(Items(shapes.of(RuleState)), "the rules, in the order they are tried"),
        "seed": needed(WHOLE, "random seed for chance and jitter"),
        "is_random": needed(Flag(), "whether the seed has mattered"),
        "stray": needed(
            Items(shapes.of(Stray)), "while several sessions are open: requests of none of them"
        ),
        "stray_count": needed(WHOLE, "how many, since the server began"),
        "stray_before": needed(WHOLE, "how many of these, before the session was opened"),
    },
)


Waited = _object(
    "Waited",
    "The same, after waiting.",
    {**State.FIELDS, "timed_out": needed(Flag(), "fewer requests came in that time")},
)


Counted = _object(
    "Counted",
    "The number.",
    {
        "requests": needed(
            WHOLE, "requests, without control requests and health checks without a key"
        )
    },
)


Missed = _object(
    "Missed",
    "A request without a recording.",
    {
        "cassette": needed(Text(), "the cassette that was in use"),
        "request": needed(shapes.of(AskedRequest), "the request"),
    },
)


Used = _object(
    "Used",
    "Which recordings were used since the last time.",
    {
        "used": needed(Table(Items(WHOLE)), "by cassette: numbers of the recordings, from 0"),
        "missed": needed(
            Items(shapes.of(Missed)), "requests that no recording answers; 20 at most"
        ),
    },
)


Followed = _object(
    "Followed",
    "The file is read from now on.",
    {
        **Done.FIELDS,
        "seed": needed(Nullable(WHOLE), "that of the server's script"),
        "rules": needed(WHOLE, "how many rules that has, which are numbered after a session's own"),
    },
)


Refused = _object(
    "Refused",
    "With status 400: the message is invalid, and nothing was changed.",
    {
        "error": needed(Text(), "why"),
        "code": needed(shapes.OneOf(("refused", "no_session")), "no_session: it is not open"),
    },
)


ANSWERS: dict[str, type[Node]] = {
    **dict.fromkeys(OPERATIONS, Done),
    "open": Opened,
    "add": Added,
    "journal": State,
    "wait": Waited,
    "totals": Counted,
    "replayed": Used,
    "follow": Followed,
}
"""By the ``op`` of the message."""


def schema() -> dict[str, Any]:
    """The JSON Schema of messages; ``$defs`` has that of each answer."""
    return {
        "$id": "control.schema.json",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message to the control route of fake-shimmy",
        "oneOf": [_message(op) for op in OPERATIONS],
        "$defs": {
            **{f"{op}.answer": _answer(node) for op, node in ANSWERS.items()},
            "refused": _answer(Refused),
        },
    }


def _message(op: str) -> dict[str, Any]:
    kind, _ = OPERATIONS[op]
    found = shapes.of(kind).schema()
    members = {name: _referring(member) for name, member in found["properties"].items()}
    return {
        "description": kind.__doc__,
        **found,
        "properties": {"op": {"const": op}, **members},
        "required": ["op", *kind.REQUIRED],
    }


def _referring(member: dict[str, Any]) -> dict[str, Any]:
    """What a script's schema has is not said again."""
    told = {name: value for name, value in member.items() if name != "description"}
    for node, place in (
        (rules.Script, ""),
        (rules.Rule, "#/properties/rules/items"),
        (rules.When, "#/properties/rules/items/properties/when"),
    ):
        if told == shapes.of(node).schema():
            return {"description": member["description"], "$ref": f"script.schema.json{place}"}
    return member


def _answer(node: type[Node]) -> dict[str, Any]:
    return {"description": node.__doc__, **_all_required(shapes.of(node).schema())}


def _all_required(schema: dict[str, Any]) -> dict[str, Any]:
    """An answer has all of its members, and so have the objects in it that are no request."""
    found = {name: _each(value) for name, value in schema.items()}
    if "properties" in found and "json" not in found["properties"]:
        found["required"] = list(found["properties"])
    return found


def _each(value: Any) -> Any:
    if isinstance(value, dict):
        return _all_required(value)
    return [_each(each) for each in value] if isinstance(value, list) else value
