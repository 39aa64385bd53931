"""Does a server answer ``/health`` as shimmy?

A healthy answer may come from another process that holds the port; `port_owner` tells.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..network.http import Answer, NotHttpError, Route, ask

CONTROL_ROUTE = "/fake-shimmy/control"
"""Of the bundled fake; see `control`."""


class Probe(NamedTuple):
    """What one look at ``/health`` saw."""

    healthy: bool
    """It answered 200 as shimmy."""
    answered: bool
    """Something answered, whatever it said."""
    seen: str
    """In words, for an error message."""
    version: str | None = None
    """The version in the answer."""


def probe(host: str, port: int, timeout: float, over: Callable[[], bool] = lambda: False) -> Probe:
    """Ask ``GET /health`` once, within `timeout` seconds. Never raises for what the peer does.

    An answer that does not come is not waited for when `over()` says that it decides nothing.
    """
    try:
        answer = ask(Route(host, port), "/health", timeout=timeout, over=over)
    except TimeoutError:
        return Probe(False, False, f"no answer within {timeout:.2g} s")
    except ConnectionRefusedError:
        return Probe(False, False, "nothing listens there")
    except NotHttpError as error:
        return Probe(False, True, f"/health: {error}")
    except OSError as error:
        return Probe(False, False, str(error))
    return _judge(answer)


def requests_sent(host: str, port: int, token: str) -> int | None:
    """How many requests the fake there has been sent; None when it does not say at once."""
    headers = {"x-fake-shimmy-control": token}
    question = b'{"op": "totals"}'
    try:
        document = ask(
            Route(host, port), CONTROL_ROUTE,
            method="POST", headers=headers, body=question, timeout=0.5,
        ).json()  # fmt: skip
    except (OSError, ValueError):
        return None
    count = document.get("requests") if isinstance(document, dict) else None
    return count if isinstance(count, int) else None


def _judge(answer: Answer) -> Probe:
    if answer.status != 200:
        return Probe(False, True, f"/health answered {answer.status_line!r}")
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not is_shimmy(document):
        return Probe(False, True, f"/health answered 200, but not as shimmy: {answer.body[:80]!r}")
    version = document.get("version")
    return Probe(True, True, "healthy", version if isinstance(version, str) else None)


def version_at(url: str, timeout: float = 1.0) -> str | None:
    """The version of the shimmy at `url`; None when it does not say at once (or over TLS)."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path:
        return None
    return probe(parts.hostname or "", parts.port or 80, timeout).version


def is_shimmy(document: Any) -> bool:
    """Whether a parsed ``/health`` body is shimmy's (seen on 2.5.0)."""
    return isinstance(document, dict) and document.get("service") == "shimmy"
