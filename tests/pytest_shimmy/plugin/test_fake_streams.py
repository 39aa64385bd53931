"""`limited`: a stall is noticed in time, on any stream."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from pytest_shimmy import FakeShimmy, ShimmyError, ShimmyErrorCode, limited
from pytest_shimmy.openai_clients import async_openai_client, openai_client
from pytest_shimmy.streams import carries_text
from tests.support.consumer_suite import Run

ASK: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(fake: FakeShimmy) -> Iterator[openai.OpenAI]:
    with openai_client(f"{fake.server_url}/v1", api_key=fake.api_key) as client:
        yield client


def text_of(chunk: Any) -> str:
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


def test_a_stream_within_its_limits_passes_whole(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.reply(["Pa", "ris"], per_token=0.01)
    stream = client.chat.completions.create(model="tiny", messages=ASK, stream=True)
    chunks = limited(stream, first_token=20, between_tokens=20, total=60)
    assert "".join(map(text_of, chunks)) == "Paris"
    assert list(chunks) == []


def test_a_stall_before_the_first_token_is_noticed_though_the_role_has_come(
    fake: FakeShimmy, client: openai.OpenAI
) -> None:
    fake.hang(0, reply="Paris")
    began = time.monotonic()
    with pytest.raises(
        ShimmyError, match=r"token 1 did not come within 0\.1 s \(first_token\)"
    ) as e:
        list(
            limited(
                lambda: client.chat.completions.create(model="tiny", messages=ASK, stream=True),
                first_token=0.1,
                between_tokens=20,
            )
        )
    assert e.value.code == ShimmyErrorCode.STREAM_STALLED
    assert e.value.details == {"limit": "first_token", "seconds": 0.1, "tokens": 0}
    assert 0.1 <= time.monotonic() - began < 10


def test_a_stall_between_tokens_is_noticed_and_the_connection_closed(
    fake: FakeShimmy, client: openai.OpenAI
) -> None:
    fake.hang(after_tokens=2, reply=["a", "b", "c"])
    stream = client.chat.completions.create(model="tiny", messages=ASK, stream=True)
    seen: list[Any] = []
    with pytest.raises(ShimmyError, match=r"token 3 did not come within 0\.1 s \(between_tokens\)"):
        seen.extend(limited(stream, first_token=20, between_tokens=0.1))
    assert "".join(map(text_of, seen)) == "ab"
    assert fake.wait_for_request().hung_up


def test_a_stream_may_last_only_so_long(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.reply(["a"] * 1000, per_token=0.02)
    stream = client.chat.completions.create(
        model="tiny", messages=ASK, stream=True, max_tokens=1000
    )
    with pytest.raises(ShimmyError, match=r"the stream did not end within 0\.1 s \(total\)"):
        list(limited(stream, between_tokens=20, total=0.1))
    assert fake.wait_for_request().hung_up


def test_leaving_the_block_closes_the_stream(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.reply(["a"] * 1000, per_token=0.02)
    stream = client.chat.completions.create(
        model="tiny", messages=ASK, stream=True, max_tokens=1000
    )
    with limited(stream, first_token=20) as chunks:
        next(chunks)
    assert fake.wait_for_request().hung_up
    assert list(chunks) == []


def test_a_stream_that_was_closed_is_read_by_no_thread() -> None:
    ended, is_ahead = threading.Event(), threading.Event()

    def endless() -> Iterator[str]:
        try:
            yield from "ab"
            is_ahead.set()
            while True:
                yield "c"
        finally:
            ended.set()

    with limited(endless(), first_token=20) as chunks:
        next(chunks)
        # The thread that reads has the third, and waits until the second is taken.
        assert is_ahead.wait(20)
        (reader,) = (each for each in threading.enumerate() if each.name == "limited-stream")
    reader.join(20)
    assert not reader.is_alive()
    assert ended.is_set()


class Lines:
    """A stream that is read to the end of its answer, which OpenAI's is not."""

    def __init__(self, response: Any) -> None:
        self.response = response

    def __iter__(self) -> Iterator[str]:
        return iter(self.response.iter_lines())


