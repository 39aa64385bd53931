"""What the head of an HTTP answer says about a file, and nothing that it does not say."""

from __future__ import annotations

import email.utils
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    import requests

LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be another one next time."""

ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Credentials of the host in ~/.netrc are sent along.",
    HTTPStatus.FORBIDDEN: "It may need credentials (~/.netrc), or consent to a licence.",
    HTTPStatus.NOT_FOUND: "Check the address.",
    HTTPStatus.GONE: "Check the address.",
}

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def place_of(url: str) -> str:
    """`url` without credentials and query, which may be secret and differ from call to call."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def status_of(answer: requests.Response) -> str:
    """The status line, for a message."""
    return f"{answer.status_code} {answer.reason or ''}".rstrip()


def length_of(answer: requests.Response) -> int | None:
    """The length of the body, if it is known beforehand."""
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def validator_of(answer: requests.Response) -> str | None:
    """What ``If-Range`` takes: a strong ETag, or the date of the last change."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):  # a weak one, W/"…", does not promise the same bytes
        return tag
    return answer.headers.get("Last-Modified")


def retry_after(text: str) -> float | None:
    """Seconds from now, given a number of them or a date; None for anything else."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def range_of(answer: requests.Response) -> tuple[int | None, int | None]:
    """Where the body begins in the file, and how long the file is; None for what is not said."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or match[1] is None:
        return None, None
    return int(match[1]), None if match[3] == "*" else int(match[3])
