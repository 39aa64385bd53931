"""Two runs side by side: the tests whose outcome, requests or answers differ."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from .collect import FORMAT, Document
from .page import data_of

_VARYING = re.compile(
    r'"(?:id|created|system_fingerprint)":\s*(?:"[^"]*"|\d+)|chatcmpl-\w+|\b1[6-9]\d{8}\b'
)
"""What differs between any two answers: identifiers and times."""


class Difference(NamedTuple):
    """What is not the same about one test."""

    test: str
    what: str
    """``outcome``, ``requests``, ``answers``, or ``only in one run``."""
    first: str
    second: str


def load(path: Path) -> Document:
    """The document in a report, written as JSON or as a page. Raises `ShimmyError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        document = data_of(text) or json.loads(text)
    except (ValueError, LookupError, TypeError) as error:
        raise _unreadable(path, f"it holds no report ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _unreadable(path, f"it is no report of format {FORMAT}")
    return document


def differences(first: Document, second: Document) -> list[Difference]:
    """What differs between two runs of a suite, by test."""
    mine, theirs = _by_test(first), _by_test(second)
    found = []
    for test in sorted({*mine, *theirs}):
        one, other = mine.get(test), theirs.get(test)
        if one is None or other is None:
            here, there = ("missing" if each is None else "there" for each in (one, other))
            found.append(Difference(test, "only in one run", here, there))
            continue
        for what in ("outcome", "requests", "answers"):
            if one[what] != other[what]:
                found.append(Difference(test, what, *_told(one[what], other[what])))
    return found


def _by_test(document: Document) -> dict[str, dict[str, Any]]:
    tests: dict[str, dict[str, Any]] = {}
    for test in document["tests"]:
        tests[test["id"]] = {"outcome": test["outcome"], "requests": [], "answers": []}
    texts = document["texts"]
    for request in document["requests"]:
        if request["test"] is None:
            continue
        about = tests[document["tests"][request["test"]]["id"]]
        body = texts[request["request"][1]]
        about["requests"].append(f"{request['method']} {request['path']} {body}".strip())
        answer = texts[request["answer"][1]]
        about["answers"].append(f"{request['status']} {_VARYING.sub('…', answer)}".strip())
    return tests


def _told(first: Any, second: Any) -> tuple[str, str]:
    if isinstance(first, str):
        return first, second
    if len(first) != len(second):
        return f"{len(first)} in all", f"{len(second)} in all"
    pairs: Sequence[tuple[str, str]] = list(zip(first, second, strict=True))
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    at = next(
        (number for number, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
        min(len(one), len(other)),
    )
    begin = max(0, at - 30)
    return one[begin : at + 50], other[begin : at + 50]


def _unreadable(path: Path, why: str) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.REPORT_UNREADABLE,
        f"cannot read the run report {path}: {why}.\n"
        "Make one with: pytest --shimmy-report=run.json (or run.html)",
        {"path": str(path)},
    )
