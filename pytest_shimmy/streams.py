"""Limits for any stream of tokens: how long to the first, and from one to the next.

A total time-out fits neither a slow model nor a stalled one; these limits fit both. Strategy: what
blocks is read by a thread of its own, so that a stall is noticed in time whatever the library
beneath does; what is asynchronous is cancelled by its event loop.
"""

from __future__ import annotations

import contextlib
import inspect
import queue
import socket
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

from .errors import ShimmyError, ShimmyErrorCode

T = TypeVar("T")


def carries_text(item: Any) -> bool:
    """Whether an item of a stream is a token: not so OpenAI's chunks that carry no text, such as
    the first, which says the role."""
    choices = getattr(item, "choices", None)
    if not isinstance(choices, list):
        return True
    deltas = [getattr(choice, "delta", choice) for choice in choices]
    return any(getattr(delta, "content", None) or getattr(delta, "text", None) for delta in deltas)


@overload
def limited(
    stream: AsyncIterable[T] | Awaitable[AsyncIterable[T]],
    *,
    first_token: float | None = None,
    between_tokens: float | None = None,
    total: float | None = None,
    is_token: Callable[[T], bool] = carries_text,
) -> AsyncLimited[T]: ...


@overload
def limited(
    stream: Iterable[T] | Callable[[], Iterable[T]],
    *,
    first_token: float | None = None,
    between_tokens: float | None = None,
    total: float | None = None,
    is_token: Callable[[T], bool] = carries_text,
) -> Limited[T]: ...


def limited(
    stream: Any,
    *,
    first_token: float | None = None,
    between_tokens: float | None = None,
    total: float | None = None,
    is_token: Callable[[Any], bool] = carries_text,
) -> Any:
    """The items of `stream`, within limits in seconds; the clock starts now.

    `stream` is an iterable, or an asynchronous one. So that the request counts too, it may also be
    a function that makes it (``lambda: client.chat.completions.create(..., stream=True)``), or
    what an asynchronous client returns before it is awaited.

    Raises `ShimmyError` (``STREAM_STALLED``) and closes the stream when a limit is passed.
    """
    limits = Limits(first_token, between_tokens, total, is_token)
    if isinstance(stream, AsyncIterable) or inspect.isawaitable(stream):
        return AsyncLimited(stream, limits)
    return Limited(stream, limits)


class Limits:
    """Which limit is next to be passed, and when."""

    def __init__(
        self,
        first_token: float | None,
        between_tokens: float | None,
        total: float | None,
        is_token: Callable[[Any], bool],
    ) -> None:
        self._first_token = first_token
        self._between_tokens = between_tokens
        self._total = total
        self._is_token = is_token
        self._started = self._newest = time.monotonic()
        self.tokens = 0

    def see(self, item: object) -> None:
        """`item` has come."""
        if self._is_token(item):
            self.tokens += 1
            self._newest = time.monotonic()

    def remaining(self) -> float | None:
        """Seconds to the next limit; None when there is none."""
        deadlines = [deadline for deadline, _ in self._deadlines()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def passed(self) -> ShimmyError:
        """The error for the limit that has been passed."""
        _, limit = min(self._deadlines())
        now = time.monotonic()
        came = f"{self.tokens} token{'s' * (self.tokens != 1)} came"
        if self.tokens:
            came += f", the last {now - self._newest:.2f} s ago"
        seconds = getattr(self, f"_{limit}")
        what = (
            "the stream did not end"
            if limit == "total"
            else f"token {self.tokens + 1} did not come"
        )
        return ShimmyError(
            ShimmyErrorCode.STREAM_STALLED,
            f"{what} within {seconds:g} s ({limit}): after {now - self._started:.2f} s {came}.\n"
            "Is the server stalled, or the limit too low for this machine?",
            {"limit": limit, "seconds": seconds, "tokens": self.tokens},
        )

    def _deadlines(self) -> list[tuple[float, str]]:
        found = []
        if self._total is not None:
            found.append((self._started + self._total, "total"))
        if self.tokens and self._between_tokens is not None:
            found.append((self._newest + self._between_tokens, "between_tokens"))
        if not self.tokens and self._first_token is not None:
            found.append((self._started + self._first_token, "first_token"))
        return found


class Limited(Generic[T]):
    """The items of a stream, read by a thread of its own. A context manager that closes it."""

    def __init__(self, stream: Iterable[T] | Callable[[], Iterable[T]], limits: Limits) -> None:
        self._stream: Any = stream if isinstance(stream, Iterable) else None
        self._make = None if isinstance(stream, Iterable) else stream
        self._limits = limits
        self._closed = threading.Event()
        self._exhausted = False
        # Of one: a reader that runs far ahead would hide what the consumer does from the server.
        self._items: queue.Queue[tuple[str, Any]] = queue.Queue(1)
        threading.Thread(target=self._read, name="limited-stream", daemon=True).start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        try:
            what, value = self._items.get(timeout=self._limits.remaining())
        except queue.Empty:
            error = self._limits.passed()
            self.close()
            raise error from None
        if what == "item":
            self._limits.see(value)
            item: T = value
            return item
        self.close()
        if what == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Close the stream, even while it is being read."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(queue.Empty):  # a reader that waits for room goes on, and ends
            self._items.get_nowait()
        if not self._exhausted:  # else its connection may serve another request by now
            _hang_up(self._stream)
        close = getattr(self._stream, "close", None)
        if close is not None:
            # A generator that is just being read refuses; its thread ends with its next item.
            with contextlib.suppress(Exception):
                close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            if self._make is not None:
                self._stream = self._make()
            for item in self._stream:
                if not self._put("item", item):
                    return
            self._exhausted = True
        except BaseException as error:  # the consumer is to see it, whatever it is
            self._put("error", error)
        else:
            self._put("end", None)

    def _put(self, what: str, value: object) -> bool:
        if self._closed.is_set():
            return False
        self._items.put((what, value))
        return not self._closed.is_set()


class AsyncLimited(Generic[T]):
    """The items of an asynchronous stream, on asyncio or trio."""

    def __init__(
        self, stream: AsyncIterable[T] | Awaitable[AsyncIterable[T]], limits: Limits
    ) -> None:
        self._source = stream
        self._stream: Any = None
        self._items: AsyncIterator[T] | None = None
        self._limits = limits

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        import anyio

        with anyio.move_on_after(self._limits.remaining()) as scope:
            if self._items is None:
                source = self._source
                self._stream = await source if inspect.isawaitable(source) else source
                self._items = aiter(self._stream)
            item = await anext(self._items)
            self._limits.see(item)
            return item
        assert scope.cancelled_caught
        error = self._limits.passed()
        await self.aclose()
        raise error

    async def aclose(self) -> None:
        """Close the stream."""
        for owner in (self._items, self._stream):
            for name in ("aclose", "close"):
                close = getattr(owner, name, None)
                if close is not None:
                    with contextlib.suppress(Exception):
                        await close()
                    break

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _hang_up(stream: Any) -> None:
    """Shut down the connection below a stream of httpx (so of the OpenAI client): closing a socket
    that another thread is reading from neither wakes that thread nor tells the server."""
    response = getattr(stream, "response", stream)
    extensions = getattr(response, "extensions", None)
    network = extensions.get("network_stream") if isinstance(extensions, dict) else None
    if network is None:
        return
    connection = network.get_extra_info("socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
