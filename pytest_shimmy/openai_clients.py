"""OpenAI clients for a shimmy server. Importing this imports `openai`: nothing does at start-up.

shimmy answers a chat request that says nothing about ``stream`` with an event stream (seen on
2.5.0), which the SDK hands out as one long `str`. Our clients therefore say ``"stream": false``
where the caller said nothing, through the SDK's own hook for changing a request before it is
built. Code under test that makes its own client meets the server as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import openai
from openai._models import FinalRequestOptions

from .executable.dialect import API_KEY
from .network.addresses import is_loopback

STREAMS_BY_DEFAULT = "/chat/completions"
"""The SDK's route that streams when nothing is said (seen on 2.5.0)."""

FOR_OPENAI = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}
"""Arguments of clients that the SDK takes from the environment where they are not given."""


class ShimmyOpenAI(openai.OpenAI):
    """`openai.OpenAI` that says ``"stream": false`` where the caller said nothing."""

    def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        return _say_stream(super()._prepare_options(options))


class ShimmyAsyncOpenAI(openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` that says ``"stream": false`` where the caller said nothing."""

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        return _say_stream(await super()._prepare_options(options))


def openai_client(
    base_url: str,
    *,
    say_stream: bool = True,
    hooks: Mapping[str, list[Any]] | None = None,
    **kwargs: Any,
) -> openai.OpenAI:
    """A client whose requests go to `base_url`, without retries.

    `say_stream` off sends requests as the caller wrote them; `hooks` are those of the HTTP
    library, by event. Further arguments are those of `openai.OpenAI` and win over ours.
    """
    if "http_client" not in kwargs:
        kwargs["http_client"] = openai.DefaultHttpxClient(
            trust_env=not is_loopback(base_url), event_hooks=hooks
        )
    return (ShimmyOpenAI if say_stream else openai.OpenAI)(**_defaults(base_url, kwargs))


def async_openai_client(
    base_url: str,
    *,
    say_stream: bool = True,
    hooks: Mapping[str, list[Any]] | None = None,
    **kwargs: Any,
) -> openai.AsyncOpenAI:
    """The same as `openai_client`, for asyncio and trio.

    It keeps no connection open between requests, so that it may be closed outside the event loop
    that used it (`close_async_client`).
    """
    if "http_client" not in kwargs:
        kwargs["http_client"] = openai.DefaultAsyncHttpxClient(
            trust_env=not is_loopback(base_url), event_hooks=hooks
        )
    kwargs["default_headers"] = {
        "connection": "close",
        **(kwargs.get("default_headers") or {}),
    }
    client = ShimmyAsyncOpenAI if say_stream else openai.AsyncOpenAI
    return client(**_defaults(base_url, kwargs))


def close_async_client(client: openai.AsyncOpenAI) -> None:
    """Close a client of `async_openai_client` from synchronous code, after its event loop."""
    if asyncio._get_running_loop() is not None:
        # pytest may run inside a loop (a notebook): a thread has none.
        closing = threading.Thread(target=_close_async_client, args=(client,))
        closing.start()
        closing.join()
    else:
        _close_async_client(client)


def _close_async_client(client: openai.AsyncOpenAI) -> None:
    # Not asyncio.run: it would take the current event loop away from the code that set it.
    loop = asyncio.new_event_loop()
    try:
        # An answer that a test has left half read still has its connection, and belongs to a loop
        # that is gone, and with it the code that would close it in order.
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(client.close())
    finally:
        loop.close()


def _say_stream(options: FinalRequestOptions) -> FinalRequestOptions:
    body = options.json_data
    # Where the caller said nothing, the SDK has a sentinel of its own, or nothing.
    if (
        isinstance(body, dict)
        and options.url.endswith(STREAMS_BY_DEFAULT)
        and not isinstance(body.get("stream"), bool)
    ):
        options.json_data = {**body, "stream": False}
    return options


def _defaults(base_url: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    # What the environment says belongs to OpenAI's own service, and goes nowhere else.
    unsent = {
        header: openai.Omit()
        for argument, header in FOR_OPENAI.items()
        if kwargs.get(argument) is None
    }
    kwargs["default_headers"] = {**unsent, **(kwargs.get("default_headers") or {})}
    # Retries off: a test is to see a failure, and to see it once.
    return {"base_url": base_url, "api_key": API_KEY, "max_retries": 0, **kwargs}
