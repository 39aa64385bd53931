"""What many differences have in common: the changes of a product, instead of the checks that show
them.

Strategy: differences are edits (see `differences`). Edits that the same checks show are one change,
and numbers in their texts count for nothing, so the columns of an error message make no change of
their own. What merely follows from another edit, a length, is left out. A change that another
recording shows as well is known; all others are new.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from . import differences
from .differences import Edit, Scalar
from .recordings import Recording
from .verify import Result

_LENGTHS = re.compile(r"(content-length: \d+|[0-9A-F]+)\r\n")
"""A length of a body or of a chunk."""
_NUMBERS = re.compile(r"\d+")
_KEPT = 24
"""Signs that stay of a text that is cut."""


class Change(NamedTuple):
    """One change, and the checks that show it."""

    edits: tuple[Edit, ...]
    """As the first of the checks shows them."""
    checks: tuple[str, ...]
    explained: int
    """How many of them differ in nothing but this and the changes before it."""
    known: tuple[str, ...]
    """The recordings that differ in the same way; without any, it is new."""


def changes(
    results: Iterable[Result], recording: Recording, others: Sequence[Recording]
) -> list[Change]:
    """The changes in `results`, of a comparison with `recording`, from the widest to the narrowest.

    `others` are recordings in which a change may be known.
    """
    different = {one.case.id: _kinds(one.edits) for one in results if one.verdict == "differs"}
    checks_of: defaultdict[Edit, list[str]] = defaultdict(list)
    for check in sorted(different):
        for kind in different[check]:
            checks_of[kind].append(check)
    together: defaultdict[tuple[str, ...], list[Edit]] = defaultdict(list)
    for kind, showing in checks_of.items():
        together[tuple(showing)].append(kind)
    known = {one.name: _known(different, recording, one) for one in others}
    left = {check: set(kinds) for check, kinds in different.items()}
    found = []
    for checks, kinds in sorted(together.items(), key=lambda one: (-len(one[0]), one[0])):
        for check in checks:
            left[check].difference_update(kinds)
        edits = tuple(different[checks[0]][kind] for kind in kinds)
        explained = sum(not left[check] for check in checks)
        names = (name for name, has in known.items() if _is_known(kinds, checks, has))
        found.append(Change(edits, checks, explained, tuple(names)))
    return found


def _kinds(edits: tuple[Edit, ...]) -> dict[Edit, Edit]:
    """The edits that count, each by what it has in common with others."""
    own = [edit for edit in edits if not _is_length(edit)]
    return {_kind(edit): edit for edit in own or edits}


def _is_length(edit: Edit) -> bool:
    texts = (str(edit.was), str(edit.now))
    return all(_LENGTHS.fullmatch(text) for text in texts)


def _kind(edit: Edit) -> Edit:
    return Edit(edit.part, _without_numbers(edit.was), _without_numbers(edit.now))


def _without_numbers(text: Scalar) -> Scalar:
    return _NUMBERS.sub("#", text) if isinstance(text, str) else text


def _known(
    different: Iterable[str], recording: Recording, other: Recording
) -> dict[str, frozenset[Edit]]:
    """How the checks differ between the two recordings."""
    known = {}
    for check in different:
        one, another = recording.entries.get(check), other.entries.get(check)
        if one and another and one.digest == another.digest:
            edits = differences.gist(one.observation, another.observation)
            known[check] = frozenset(_kinds(edits))
    return known


def _is_known(
    kinds: Iterable[Edit], checks: Iterable[str], known: Mapping[str, frozenset[Edit]]
) -> bool:
    comparable = [known[check] for check in checks if check in known]
    return bool(comparable) and all(has.issuperset(kinds) for has in comparable)


def lines(edit: Edit) -> list[str]:
    """The edit as the lines of a diff. Of long lines, what both sides begin and end with is cut."""
    was, now = (_printable(side) for side in (edit.was, edit.now))
    if _plain(was) != _plain(now):
        was, now = _plain(was), _plain(now)
    if was and now and "\n" not in was + now:
        was, now = _cut(was, now)
        was, now = (text[::-1] for text in _cut(was[::-1], now[::-1]))
    sides = (("-", was), ("+", now))
    return [f"{sign} {line}".rstrip() for sign, text in sides if text for line in text.split("\n")]


def _printable(text: Scalar) -> str:
    # Line ends have to be visible; bytes that are not UTF-8 could not be printed.
    shown = str("" if text is None else text).replace("\r", "\\r").removesuffix("\n")
    return shown.encode("utf-8", "backslashreplace").decode()


def _plain(text: str) -> str:
    return text.replace("\\r\n", "\n").removesuffix("\\r")


def _cut(was: str, now: str) -> tuple[str, str]:
    """Both without what they begin with, but for the last signs of it."""
    pairs = enumerate(zip(was, now, strict=False))
    shared = next((n for n, (a, b) in pairs if a != b), min(len(was), len(now)))
    if shared <= 2 * _KEPT:
        return was, now
    return f"…{was[shared - _KEPT :]}", f"…{now[shared - _KEPT :]}"
