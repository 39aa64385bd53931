"""What we ask a shimmy ourselves: its health, its models, its metrics, one token.

Whatever it answers, and whether it answers, what comes out is a value of the right shape or a
`ShimmyError`.
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode, is_ours
from .http import Answer, ask
from .route import route_to

__tracebackhide__ = is_ours

TIMEOUT = 30.0
"""Seconds for a whole answer. 1.8.1 answers nothing while it generates, where there are few
processors."""
SHOWN = 200
"""Characters of a wrong answer that an error message shows."""


def _nothing() -> None:
    pass


class Questions(NamedTuple):
    """One server, and how it is asked."""

    url: str
    """Without a path of shimmy's."""
    headers: Mapping[str, str] = {}

    def health(self) -> dict[str, Any]:
        """The body of ``GET /health``. Raises `ShimmyError`."""
        return self._object("/health")

    def metrics(self) -> dict[str, Any]:
        """The body of ``GET /metrics``. Raises `ShimmyError`."""
        return self._object("/metrics")

    def models(self) -> list[str]:
        """The ids in ``GET /v1/models``. Raises `ShimmyError`."""
        body = self._object("/v1/models")
        data = body.get("data")
        if isinstance(data, list):
            ids = [model.get("id") if isinstance(model, dict) else None for model in data]
            if all(isinstance(each, str) for each in ids):
                return ids  # type: ignore[return-value]  # just checked
        raise self._failed("/v1/models", f"has no list of models: {json.dumps(body)[:SHOWN]}")

    def answers_chat(
        self, body: Mapping[str, Any], timeout: float, waiting: Callable[[], None] = _nothing
    ) -> bool:
        """Whether a chat request is answered with 200. Raises `ShimmyError` without an answer."""
        asked = json.dumps(body).encode()
        return self.ask("/v1/chat/completions", asked, timeout, waiting).status == 200

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        timeout: float = TIMEOUT,
        waiting: Callable[[], None] | None = None,
    ) -> Answer:
        """Whatever is answered; POST where there is a body. Calls `waiting` every now and then
        until it comes. Raises `ShimmyError` without an answer."""

        def over() -> bool:
            assert waiting is not None
            waiting()
            return False

        url = self.url + path
        headers = dict(self.headers)
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            return ask(
                route_to(self.url), path,
                method="GET" if body is None else "POST", headers=headers, body=body or b"",
                timeout=timeout, over=None if waiting is None else over,
            )  # fmt: skip
        except OSError as error:
            # None: the system's error tells a reader nothing that the message does not.
            raise ShimmyError(
                ShimmyErrorCode.HEALTHCHECK_FAILED,
                f"no answer from {url}: {in_words(error)}.\n"
                "Is the server running, and is the address right?",
                {"url": url},
            ) from None

    def _object(self, path: str) -> dict[str, Any]:
        answer = self.ask(path)
        if answer.status in (401, 403):
            raise denied(self.url + path, answer, has_key=bool(self.headers))
        if answer.status != 200:
            raise self._failed(path, f"answered {answer.status_line!r}, {_shown(answer)}")
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._failed(path, f"answered 200, but no JSON object: {_shown(answer)}")
        return body

    def _failed(self, path: str, what: str) -> ShimmyError:
        return ShimmyError(
            ShimmyErrorCode.HEALTHCHECK_FAILED,
            f"GET {self.url}{path} {what}.\nIs it a shimmy, or does a proxy before it answer?",
            {"url": self.url + path},
        )


def denied(url: str, answer: Answer, *, has_key: bool) -> ShimmyError:
    """The server does not answer us because of who we are."""
    asked = "it does not accept the API key that was sent" if has_key else "it wants an API key"
    if answer.status == 403:
        asked = "it refuses every caller"
    return ShimmyError(
        ShimmyErrorCode.ACCESS_DENIED,
        f"{url} answered {answer.status_line!r}: {asked}.\n"
        "Give the server's key with --shimmy-api-key, PYTEST_SHIMMY_API_KEY or the ini option "
        "shimmy_api_key; for a server that is attached to, SHIMMY_API_KEY counts, too.",
        {"url": url, "status": answer.status},
    )


def key_headers(key: str | None) -> dict[str, str]:
    """What a request says to a server that has this key."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def in_words(error: OSError) -> str:
    """What the system says, without its number."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def _shown(answer: Answer) -> str:
    return repr(answer.text[:SHOWN]) if answer.body else "with no body"
