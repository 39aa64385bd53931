"""What differs between two observations, as edits: a part of them, the text that was, and what it
is now.

Strategy: texts are compared line by line, and lines that changed piece by piece (a member of a JSON
object is a piece), so that one change of the product gives the same edit in every answer that shows
it. An edit says no position. It stands for every place of its part that has the text; where that
would be too many, the edit takes in some of the text around it. Edits that do not bring about
exactly the other observation are never given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

Observation = dict[str, Any]
"""What came back, as JSON values."""
Scalar = str | int | bool | None

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_PIECE = re.compile(r"(?:\{[A-Za-z ]+\}|[^\n,\[\]{}])*[\n,\[\]{}]|[^\n,\[\]{}]+")
"""A member of a JSON value, with what ends it; ``{port}`` and its like are words."""
_KEY = re.compile(r"HTTP/|[^:\n]*")
"""What a line is called by: the name of a header, or that it is a status line."""
_BETWEEN = "\ud800"
"""Between two texts; in none of them."""
_CONTEXTS = (0, 1, 2, 4, 8)
"""Pieces around a change, until its place is clear."""


class Edit(NamedTuple):
    """One change."""

    part: str
    """Of the observation: ``seen``, ``stdout``, ``exit`` …"""
    was: Scalar
    """A text in the part, or the whole value of a part that is no text."""
    now: Scalar


def between(before: Observation, after: Observation) -> tuple[Edit, ...] | None:
    """The edits that make `after` of `before`; None where they differ in more than values."""
    if before.keys() != after.keys():
        return None
    found: list[Edit] = []
    for part in before:
        if before[part] != after[part]:
            edits = _exact(part, before[part], after[part])
            if edits is None:
                return None
            found += edits
    return tuple(found)


def gist(before: Observation, after: Observation) -> tuple[Edit, ...]:
    """What differs, for a person: each edit as short as can be, wherever else its text may be."""
    found: dict[Edit, None] = {}
    for part in {**before, **after}:
        if before.get(part) == after.get(part):
            continue
        edits = _of_leaves(part, before.get(part), after.get(part), 0)
        if edits is None:
            was, now = (shown(side[part]) if part in side else "" for side in (before, after))
            edits = [Edit(part, *hunk) for hunk in _hunks(was, now, 0)]
        found |= dict.fromkeys(edits)
    return tuple(found)


def shown(value: object) -> str:
    """A part of an observation as text."""
    if isinstance(value, dict):
        return "".join(f"[{name}]\n{shown(part)}\n" for name, part in value.items())
    if isinstance(value, list):
        return "".join(f"{shown(part)}\n---\n" for part in value)
    return str(value)


def apply(observation: Observation, edits: Iterable[Edit]) -> Observation:
    """`observation` after `edits`, in whatever order they come."""
    # A longer text may hold a shorter one, and has to be found first.
    ordered = sorted(edits, key=lambda edit: (-len(str(edit.was)), repr(edit)))
    return {
        part: _applied(value, [edit for edit in ordered if edit.part == part])
        for part, value in observation.items()
    }


class Search:
    """Which of many observations have what an edit changes."""

    def __init__(self, observations: Mapping[str, Observation]) -> None:
        self._observations = observations
        self._leaves: dict[str, dict[str, list[Scalar]]] = {}
        self._texts: dict[str, dict[str, str]] = {}

    def names(self, edit: Edit) -> list[str]:
        """The names of those that have it."""
        part, was = edit.part, edit.was
        if part not in self._leaves:
            self._leaves[part] = {
                name: list(_leaves(one.get(part)).values())
                for name, one in self._observations.items()
            }
            # One text for each: thousands of edits are looked for in thousands of observations.
            self._texts[part] = {
                name: _BETWEEN.join(leaf for leaf in leaves if isinstance(leaf, str))
                for name, leaves in self._leaves[part].items()
            }
        if was and isinstance(was, str):
            return [name for name, text in self._texts[part].items() if was in text]
        return [name for name, leaves in self._leaves[part].items() if was in leaves]


def _exact(part: str, before: object, after: object) -> list[Edit] | None:
    for context in _CONTEXTS:
        edits = _of_leaves(part, before, after, context)
        if edits is None or apply({part: before}, edits) == {part: after}:
            return edits
    return None


def _of_leaves(part: str, before: object, after: object, context: int) -> list[Edit] | None:
    old, new = _leaves(before), _leaves(after)
    if old.keys() != new.keys():
        return None
    edits: dict[Edit, None] = {}
    for place, text in old.items():
        other = new[place]
        if isinstance(text, str) and isinstance(other, str):
            edits |= {Edit(part, *hunk): None for hunk in _hunks(text, other, context)}
        elif text != other:
            edits[Edit(part, text, other)] = None
    return list(edits)


def _leaves(value: object, place: tuple[object, ...] = ()) -> dict[tuple[object, ...], Scalar]:
    """The values in a part that are no dicts or lists, by their place."""
    inner: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        return {place: value}  # type: ignore[dict-item]
    found: dict[tuple[object, ...], Scalar] = {}
    for name, below in inner:
        found |= _leaves(below, (*place, name))
    return found


def _applied(value: Any, edits: list[Edit]) -> Any:
    if isinstance(value, dict):
        return {name: _applied(below, edits) for name, below in value.items()}
    if isinstance(value, list):
        return [_applied(below, edits) for below in value]
    for edit in edits:
        if edit.was and isinstance(value, str) and isinstance(edit.was, str):
            value = value.replace(edit.was, str(edit.now))
        elif value == edit.was:
            return edit.now
    return value


def _hunks(before: str, after: str, context: int) -> Iterator[tuple[str, str]]:
    """The changes, each with so many pieces of what is around it."""
    atoms = list(_atoms(before, after))
    spans: list[tuple[int, int]] = []
    for at, (old, new) in enumerate(atoms):
        if old == new:
            continue
        # What is only added needs a neighbour to be found by.
        left = context or (not old and at > 0)
        right = context or (not old and at == 0)
        start, end = max(at - left, 0), min(at + 1 + right, len(atoms))
        if spans and start < spans[-1][1]:
            start = spans.pop()[0]
        spans.append((start, end))
    for start, end in spans:
        olds, news = zip(*atoms[start:end], strict=True)
        yield "".join(olds), "".join(news)


def _atoms(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Both texts from their beginning to their end: pieces that are the same in both, and pairs of
    what was and what is now."""
    for old, new in _line_changes(_LINE.findall(before), _LINE.findall(after)):
        yield from _matched(_PIECE.findall(old), _PIECE.findall(new))


def _line_changes(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    for tag, i, j, k, m in _opcodes(before, after):
        if tag != "replace":
            yield "".join(before[i:j]), "".join(after[k:m])
            continue
        # Of lines that changed, those that begin alike belong together: a header keeps its name.
        old, new = before[i:j], after[k:m]
        keys = [[_KEY.match(line)[0] for line in side] for side in (old, new)]  # type: ignore[index]
        for also, p, q, r, s in _opcodes(*keys):
            if also == "equal":
                yield from zip(old[p:q], new[r:s], strict=True)
            else:
                yield "".join(old[p:q]), "".join(new[r:s])


def _matched(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    for tag, i, j, k, m in _opcodes(before, after):
        if tag == "equal":
            yield from zip(before[i:j], after[k:m], strict=True)
        else:
            yield "".join(before[i:j]), "".join(after[k:m])


def _opcodes(before: list[str], after: list[str]) -> list[tuple[str, int, int, int, int]]:
    return list(SequenceMatcher(None, before, after, autojunk=False).get_opcodes())
