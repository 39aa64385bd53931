"""Secrets stay out of cassettes: wherever they are, however they are cut, and with equal length."""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_shimmy.script.same_request import Sameness
from fake_shimmy.script.timed_answer import AskedRequest, Chunk, Recording, TimedAnswer
from pytest_shimmy.cassettes.cassette import Cassette, Origin
from pytest_shimmy.cassettes.folder import Folder
from pytest_shimmy.cassettes.rules import Rules
from pytest_shimmy.cassettes.secrets import Secrets
from pytest_shimmy.errors import ShimmyError, ShimmyErrorCode
from pytest_shimmy.masking import secrets_of
from tests.pytest_shimmy.cassettes.recordings import answered, asked, event

ALPHABET = string.ascii_letters + string.digits + '-_./+="\\ é€😀&'


def written(folder: Path, secrets: Secrets, recording: Recording) -> str:
    """What is in the file of a cassette with that exchange, bytes in base64 decoded."""
    document = Cassette(Origin("2026-11-20", "s"), [secrets.recording(recording)]).document()
    secrets.check(document, "test")
    Folder(folder).write(
        "test", Cassette(Origin("2026-11-20", "s"), [secrets.recording(recording)])
    )
    text = (folder / "test.json").read_text(encoding="utf-8")
    decoded = [text]

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if list(value) == ["base64"]:
                decoded.append(base64.b64decode(value["base64"]).decode("utf-8", "replace"))
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)
        elif isinstance(value, str):
            decoded.append(value)

    collect(json.loads(text))
    return "\n".join(decoded)


