"""`FakeShimmy`: what came, and assertions whose failures tell a person what to do."""

from __future__ import annotations

import json
import threading
import time

import pytest

from pytest_shimmy import FakeShimmy, ShimmyError, ShimmyErrorCode
from pytest_shimmy.fake_control.connection import Control
from tests.support.asker import Asker, asker


def failure(call: object, *args: object, **kwargs: object) -> str:
    """The text of the assertion that fails."""
    assert callable(call)
    with pytest.raises(AssertionError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


# Records


def test_a_record_has_everything_about_a_request_and_its_answer(
    fake: FakeShimmy, app: Asker
) -> None:
    rule = fake.reply(["Pa", "ris"], name="capital")
    before = time.time()
    app.stream("Capital of France?", system="Be brief", temperature=0.5)
    request = fake.last_request
    assert (request.id, request.method, request.path) == (1, "POST", "/v1/chat/completions")
    assert before - 1 < request.time < time.time() + 1
    assert request.headers["Content-Type"] == request.headers["content-type"]
    assert request.headers["Authorization"] == f"Bearer {fake.api_key}"
    assert "accept-encoding" in request.headers
    assert "x-nothing" not in request.headers
    assert len(request.headers) == len(set(request.headers))
    assert json.loads(request.body) == request.json
    assert (request.model, request.user, request.system) == (
        "tiny",
        "Capital of France?",
        "Be brief",
    )
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.stream is True
    assert (request.rule, request.rule_name, request.answer) == (rule.id, "capital", 0)
    assert (request.status, request.tokens_sent, request.ended) == (200, 2, "complete")
    assert request.bytes_sent > 0
    assert request.duration is not None
    assert not request.hung_up
    assert not request.in_flight
    assert not request.unmatched


def test_a_request_without_a_body_has_none_of_its_facts(fake: FakeShimmy, app: Asker) -> None:
    app.send("GET", "/v1/models")
    request = fake.last_request
    assert request.json is request.model is request.user is request.system is request.stream is None
    assert request.messages == []
    assert request.rule is None


def test_bodies_that_are_no_text_arrive_byte_for_byte(fake: FakeShimmy, app: Asker) -> None:
    body = bytes(range(256))
    app.send("POST", "/v1/chat/completions", body)
    assert fake.last_request.body == body


def test_a_path_can_say_the_key(fake: FakeShimmy) -> None:
    Asker(fake.url, "sk-somebody", "tiny").say("Hi")
    assert fake.last_request.path == "/v1/chat/completions"
    assert fake.base_url == f"{fake.url}/v1"


def test_each_key_sees_its_own_requests_and_rules(
    controlled: tuple[str, str], fake: FakeShimmy, app: Asker
) -> None:
    url, token = controlled
    with FakeShimmy(url, token, key="other") as other:
        fake.reply("mine")
        other.reply("theirs")
        assert app.say("Hi") == "mine"
        assert asker(other).say("Hello") == "theirs"
        assert [request.user for request in fake.requests] == ["Hi"]
        assert [request.user for request in other.requests] == ["Hello"]


def test_a_reset_forgets_everything_within_two_milliseconds(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("x")
    fake.strict = True
    app.say("Hi")
    took = []
    for _ in range(30):
        began = time.perf_counter()
        fake.reset()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.002
    assert fake.requests == []
    assert fake.journal().rules == []
    assert not fake.strict
    assert app.say("Hi") != "x"


# Assertions


def test_what_was_asked_can_be_asserted(fake: FakeShimmy, app: Asker) -> None:
    fake.assert_no_requests()
    app.say("Capital of France?")
    app.say("Capital of Spain?")
    assert fake.assert_requested("Capital").user == "Capital of Spain?"
    assert fake.assert_requested(user="France", model="tiny", endpoint="chat", count=1).id == 1
    fake.assert_requested(json={"stream": False}, headers={"content-type": "json"}, count=2)
    fake.assert_no_requests("Italy")
    assert [request.id for request in fake.matching(path="/v1/chat/completions")] == [1, 2]


def test_a_miss_shows_what_came_and_the_nearest_with_its_differences(
    fake: FakeShimmy, app: Asker
) -> None:
    app.say("Capital of Spain?", system="Be brief")
    app.send("GET", "/v1/models")
    text = failure(fake.assert_requested, user="France", system="brief")
    assert text.splitlines()[0] == "no request came as wanted"
    assert "wanted: user 'France', system 'brief'" in text
    assert "2 requests came:" in text
    assert "  1  POST /v1/chat/completions, model 'tiny', 'Capital of Spain?' -> 200" in text
    assert "the nearest is number 1:" in text
    assert "user should contain 'France', and it is 'Capital of Spain?'" in text


def test_long_texts_are_shown_as_a_diff(fake: FakeShimmy, app: Asker) -> None:
    asked = ["You are a helpful assistant.", "Answer in French.", "Never mention the weather."]
    app.say("Hi", system="\n".join(asked))
    asked[1] = "Answer in German."
    text = failure(fake.assert_requested, system={"equals": "\n".join(asked)})
    assert "system should be (-), and it is (+):" in text
    assert "    - Answer in German." in text
    assert "    + Answer in French." in text
    assert "      Never mention the weather." in text


def test_nothing_came_is_said_so(fake: FakeShimmy) -> None:
    assert failure(fake.assert_requested, "x").splitlines()[-1] == "no request came"
    with pytest.raises(AssertionError, match="no request came"):
        _ = fake.last_request


def test_a_wrong_count_and_an_unwanted_request_are_listed(fake: FakeShimmy, app: Asker) -> None:
    for _ in range(2):
        app.say("Hi")
    text = failure(fake.assert_requested, "Hi", count=1)
    assert "2 requests came as wanted, not 1" in text
    assert text.count("POST /v1/chat/completions") == 2
    assert "2 requests came, and none should have" in failure(fake.assert_no_requests, "Hi")
    with pytest.raises(ValueError, match="assert_no_requests"):
        fake.assert_requested("Hi", count=0)


def test_requests_without_the_key_are_counted_and_the_way_is_shown(
    fake: FakeShimmy, app: Asker
) -> None:
    Asker(fake.server_url, "sk-very-secret", "tiny").say("Hi")
    text = failure(fake.assert_requested, "Hi")
    assert "1 request came without this test's API key" in text
    assert fake.base_url in text
    assert fake.api_key in text
    assert "takes only a host and a port" in text
    assert "make_shimmy_server().fake" in text
    assert "very-secret" not in text


def test_only_the_newest_are_listed(fake: FakeShimmy, app: Asker) -> None:
    for number in range(12):
        app.say(f"number {number}")
    text = failure(fake.assert_requested, "nothing")
    assert "12 requests came:" in text
    assert "(2 earlier ones left out)" in text
    assert "'number 1'" not in text
    assert "'number 11'" in text


# Waiting


def test_a_request_in_the_background_is_waited_for(fake: FakeShimmy, app: Asker) -> None:
    fake.reply(["a", "b"], per_token=0.05)
    thread = threading.Thread(target=app.stream, args=("Hi",))
    thread.start()
    begun = fake.wait_for_request("Hi", finished=False)
    finished = fake.wait_for_request("Hi")
    thread.join()
    assert begun.id == finished.id
    assert finished.tokens_sent == 2
    assert not finished.in_flight


def test_waiting_in_vain_tells_what_came(fake: FakeShimmy, app: Asker) -> None:
    app.say("Capital of Spain?")
    text = failure(fake.wait_for_request, "France", timeout=0.05)
    assert text.startswith("no request came as wanted within 0.05 s")
    assert "user should contain 'France'" in text
    text = failure(fake.wait_for_request, "Spain", count=2, timeout=0.05)
    assert text.startswith("1 of 2 requests came as wanted within 0.05 s, 1 of them finished")


# Strict


def test_strict_refuses_what_no_rule_matches_and_tells_what_is_left(
    fake: FakeShimmy, app: Asker
) -> None:
    fake.reply("Paris", when="France", name="capital", times=2)
    fake.reply("Rome", when="Italy")
    fake.strict = True
    assert app.post("Capital of Spain?")[0] == 400
    assert app.say("Capital of France?") == "Paris"
    assert fake.requests[0].unmatched
    text = "\n".join(fake.leftovers())
    assert "no rule matched number 1: POST /v1/chat/completions" in text
    assert "capital: user should contain 'France'" in text
    assert "not used up: capital (used once, 1 left)" in text
    assert "not used up: rule 2 (never used)" in text


def test_without_strict_nothing_is_left(fake: FakeShimmy, app: Asker) -> None:
    fake.reply("Paris", when="France")
    app.say("Hi")
    assert fake.leftovers() == []


def test_what_was_used_up_is_not_left(fake: FakeShimmy, app: Asker) -> None:
    fake.script({"strict": True, "rules": [{"reply": "one", "times": 1}]})
    fake.reply("two")
    assert [app.say("Hi") for _ in range(2)] == ["one", "two"]
    assert fake.strict
    assert fake.leftovers() == []


# The line to the fake


def test_a_wrong_token_is_a_control_failure_that_does_not_tell_the_token(
    controlled: tuple[str, str],
) -> None:
    url, token = controlled
    with pytest.raises(ShimmyError, match="has no remote control") as caught:
        FakeShimmy(url, "wrong-token").__enter__()
    assert caught.value.code == ShimmyErrorCode.CONTROL_FAILED
    assert "wrong-token" not in str(caught.value) + repr(caught.value.details)
    with FakeShimmy(url, token, key="k") as fake:
        assert token not in repr(fake)


def test_a_fake_that_is_gone_is_a_control_failure() -> None:
    with pytest.raises(ShimmyError, match="cannot be reached") as caught:
        Control("http://127.0.0.1:1", "token").ask("open", session="k")
    assert caught.value.code == ShimmyErrorCode.CONTROL_FAILED


def test_threads_share_a_fake(fake: FakeShimmy, app: Asker) -> None:
    def work(number: int) -> None:
        with fake.reply(f"answer {number}", when=f"question {number}."):
            said[number] = app.say(f"question {number}.")

    said: dict[int, str] = {}
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"answer {number}" for number in range(8)}