def test_a_stream_that_came_to_its_end_leaves_its_connection_to_the_next_request(
    fake: FakeShimmy, client: openai.OpenAI
) -> None:
    fake.reply("Paris", times=2)
    create = client.chat.completions.with_streaming_response.create
    for _ in range(2):
        with create(model="tiny", messages=ASK, stream=True) as response:
            lines = limited(Lines(response.http_response), first_token=20)
            assert "Paris" in "".join(lines)
            lines.close()
    first, second = fake.requests
    assert (first.hung_up, second.hung_up) == (False, False)
    assert first.connection == second.connection


def test_what_the_stream_raises_is_raised(fake: FakeShimmy, client: openai.OpenAI) -> None:
    fake.fail(500, {"error": {"message": "sorry"}})
    with pytest.raises(openai.InternalServerError, match="sorry"):
        list(
            limited(
                lambda: client.chat.completions.create(model="tiny", messages=ASK, stream=True),
                first_token=20,
            )
        )


def test_any_iterable_will_do() -> None:
    def stalling() -> Iterator[str]:
        yield "a"
        release.wait()

    release = threading.Event()
    assert list(limited(["a", "b"], first_token=20)) == ["a", "b"]
    assert list(limited("ab")) == ["a", "b"]
    with pytest.raises(ShimmyError, match="token 2 did not come"):
        list(limited(stalling(), between_tokens=0.05))
    release.set()


def test_what_counts_as_a_token_can_be_said() -> None:
    items = limited(["", "", "a"], first_token=20, is_token=bool)
    assert list(items) == ["", "", "a"]
    assert items._limits.tokens == 1


@pytest.mark.parametrize(
    ("item", "counts"),
    [
        ("x", True),
        (b"x", True),
        (SimpleNamespace(choices=[]), False),
        (SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=None))]), False),
        (SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content="x"))]), True),
        (SimpleNamespace(choices=[SimpleNamespace(text="x")]), True),
        (SimpleNamespace(choices=[SimpleNamespace(text="")]), False),
    ],
)
def test_chunks_without_text_are_no_tokens(item: object, counts: bool) -> None:
    assert bool(carries_text(item)) is counts


# Asynchronous ones

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.slow,
]


@pytest.mark.anyio
async def test_an_asynchronous_stream_has_the_same_limits(fake: FakeShimmy) -> None:
    async with async_openai_client(f"{fake.server_url}/v1", api_key=fake.api_key) as client:

        def ask() -> Any:
            return client.chat.completions.create(model="tiny", messages=ASK, stream=True)

        with fake.reply(["Pa", "ris"]):
            text = ""
            async for chunk in limited(ask(), first_token=20, between_tokens=20):
                text += text_of(chunk)
            assert text == "Paris"
            async with limited(await ask(), first_token=20) as chunks:
                async for _ in chunks:
                    break
        with fake.hang(after_tokens=1):
            with pytest.raises(ShimmyError, match="token 2 did not come") as caught:
                async for _ in limited(ask(), first_token=20, between_tokens=0.1):
                    pass
            assert caught.value.code == ShimmyErrorCode.STREAM_STALLED
        assert fake.wait_for_request(count=3).hung_up


@pytest.mark.anyio
async def test_any_asynchronous_iterable_will_do() -> None:
    async def items() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert [item async for item in limited(items(), first_token=20)] == ["a", "b"]


@pytest.mark.shimmy_real
def test_the_real_one_is_limited_alike(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from pytest_shimmy import ShimmyError, limited
        ASK = [{"role": "user", "content": "Hi"}]

        def test_limits(shimmy_openai_client, shimmy_model):
            create = shimmy_openai_client.chat.completions.create
            stream = create(model=shimmy_model, messages=ASK, stream=True)
            assert list(limited(stream, first_token=20, between_tokens=20))
            stream = create(model=shimmy_model, messages=ASK, stream=True)
            with pytest.raises(ShimmyError, match="STREAM_STALLED"):
                list(limited(stream, between_tokens=0.000001))
        """
    )
    run(*real_arguments).assert_outcomes(passed=1)
