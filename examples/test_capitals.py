"""The application's tests. They run on the bundled fake, on a real shimmy, and on one attached:

pytest
pytest --shimmy-fake-version=2.5.0 --shimmy-fake-version=2.6.5
pytest --shimmy-path=shimmy
pytest --shimmy-url=http://127.0.0.1:11435
"""

from __future__ import annotations

import pytest
from capitals import capital_of, careless_capital_of


def test_the_application_asks_the_server(shimmy_env, shimmy_model):
    assert capital_of("France", shimmy_model)


def test_code_that_forgets_stream_works_on_some_releases_only(
    shimmy_server, shimmy_env, shimmy_model
):
    if shimmy_server.version == "2.5.0":
        with pytest.raises(AttributeError, match="'str' object has no attribute 'choices'"):
            careless_capital_of("France", shimmy_model)
    else:
        assert careless_capital_of("France", shimmy_model)


def test_our_own_client_says_stream_false(shimmy_openai_client, shimmy_model):
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Capital of France?"}]
    )
    assert answer.choices[0].message.content


def test_streaming(shimmy_openai_client, shimmy_model):
    chunks = shimmy_openai_client.chat.completions.create(
        model=shimmy_model,
        messages=[{"role": "user", "content": "Capital of France?"}],
        stream=True,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_async(shimmy_async_openai_client, shimmy_model):
    answer = await shimmy_async_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Capital of France?"}]
    )
    assert answer.choices[0].message.content


@pytest.mark.shimmy_real
def test_only_worth_running_on_a_real_server(shimmy_server):
    assert shimmy_server.mode in ("real", "attached")
