"""One rule for what must not be read, wherever a text of ours leaves the process.

Secret are: the setting ``api-key``, the name and password in a URL, the values of variables whose
names say so, and what a request has as credentials. Each is shown as ``***`` and four digits of its
hash, so that two can be told apart and neither can be used. What a program wrote is shown without
anything that moves a cursor, and with a mark before each line, so that it is never taken for ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SHORTEST = 6
"""Characters; a shorter text is no secret that could be told from ordinary words."""
MARK = "| "
"""What stands before each line that a program wrote."""

MASKED = "***"
"""What is shown instead of a value that need not be told from others."""

# Not compiled here: every pytest run loads this, and few need it.
_SECRET_NAMES = r"(?i)(KEY|TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?|SHIMMY_CONTROL)$"
SECRET_HEADERS = frozenset(
    ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "set-cookie")
)
_USER_INFO = r"://[^/?#\s@]+@"
_NOT_PRINTABLE = (
    r"[^\t\n\x20-\x7e\xa0-\U0010ffff]"  # moves a cursor
    r"|[\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # misleads an eye
)

_hidden: set[str] = set()


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable of that name is secret."""
    return re.search(_SECRET_NAMES, name) is not None


def secrets_of(environ: Mapping[str, str | None]) -> list[str]:
    """The values in an environment that are secret by their names."""
    return [
        value
        for name, value in environ.items()
        if value is not None and len(value) >= SHORTEST and is_secret_name(name)
    ]


def hide(secrets: Iterable[str | None]) -> None:
    """Have `masked` mask these from now on, in this process, also as JSON has them."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST:
            _hidden.add(secret)
            if not secret.isalnum() or not secret.isascii():
                import json

                _hidden.update(
                    json.dumps(secret, ensure_ascii=each)[1:-1] for each in (True, False)
                )


def mask(secret: str) -> str:
    """What is shown instead of `secret`."""
    from hashlib import sha256

    return f"***{sha256(secret.encode('utf-8', 'surrogatepass')).hexdigest()[:4]}"


def masked(text: str, more: Iterable[str] = ()) -> str:
    """`text` without what is hidden, or in `more`, or a name and password in a URL."""
    secrets = {*_hidden, *more} if more else _hidden
    for secret in secrets:
        if secret in text:
            # The longest first: one may be a part of another.
            for each in sorted(secrets, key=len, reverse=True):
                text = text.replace(each, mask(each))
            break
    return re.sub(_USER_INFO, f"://{MASKED}@", text) if "@" in text else text


def may_mask(data: bytes) -> bool:
    """Whether `masked` would have to search a text that is made of pieces of this."""
    return bool(_hidden) or b"@" in data


def masked_values(value: Any) -> Any:
    """JSON values with every text in them `masked`."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {name: masked_values(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked_values(each) for each in value]
    return value


def url_secrets(url: str) -> list[str]:
    """The name and password in a URL, as they stand there and as they are meant."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    found = [part for part in (parts.username, parts.password) if part]
    return [*found, *map(unquote, found)]


def credentials(headers: Iterable[tuple[str, str]]) -> list[str]:
    """What stands in those of a request's headers that are secret."""
    words = [
        value.split(" ")[-1] for name, value in headers if name.lower() in SECRET_HEADERS and value
    ]
    # Our own session keys begin so, and are of no use to anybody else.
    return [word for word in words if not word.startswith("shimmy")]


def printable(text: str) -> str:
    """`text` with each character that could move a cursor, or mislead, as an escape."""
    # As a version is, and nearly every log; the pattern is slow, and not even compiled then.
    if text.replace("\n", "").isprintable():
        return text
    return re.sub(_NOT_PRINTABLE, _escape, text.replace("\r\n", "\n"))


def quoted(text: str) -> str:
    """What a program wrote, to be shown in a report: masked, printable, and marked as not ours."""
    return MARK + printable(masked(text)).replace("\n", f"\n{MARK}")


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
