"""What a row of the tables on docs/reference/clients.md is made of.

Strategy: a row names the scenarios it is about, says in words what the client sees, and holds the
part of the record that proves the words. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line of a table on the page."""

    scenarios: str
    """Their names, separated by blanks; an async or sync twin goes without saying."""
    call: str
    outcome: str
    expected: Any
    """Part of each record: keys of a dict may be left out, a string may end in ``…``."""
    silent: bool = False
    """Nothing fails, and yet the caller does not get what was asked for."""


class Saying(NamedTuple):
    """A text with shimmy's own words in it; what a client says around them is up to the client."""

    text: str

    def __str__(self) -> str:
        return repr(self.text)


def differences(expected: Any, found: Any, where: str = "record") -> list[str]:
    """Where `found` is not as `expected`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for key, value in expected.items()
            for difference in differences(value, found.get(key), f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            difference
            for number, (one, other) in enumerate(zip(expected, found, strict=True))
            for difference in differences(one, other, f"{where}[{number}]")
        ]
    if isinstance(expected, Saying):
        return [] if expected.text in str(found) else [f"{where} is {found!r}, without {expected}"]
    if isinstance(expected, str) and expected.endswith("…") and isinstance(found, str):
        same = found.startswith(expected[:-1])
    else:
        same = type(expected) is type(found) and expected == found
    return [] if same else [f"{where} is {found!r}, not {expected!r}"]


TEXT = "SafeTensors model 'tiny' loaded"
"""What the CPU-only build's engine says in four words."""
WHOLE = f"{TEXT} successfully …"
"""What it says where nothing limits it."""
TOKENS = ["SafeTensors ", "model ", "'tiny' ", "loaded "]
ECHO = f"{TEXT} successfully with 32 layers and vocab size 32000 using in-memory loading. "
"""What comes before it repeats the prompt."""
MISSING_MODEL = 'Model \'nope\' not found. Available models: ["base-7b", "tiny"]'
UNREADABLE = "Failed to deserialize the JSON body into the target type: "
NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def choices(content: str) -> list[dict[str, Any]]:
    """The choices of a completion."""
    return [{"index": 0, "finish_reason": "stop", "message": {"content": content}}]


def chunks(tokens: list[str]) -> list[dict[str, Any]]:
    """The chunks of a stream."""
    deltas = [{"content": None, "role": "assistant"}]
    deltas += [{"content": token, "role": None} for token in tokens]
    reasons = [None] * len(deltas) + ["stop"]
    deltas += [{"content": None, "role": None}]
    return [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in zip(deltas, reasons, strict=True)
    ]


def raises(kind: str, said: str = "", **more: Any) -> dict[str, Any]:
    """The record of an exception: its class, and what shimmy said; that may end in ``…``."""
    return {"raises": kind, "message": Saying(said.rstrip(" …")), **more}