def cut(body: bytes, chance: random.Random) -> list[bytes]:
    places = sorted(chance.sample(range(1, len(body)), min(8, len(body) - 1)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_hundred_secrets_at_random_places_are_in_no_file(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    texts = ["".join(chance.choices(ALPHABET, k=chance.randint(8, 40))).strip() for _ in range(100)]
    texts = [text for text in texts if len(text) >= 6]
    words = [*texts, "hello", "world", "Paris"]

    def sentence() -> str:
        return " ".join(chance.choices(words, k=6))

    secrets = Secrets(Rules(), texts)
    document = {"messages": [{"role": "user", "content": sentence()}], sentence(): [sentence(), 1]}
    body = json.dumps(
        {"text": sentence(), "more": [sentence()]}, ensure_ascii=chance.random() < 0.5
    )
    pieces = cut(body.encode(), chance)
    recording = Recording(
        request=asked(document, path=f"/v1/x?q={quote(sentence(), safe='')}"),
        answer=answered(*pieces, head=["transfer-encoding: chunked", "x-said: abc"]),
    )
    text = written(tmp_path_factory.mktemp("cassettes"), secrets, recording)
    joined = "".join(chunk.data.decode("utf-8", "replace")
                     for chunk in secrets.answer(recording.answer).chunks)  # fmt: skip
    for secret in texts:
        for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
            assert form not in text
            assert form not in joined
    masked = secrets.answer(recording.answer)
    assert [len(chunk.data) for chunk in masked.chunks] == [*map(len, pieces), 0]


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_secret_that_a_model_tells_in_pieces_is_found_in_all_events(seed: int) -> None:
    chance = random.Random(seed)
    secret = "".join(chance.choices(ALPHABET, k=24)).strip() + "abcdef"
    said = f"The key is {secret}, keep it."
    places = sorted(chance.sample(range(1, len(said)), 10))
    tokens = [said[a:b] for a, b in zip([0, *places], [*places, len(said)], strict=True)]
    events = [event(token, id="chatcmpl-1") for token in tokens]
    masked = Secrets(Rules(), [secret]).answer(answered(*events, b"data: [DONE]\n\n"))
    assert [len(chunk.data) for chunk in masked.chunks] == [*map(len, events), 14, 0]
    texts = [json.loads(chunk.data[6:])["choices"][0]["delta"]["content"]
             for chunk in masked.chunks[:-2]]  # fmt: skip
    told = "".join(texts)
    assert told.startswith("The key is *")
    assert told.endswith("*, keep it.")
    assert not any(len(part) > 2 and part in told for part in (secret[:8], secret[-8:]))


def test_a_secret_that_a_websocket_tells_in_pieces_is_found_too() -> None:
    answer = TimedAnswer(
        head=["HTTP/1.1 101 Switching Protocols"],
        framing="frames",
        chunks=[Chunk(0, part) for part in (b'{"token":"sk-sec"}', b'{"token":"ret-1"}', b"{}")],
    )
    masked = Secrets(Rules(), ["sk-secret-1"]).answer(answer)
    assert [chunk.data for chunk in masked.chunks] == [
        b'{"token":"******"}',
        b'{"token":"*****"}',
        b"{}",
    ]


def test_plain_events_are_read_as_text() -> None:
    masked = Secrets(Rules(), ["sk-secret-1"]).answer(
        answered(b"data: my sk-sec\n\n", b"data: ret-1 is\n\n")
    )
    assert masked.body == b"data: my ******\n\ndata: ***** is\n\n"


def test_what_the_rules_call_secret_is_replaced_everywhere() -> None:
    secrets = Secrets(Rules(secret=(r"[\w.]+@example\.com",)), [])
    recording = Recording(
        request=asked({"messages": [{"content": "write to ann@example.com"}]}),
        answer=answered(b"ask ann@exam", b"ple.com"),
    )
    masked = secrets.recording(recording)
    assert masked.request.json == {"messages": [{"content": "write to ***"}]}
    assert [chunk.data for chunk in masked.answer.chunks] == [b"ask ********", b"*******", b""]


def test_cookies_of_answers_are_replaced_with_equal_length() -> None:
    answer = answered(b"x", head=["Set-Cookie: session=abc; Path=/", "x-other: session=abc"])
    assert Secrets(Rules(), []).answer(answer).head[1:] == [
        f"Set-Cookie: {'*' * 19}",
        "x-other: session=abc",
    ]


def test_a_secret_that_is_still_there_is_an_error_and_its_text_is_not_told() -> None:
    secrets = Secrets(Rules(), ["sk-very-secret"])
    document = {"exchanges": [{"answer": {"chunks": [[0, "the sk-very"], [1, "-secret"]]}}]}
    with pytest.raises(ShimmyError) as caught:
        secrets.check(document, "test_a.json")
    assert caught.value.code is ShimmyErrorCode.CASSETTE_SECRET
    assert "exchanges[0].answer" in str(caught.value)
    assert "very" not in str(caught.value)


def test_a_pattern_that_matches_its_own_replacement_is_told() -> None:
    secrets = Secrets(Rules(secret=(r"\S{3,}",)), [])
    with pytest.raises(ShimmyError, match="also matches the replacement"):
        secrets.check({"text": "***"}, "x")


def test_the_secrets_of_an_environment_are_known_by_their_names() -> None:
    environ = {"OPENAI_API_KEY": "sk-123456", "GH_TOKEN": "abcdefgh", "HOME": "/root/x",
               "MY_PASSWORD": "short", "KEYBOARD": "qwertyuiop"}  # fmt: skip
    assert secrets_of(environ) == ["sk-123456", "abcdefgh"]


def test_a_request_with_another_secret_is_the_same_request() -> None:
    recorded = Secrets(Rules(), ["sk-of-my-laptop"]).request(
        asked({"prompt": "use sk-of-my-laptop"})
    )
    in_ci = Sameness(secrets=["another-key-of-ci"])
    assert in_ci.identity(asked({"prompt": "use another-key-of-ci"})) == in_ci.identity(recorded)


def test_bytes_that_are_no_text_are_searched_as_well() -> None:
    request = AskedRequest(
        method="POST", path="/x", base64=base64.b64encode(b"\xff sk-secret-1 \xfe").decode()
    )
    masked = Secrets(Rules(), ["sk-secret-1"]).request(request)
    assert base64.b64decode(masked.base64 or "") == b"\xff *********** \xfe"
